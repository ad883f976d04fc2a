"""The listeners as the worker runs them: in order, once, and going on past what cannot be done."""

from uuid import UUID

from google.protobuf.message import Message

from accounting import listeners
from accounting.tests.company import Company, order
from common import caller, ids
from common.database import Database
from common.errors import Unavailable
from common.listening import Lane, lanes_of
from common.locks import Locks
from common.subscriptions import Subscription
from common.testing import ServiceDatabase, rows_of
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1.events_pb2 import InvoiceCredited, InvoicePosted
from erp.events.v1.events_pb2 import Event
from erp.sales.v1.events_pb2 import OrderCancelled


def lane(source: str) -> Lane:
    return next(item for item in lanes_of(listeners) if item.source == source)


def numbered(*messages: Message) -> list[Event]:
    return [
        Event(
            id=str(ids.new()),
            source="sales",
            sequence=place,
            type=message.DESCRIPTOR.full_name,
            data=message.SerializeToString(),
        )
        for place, message in enumerate(messages, 1)
    ]


async def apply(company: Company, *messages: Message) -> Subscription:
    lane_of_sales = lane("sales")
    subscription = Subscription("accounting", company.database, lane_of_sales, company.tenant_id)
    with caller.acting_as(subscription.caller()):
        await subscription.load()
        await subscription.apply(numbered(*messages), len(messages))
    return subscription


async def test_an_order_confirmed_and_cancelled_in_one_batch_is_invoiced_and_credited(
    company: Company,
) -> None:
    kept, dropped = order(), order()
    cancelled = OrderCancelled(order_id=dropped.order_id)

    subscription = await apply(company, dropped, cancelled, kept)

    assert subscription.position == 3
    assert (await company.invoice_of(dropped)).state == pb.INVOICE_STATE_CREDITED
    assert (await company.invoice_of(kept)).state == pb.INVOICE_STATE_POSTED
    assert len(company.events(InvoicePosted)) == 2
    assert len(company.events(InvoiceCredited)) == 1
    assert await company.wrongs() == []


async def test_an_order_that_cannot_be_posted_does_not_stop_those_before_it(
    company: Company,
) -> None:
    good, wrong = order(), order(currency="USD")

    subscription = await apply(company, good, wrong)

    assert subscription.position == 1
    assert (await company.invoice_of(good)).state == pb.INVOICE_STATE_POSTED
    query = "SELECT position, attempts FROM subscriptions WHERE tenant_id = %s"
    assert company.rows(query) == [(1, 1)]


async def test_events_of_a_company_without_books_wait_uncounted(
    database: Database, urls: ServiceDatabase, locks: Locks, tenant: UUID
) -> None:
    company = Company(database, urls.operator, tenant, locks)
    confirmed = order()

    try:
        await apply(company, confirmed)
    except Unavailable as error:
        waiting = error
    await company.found()
    await apply(company, confirmed)

    assert waiting.what == "The company's books"
    assert (await company.invoice_of(confirmed)).state == pb.INVOICE_STATE_POSTED
    query = "SELECT position, attempts FROM subscriptions WHERE tenant_id = %s"
    assert rows_of(urls.operator, query, tenant) == [(1, 0)]
