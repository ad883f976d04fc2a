"""Goods leave, whole or in part."""

import asyncio

import pytest

from common import ids
from common.errors import NotFound
from erp.inventory.v1 import events_pb2 as inventory
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from sales.errors import (
    NothingToShip,
    OrderNotConfirmed,
    OrderNotReserved,
    ShipsMoreThanOrdered,
)
from sales.tests.selling import (
    Shop,
    cost_posted,
    counted_statements,
    outcomes_of,
    settled_orders,
)


def refused(order: pb.Order, shipment_id: str) -> inventory.ShipmentRefused:
    return inventory.ShipmentRefused(order_id=order.id, shipment_id=shipment_id, reason="gone")


async def test_an_order_ships_whole_when_no_lines_are_named(shop: Shop) -> None:
    table, chair = shop.add_product(), shop.add_product("CHAIR")
    order = await shop.reserved_order((table, "3"), (chair, "4"), (table, "0.5"))

    shipped = await shop.ship(order, version=order.version)

    assert shipped.shipment_state == pb.ORDER_SHIPMENT_STATE_SHIPPED
    assert [line.shipped for line in shipped.lines] == ["3", "4", "0.5"]
    assert shipped.awaiting == ["shipment"]
    assert shipped.version == order.version + 1
    (shipment,) = shipped.shipments
    assert (shipment.number[-6:], shipment.state) == ("000001", pb.SHIPMENT_STATE_PENDING)
    assert shipped == await shop.get(order)
    (event,) = shop.events(events.OrderShipped)
    assert (event.order_id, event.shipment_id) == (order.id, shipment.id)
    assert {line.product_id: line.quantity for line in event.lines} == {
        str(table): "3.5",
        str(chair): "4",
    }
    assert await shop.violations() == []


async def test_an_order_ships_in_parts_and_settles_when_the_costs_are_in_the_books(
    shop: Shop,
) -> None:
    order = await shop.reserved_order((shop.add_product(), "3"), (shop.add_product("CHAIR"), "1"))
    first_line = order.lines[0].id

    part = await shop.ship(order, (first_line, "1"), (first_line, "0.5"))
    rest = await shop.ship(order)
    await shop.hear(cost_posted(order, rest.shipments[0].id))
    half_way = await shop.get(order)
    await shop.hear(cost_posted(order, rest.shipments[1].id))
    done = await shop.get(order)

    assert part.shipment_state == pb.ORDER_SHIPMENT_STATE_PARTIAL
    assert [line.shipped for line in part.lines] == ["1.5", "0"]
    assert rest.shipment_state == pb.ORDER_SHIPMENT_STATE_SHIPPED
    assert [line.quantity for line in rest.shipments[1].lines] == ["1.5", "1"]
    assert half_way.awaiting == ["shipment"]
    assert done.awaiting == []
    assert {item.state for item in done.shipments} == {pb.SHIPMENT_STATE_SHIPPED}
    # Once when it was reserved and invoiced, once when it had shipped.
    assert settled_orders(shop) == [order.id, order.id]
    with pytest.raises(NothingToShip):
        await shop.ship(order)
    assert await shop.violations() == []


async def test_no_more_ships_than_is_open(shop: Shop) -> None:
    order = await shop.reserved_order((shop.add_product(), "3"))
    line = order.lines[0].id
    await shop.ship(order, (line, "1"))

    with pytest.raises(ShipsMoreThanOrdered) as refusal:
        await shop.ship(order, (line, "1"), (line, "1.5"))
    with pytest.raises(NotFound):
        await shop.ship(order, (line, "1"), (str(ids.new()), "1"))

    assert refusal.value.values() == {"order_line_id": line, "open": "2", "requested": "2.5"}
    assert [item.shipped for item in (await shop.get(order)).lines] == ["1"]
    assert len(shop.events(events.OrderShipped)) == 1


