"""Goods that leave, and what they cost."""

import asyncio

import pytest

from common.errors import NotFound
from erp.inventory.v1.events_pb2 import ShipmentRefused, StockShipped
from inventory.errors import ReservationNotHeld, ShipsMoreThanHeld
from inventory.tests.stockroom import Stockroom, new_id, reason_of, state_of


async def test_shipped_goods_are_gone_at_their_cost(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 100, "70.00")
    made = await inventory.reserve({"OAK-TABLE": 3})

    shipped = await inventory.ship(made.id)

    assert state_of(shipped) == "shipped"
    assert await inventory.level("OAK-TABLE") == ("97", "0")
    assert await inventory.value("OAK-TABLE") == "6790.00"
    [told] = inventory.events(StockShipped)
    assert (told.reservation_id, told.order_id, told.cost.amount) == (made.id, "", "210.00")
    assert [(line.quantity, line.cost.amount) for line in told.lines] == [("3", "210.00")]


async def test_a_part_ships_and_the_rest_stays_held(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    await inventory.receive("OAK-CHAIR", 10)
    made = await inventory.reserve({"OAK-TABLE": 4, "OAK-CHAIR": 2})

    partly = await inventory.ship(made.id, {"OAK-TABLE": 3})
    wholly = await inventory.ship(made.id)

    assert (state_of(partly), [line.shipped for line in partly.lines]) == ("held", ["3", "0"])
    assert (state_of(wholly), [line.shipped for line in wholly.lines]) == ("shipped", ["4", "2"])
    assert await inventory.level("OAK-TABLE") == ("6", "0")
    assert await inventory.level("OAK-CHAIR") == ("8", "0")


async def test_lines_of_one_product_ship_one_after_the_other(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    made = await inventory.reserve_lines([("OAK-TABLE", 2), ("OAK-TABLE", 3)])

    partly = await inventory.ship(made.id, {"OAK-TABLE": 4})

    assert [line.shipped for line in partly.lines] == ["2", "2"]
    [told] = inventory.events(StockShipped)
    assert [line.quantity for line in told.lines] == ["4"]


async def test_no_more_ships_than_is_held(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    await inventory.add_product("OAK-CHAIR")
    made = await inventory.reserve({"OAK-TABLE": 4})

    with pytest.raises(ShipsMoreThanHeld) as too_much:
        await inventory.ship(made.id, {"OAK-TABLE": 5})
    with pytest.raises(ShipsMoreThanHeld):
        await inventory.ship(made.id, {"OAK-CHAIR": 1})

    assert (too_much.value.requested, too_much.value.left) == (5, 4)
    assert await inventory.level("OAK-TABLE") == ("10", "4")


async def test_what_has_shipped_does_not_ship_again(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    made = await inventory.reserve({"OAK-TABLE": 4})
    await inventory.ship(made.id)

    with pytest.raises(ReservationNotHeld):
        await inventory.ship(made.id)
    with pytest.raises(NotFound):
        await inventory.ship(new_id())


async def test_shippers_at_once_take_each_unit_once(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 20)
    made = await inventory.reserve({"OAK-TABLE": 10})

    outcomes = await asyncio.gather(
        *(inventory.ship(made.id, {"OAK-TABLE": 1}) for _ in range(13)), return_exceptions=True
    )

    reasons = sorted(map(reason_of, outcomes))
    assert reasons == ["OK"] * 10 + ["RESERVATION_NOT_HELD"] * 3
    seen = sorted(int(one.lines[0].shipped) for one in outcomes if reason_of(one) == "OK")
    assert seen == list(range(1, 11))
    assert await inventory.level("OAK-TABLE") == ("10", "0")


async def test_the_cost_of_awkward_thirds_adds_up_to_what_was_paid(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 3, "33.33")
    await inventory.receive("OAK-TABLE", 4, "10.01")

    for _ in range(7):
        made = await inventory.reserve({"OAK-TABLE": 1})
        await inventory.ship(made.id)

    costs = [told.cost.amount for told in inventory.events(StockShipped)]
    assert sum(round(float(cost) * 100) for cost in costs) == 3 * 3333 + 4 * 1001
    assert await inventory.value("OAK-TABLE") == "0.00"


async def test_an_orders_shipment_takes_its_goods(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10, "70.00")
    order_id, shipment_id = new_id(), new_id()
    await inventory.confirm(order_id, {"OAK-TABLE": 4})

    await inventory.hear(inventory.shipped(order_id, shipment_id, {"OAK-TABLE": 3}))

    [told] = inventory.events(StockShipped)
    assert (told.order_id, told.shipment_id, told.origin) == (order_id, shipment_id, "order")
    assert told.cost.amount == "210.00"
    assert await inventory.level("OAK-TABLE") == ("7", "1")


async def test_a_shipment_without_held_goods_is_refused_and_changes_nothing(
    inventory: Stockroom,
) -> None:
    await inventory.receive("OAK-TABLE", 10)
    waiting, cancelled, held, unknown = (new_id() for _ in range(4))
    await inventory.confirm(waiting, {"OAK-TABLE": 11})
    await inventory.confirm(cancelled, {"OAK-TABLE": 1})
    await inventory.confirm(held, {"OAK-TABLE": 2})
    await inventory.cancel(cancelled)

    await inventory.hear(
        inventory.shipped(waiting, "s-1", {"OAK-TABLE": 1}),
        inventory.shipped(cancelled, "s-2", {"OAK-TABLE": 1}),
        inventory.shipped(held, "s-3", {"OAK-TABLE": 3}),
        inventory.shipped(unknown, "s-4", {"OAK-TABLE": 1}),
        inventory.shipped(held, "s-5", {"OAK-TABLE": 2}),
    )

    refused = inventory.events(ShipmentRefused)
    assert [one.shipment_id for one in refused] == ["s-1", "s-2", "s-3", "s-4"]
    assert all(one.reason for one in refused)
    assert [one.shipment_id for one in inventory.events(StockShipped)] == ["s-5"]
    assert await inventory.level("OAK-TABLE") == ("8", "0")
