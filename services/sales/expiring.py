"""How orders end by themselves when their time is over: drafts expire, others are cancelled."""

from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from common import caller
from common.database import Database, Transaction
from common.overdue import Overdue
from sales.cancelling import announce, cancel
from sales.lifecycle import ORDER
from sales.orders import lock_orders, write_orders

SYSTEM_REASON = "expired orders"
REASON = "expired"

# Order.is_over says the same of one order; the index orders_expiring has these only.
_OVER = text("""
    SELECT tenant_id, id FROM orders
    WHERE expires_at <= :now AND expires_at IS NOT NULL
      AND (state = 'draft' OR state = 'confirmed' AND shipment_state = 'none' AND NOT paid)
    ORDER BY tenant_id, id LIMIT :limit
""")


async def expire_orders(tx: Transaction, order_ids: Collection[UUID]) -> None:
    """End those of the orders whose time is over, as they are now that they are locked.

    Of an expiry and a shipment at the same moment the first one to lock the order wins.
    """
    now = datetime.now(UTC)
    over = [order for order in (await lock_orders(tx, order_ids)).values() if order.is_over(now)]
    for order in over:
        if order.state == "draft":
            order.state = ORDER.move(order.state, "expired")
        else:
            cancel(order, REASON)
            announce(tx, order, caller.current().request_id)
        order.raise_version()
    await write_orders(tx, over)


async def expire_all(database: Database) -> None:
    """End orders whose time is over, of all tenants. Any number of workers may do it at once."""
    await Overdue("sales", SYSTEM_REASON, _OVER, expire_orders).end_all(database)