async def test_only_held_goods_of_confirmed_orders_ship(shop: Shop) -> None:
    table = shop.add_product()
    draft = await shop.create((table, "1"))
    pending = await shop.create((table, "1"), confirm=True)
    called_off = await shop.reserved_order((table, "1"))
    await shop.cancel(called_off)

    for order, state in ((draft, "draft"), (called_off, "cancelled")):
        with pytest.raises(OrderNotConfirmed) as unconfirmed:
            await shop.ship(order)
        assert unconfirmed.value.state == state
    with pytest.raises(OrderNotReserved) as refusal:
        await shop.ship(pending)
    assert refusal.value.reservation_state == "pending"
    with pytest.raises(NotFound):
        await shop.ship(pb.Order(id=str(ids.new())))


async def test_a_refused_shipment_opens_its_lines_again(shop: Shop) -> None:
    order = await shop.reserved_order((shop.add_product(), "3"), (shop.add_product("CHAIR"), "1"))
    await shop.ship(order, (order.lines[0].id, "1"))
    both = await shop.ship(order)

    await shop.hear(refused(order, both.shipments[1].id))
    reopened = await shop.get(order)
    await shop.hear(refused(order, both.shipments[0].id))
    untouched = await shop.get(order)

    assert reopened.shipment_state == pb.ORDER_SHIPMENT_STATE_PARTIAL
    assert [line.shipped for line in reopened.lines] == ["1", "0"]
    assert reopened.awaiting == ["shipment"]
    assert [item.state for item in reopened.shipments] == [
        pb.SHIPMENT_STATE_PENDING,
        pb.SHIPMENT_STATE_REFUSED,
    ]
    assert untouched.shipment_state == pb.ORDER_SHIPMENT_STATE_NONE
    assert untouched.awaiting == []
    assert settled_orders(shop) == [order.id, order.id]
    assert (await shop.cancel(order)).state == pb.ORDER_STATE_CANCELLED
    assert await shop.violations() == []


async def test_of_many_who_ship_the_same_line_only_what_is_open_leaves(shop: Shop) -> None:
    order = await shop.reserved_order((shop.add_product(), "10"))
    line = order.lines[0].id

    outcomes = await outcomes_of(*(shop.ship(order, (line, "3")) for _ in range(20)))

    assert outcomes.count("SHIPS_MORE_THAN_ORDERED") == 17
    now = await shop.get(order)
    assert now.lines[0].shipped == "9"
    assert sorted(item.number[-6:] for item in now.shipments) == ["000001", "000002", "000003"]
    assert len(shop.events(events.OrderShipped)) == 3
    assert await shop.violations() == []


async def test_of_cancel_and_ship_at_once_exactly_one_wins(shop: Shop) -> None:
    table = shop.add_product()
    orders = [await shop.reserved_order((table, "1")) for _ in range(20)]

    for order in orders:
        calls = [shop.cancel(order), shop.ship(order)]
        if order.id[-1] in "01234567":
            calls.reverse()
        outcomes = await outcomes_of(*calls)
        won = [outcome for outcome in outcomes if isinstance(outcome, pb.Order)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, str)]
        assert len(won) == 1
        assert lost in (["ORDER_ALREADY_SHIPPED"], ["ORDER_NOT_CONFIRMED"])

    sent, off = shop.events(events.OrderShipped), shop.events(events.OrderCancelled)
    assert len(sent) + len(off) == 20
    assert not {event.order_id for event in sent} & {event.order_id for event in off}
    assert await shop.violations() == []


@pytest.mark.parametrize("many", [1, 50])
async def test_shipping_many_orders_costs_the_statements_of_one(shop: Shop, many: int) -> None:
    table = shop.add_product()
    orders = [await shop.reserved_order((table, "2"), (table, "1")) for _ in range(many)]

    with counted_statements() as statements:
        await asyncio.gather(*(shop.ship(order) for order in orders))

    # Orders, lines, shipments; numbers; orders, lines, shipments, their lines; events.
    assert len(statements) == 9
