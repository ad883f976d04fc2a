"""How orders end by themselves when their time is over: drafts expire, others are cancelled."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from uuid import UUID

import structlog
from sqlalchemy import text

from common import caller
from common.database import Database, Transaction
from common.errors import DomainError
from sales.cancelling import announce, cancel
from sales.lifecycle import ORDER
from sales.orders import lock_orders, write_orders

SYSTEM_REASON = "expired orders"
REASON = "expired"
# Most orders that one look at the clock ends; the next look follows at once while there are more.
MOST_EXPIRED = 500

log = structlog.get_logger()

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
    while True:
        window = {"now": datetime.now(UTC), "limit": MOST_EXPIRED}
        async with database.system_transaction(SYSTEM_REASON) as connection:
            rows = (await connection.execute(_OVER, window)).all()
        ended = True
        for tenant_id, group in groupby(rows, key=lambda row: row.tenant_id):
            ended &= await _expire_of(database, tenant_id, [row.id for row in group])
        if not ended or len(rows) < MOST_EXPIRED:
            return


async def _expire_of(database: Database, tenant_id: UUID, over: Sequence[UUID]) -> bool:
    """End orders of one tenant; whether that worked, so that one tenant's trouble is its own."""
    with caller.acting_as(caller.service_caller("sales", tenant_id)):
        try:
            await database.run(partial(expire_orders, order_ids=over))
        except DomainError as error:
            log.info("expired orders stay", tenant_id=str(tenant_id), error=str(error))
            return False
    return True
