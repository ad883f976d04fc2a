"""Orders end by themselves when their time is over."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from common import ids, outbox
from common.caller import acting_as, service_caller
from common.database import Database
from common.errors import InvalidRequest
from common.testing import ServiceDatabase
from erp.accounting.v1 import events_pb2 as accounting
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from sales import expiring
from sales.errors import OrderExpired, OrderNotCancellable
from sales.tests.selling import Shop, credited, outcomes_of, released, reserved, settled_orders


@pytest.fixture(scope="module")
async def clock(urls: ServiceDatabase) -> AsyncIterator[Database]:
    """The shops' database, as the worker that looks at the clock has it."""
    database = Database(
        urls.app,
        urls.system,
        system_reasons=frozenset({expiring.SYSTEM_REASON}),
        write_events=outbox.write_events("sales"),
    )
    yield database
    await database.close()


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def let_time_pass(shop: Shop) -> None:
    """Move the ends of the shop's orders into the past."""
    with psycopg.connect(shop.urls.operator) as connection:
        connection.execute(
            "UPDATE orders SET expires_at = now() - interval '1 second'"
            " WHERE tenant_id = %s AND expires_at IS NOT NULL",
            [shop.tenant],
        )


async def test_a_draft_expires_and_cannot_be_confirmed(shop: Shop, clock: Database) -> None:
    draft = await shop.create((shop.add_product(), "1"), expire_time=soon())
    lasting = await shop.create((shop.add_product("OAK-CHAIR"), "1"))
    let_time_pass(shop)

    with pytest.raises(OrderExpired):
        await shop.confirm(draft)
    await expiring.expire_all(clock)

    order = await shop.get(draft)
    assert (order.state, order.version, order.number) == (pb.ORDER_STATE_EXPIRED, 2, "")
    assert await shop.get(lasting) == lasting
    assert await outcomes_of(shop.confirm(draft)) == ["ORDER_NOT_DRAFT"]
    with pytest.raises(OrderNotCancellable):
        await shop.cancel(draft)
    assert shop.events(events.OrderCancelled) == []
    assert await shop.violations() == []


async def test_a_confirmed_order_is_cancelled_as_if_somebody_had(
    shop: Shop, clock: Database
) -> None:
    order = await shop.create((shop.add_product(), "1"), expire_time=soon(), confirm=True)
    await shop.hear(reserved(order))
    await shop.hear(accounting.InvoicePosted(invoice_id=str(ids.new()), order_id=order.id))
    let_time_pass(shop)

    for _ in range(3):
        await expiring.expire_all(clock)
    cancelled = await shop.get(order)
    await shop.hear(released(order))
    await shop.hear(credited(order))

    assert (cancelled.state, cancelled.cancel_reason) == (pb.ORDER_STATE_CANCELLED, "expired")
    assert cancelled.awaiting == ["release", "credit"]
    assert shop.events(events.OrderCancelled) == [
        events.OrderCancelled(order_id=order.id, reason="expired")
    ]
    assert settled_orders(shop)[-1] == order.id
    assert await shop.violations() == []


async def test_what_has_shipped_or_is_paid_stays(shop: Shop, clock: Database) -> None:
    table = shop.add_product()
    fields = {"expire_time": soon(), "confirm": True}
    shipped, paid = [await shop.create((table, "2"), **fields) for _ in range(2)]
    await shop.hear(reserved(shipped), reserved(paid))
    await shop.ship(shipped, (shipped.lines[0].id, "1"))
    before = await shop.get(paid)
    await shop.hear(accounting.InvoicePaid(invoice_id=str(ids.new()), order_id=paid.id))
    let_time_pass(shop)

    await expiring.expire_all(clock)

    assert (await shop.get(shipped)).state == pb.ORDER_STATE_CONFIRMED
    now = await shop.get(paid)
    assert (now.state, now.version) == (pb.ORDER_STATE_CONFIRMED, before.version)


async def test_of_ship_and_expire_at_once_exactly_one_wins(shop: Shop, clock: Database) -> None:
    table = shop.add_product()
    fields = {"expire_time": soon(), "confirm": True}
    orders = [await shop.create((table, "1"), **fields) for _ in range(60)]
    await shop.hear(*map(reserved, orders))
    let_time_pass(shop)

    shipping = asyncio.gather(*(outcomes_of(shop.ship(order)) for order in orders))
    *_, outcomes = await asyncio.gather(*(expiring.expire_all(clock) for _ in range(3)), shipping)

    sent = {event.order_id for event in shop.events(events.OrderShipped)}
    ended = [event.order_id for event in shop.events(events.OrderCancelled)]
    assert sent.isdisjoint(ended)
    assert sent | set(ended) == {order.id for order in orders}
    assert len(ended) == len(set(ended))
    for order, (outcome,) in zip(orders, outcomes, strict=True):
        assert (outcome == "ORDER_NOT_CONFIRMED") == (order.id in ended)
    assert await shop.violations() == []


async def test_the_state_under_the_lock_decides(shop: Shop) -> None:
    """An order that was found over, and shipped before it was locked, is left alone."""
    order = await shop.create((shop.add_product(), "1"), expire_time=soon(), confirm=True)
    await shop.hear(reserved(order))
    let_time_pass(shop)
    await shop.ship(order)

    with acting_as(service_caller("sales", shop.tenant)):
        async with shop.database.tenant_transaction() as tx:
            await expiring.expire_orders(tx, [UUID(order.id), ids.new()])

    assert (await shop.get(order)).state == pb.ORDER_STATE_CONFIRMED


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(days=1)])
async def test_an_order_cannot_be_over_before_it_is_made(shop: Shop, ago: timedelta) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await shop.create((shop.add_product(), "1"), expire_time=datetime.now(UTC) - ago)

    assert refused.value.violations[0].pointer == "/expire_time"
