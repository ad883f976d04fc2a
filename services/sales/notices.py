"""Of what customers are told by mail, and who of them can be."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from common import jobs, mailing
from common.database import Transaction
from common.listening import Heard
from erp.accounting.v1.events_pb2 import InvoicePosted
from erp.sales.v1.events_pb2 import OrderConfirmed
from erp.sales.v1.jobs_pb2 import ConfirmationMail, InvoiceMail

# What happened before this is no news: a worker that was away for long, or that learns of mail for
# the first time, does not write about the past.
NEWS = timedelta(days=1)

_WITH_ADDRESS = text("""
    SELECT orders.id FROM orders JOIN customers ON customers.id = orders.customer_id
    WHERE orders.id = ANY(CAST(:order_ids AS uuid[])) AND customers.email <> ''
""")


async def tell_of_confirmed(tx: Transaction, confirmed: Sequence[Heard[OrderConfirmed]]) -> None:
    """Write to the customers of orders that were confirmed."""
    news = [heard for heard in confirmed if _is_news(heard.time)]
    reachable = await _reachable(tx, [heard.message.order_id for heard in news])
    for heard in news:
        if heard.message.order_id in reachable:
            mail = ConfirmationMail(order_id=heard.message.order_id)
            jobs.enqueue(tx, mail, request_id=heard.request_id)


async def tell_of_posted(tx: Transaction, posted: Sequence[Heard[InvoicePosted]]) -> None:
    """Write to the customers of orders whose invoices were posted."""
    news = [heard for heard in posted if heard.message.order_id and _is_news(heard.time)]
    reachable = await _reachable(tx, [heard.message.order_id for heard in news])
    for heard in news:
        item = heard.message
        if item.order_id in reachable:
            mail = InvoiceMail(
                invoice_id=item.invoice_id, number=item.number, order_id=item.order_id
            )
            jobs.enqueue(tx, mail, request_id=heard.request_id)


def _is_news(moment: datetime) -> bool:
    return mailing.is_on() and moment > datetime.now(UTC) - NEWS


async def _reachable(tx: Transaction, order_ids: Collection[str]) -> set[str]:
    """Those of the orders whose customer has a mail address."""
    if not order_ids:
        return set()
    rows = await tx.rows(_WITH_ADDRESS, {"order_ids": [UUID(order_id) for order_id in order_ids]})
    return {str(row.id) for row in rows}
