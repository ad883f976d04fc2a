"""Orders are called off."""

import pytest

from common import ids
from common.errors import ConcurrentModification, NotFound
from erp.inventory.v1 import events_pb2 as inventory
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from sales.errors import OrderAlreadyShipped, OrderNotCancellable
from sales.tests.selling import (
    Shop,
    credited,
    outcomes_of,
    posted,
    released,
    reserved,
    settled_orders,
)


async def test_a_draft_is_cancelled_at_once_and_nobody_hears_of_it(shop: Shop) -> None:
    draft = await shop.create((shop.add_product(), "1"))

    order = await shop.cancel(draft, version=1, reason="changed my mind")

    assert (order.state, order.version) == (pb.ORDER_STATE_CANCELLED, 2)
    assert (order.cancel_reason, list(order.awaiting)) == ("changed my mind", [])
    assert order == await shop.get(draft)
    assert shop.events(events.OrderCancelled, events.OrderSettled) == []
    assert await shop.violations() == []


async def test_a_cancelled_order_waits_for_its_goods_and_its_invoice(shop: Shop) -> None:
    order = await shop.reserved_order((shop.add_product(), "1"))

    cancelled = await shop.cancel(order, version=order.version, reason="late")
    await shop.hear(released(order))
    half_way = await shop.get(order)
    # Told twice when it had been credited by hand before.
    await shop.hear(credited(order), credited(order))
    done = await shop.get(order)

    assert cancelled.awaiting == ["release", "credit"]
    assert cancelled.reservation_state == pb.ORDER_RESERVATION_STATE_RESERVED
    assert shop.events(events.OrderCancelled) == [
        events.OrderCancelled(order_id=order.id, reason="late")
    ]
    assert half_way.reservation_state == pb.ORDER_RESERVATION_STATE_RELEASED
    assert half_way.awaiting == ["credit"]
    assert done.invoice_state == pb.ORDER_INVOICE_STATE_CREDITED
    assert done.awaiting == []
    assert settled_orders(shop) == [order.id, order.id]
    assert await shop.violations() == []


async def test_an_order_cancelled_while_pending_settles_after_all_four_answers(
    shop: Shop,
) -> None:
    order = await shop.create((shop.add_product(), "1"), confirm=True)

    cancelled = await shop.cancel(order)
    assert cancelled.awaiting == ["reservation", "invoice", "release", "credit"]
    for answer in (posted(order), reserved(order), credited(order)):
        await shop.hear(answer)
        assert settled_orders(shop) == []
        assert await shop.violations() == []
    await shop.hear(released(order))

    assert settled_orders(shop) == [order.id]
    done = await shop.get(order)
    assert done.reservation_state == pb.ORDER_RESERVATION_STATE_RELEASED
    assert done.invoice_state == pb.ORDER_INVOICE_STATE_CREDITED
    assert await shop.violations() == []


async def test_a_backordered_order_can_be_cancelled(shop: Shop) -> None:
    table = shop.add_product()
    order = await shop.create((table, "3"), confirm=True)
    line = inventory.PromisedLine(product_id=str(table), quantity="3", shortage="2")
    await shop.hear(
        inventory.StockBackordered(
            reservation_id=str(ids.new()), order_id=order.id, lines=[line], origin="order"
        )
    )

    await shop.cancel(order)
    await shop.hear(released(order))

    now = await shop.get(order)
    assert now.reservation_state == pb.ORDER_RESERVATION_STATE_RELEASED
    assert now.awaiting == ["invoice", "credit"]


async def test_what_has_left_cannot_be_called_off(shop: Shop) -> None:
    order = await shop.reserved_order((shop.add_product(), "3"))
    await shop.ship(order, (order.lines[0].id, "1"))

    with pytest.raises(OrderAlreadyShipped) as refused:
        await shop.cancel(order)

    assert refused.value.number == order.number
    assert (await shop.get(order)).state == pb.ORDER_STATE_CONFIRMED


async def test_an_order_is_cancelled_once(shop: Shop) -> None:
    order = await shop.reserved_order((shop.add_product(), "1"))

    outcomes = await outcomes_of(*(shop.cancel(order) for _ in range(50)))

    assert outcomes.count("ORDER_NOT_CANCELLABLE") == 49
    assert len(shop.events(events.OrderCancelled)) == 1
    with pytest.raises(OrderNotCancellable) as refused:
        await shop.cancel(order)
    assert refused.value.state == "cancelled"


async def test_a_stale_version_and_a_strange_order_cancel_nothing(shop: Shop) -> None:
    order = await shop.reserved_order((shop.add_product(), "1"))

    with pytest.raises(ConcurrentModification):
        await shop.cancel(order, version=1)
    with pytest.raises(NotFound):
        await shop.cancel(pb.Order(id=str(ids.new())))

    assert await shop.get(order) == order


async def test_of_confirm_and_cancel_at_once_the_order_ends_cancelled_or_untouched_by_the_loser(
    shop: Shop,
) -> None:
    table = shop.add_product()
    drafts = [await shop.create((table, "1")) for _ in range(20)]

    for draft in drafts:
        confirmed, cancelled = await outcomes_of(shop.confirm(draft), shop.cancel(draft))
        assert isinstance(cancelled, pb.Order)
        assert confirmed == "ORDER_NOT_DRAFT" or bool(cancelled.awaiting)

    agreed, off = shop.events(events.OrderConfirmed), shop.events(events.OrderCancelled)
    assert [event.order_id for event in agreed] == [event.order_id for event in off]
    assert await shop.violations() == []
