"""What an order's confirmation and cancellation do to stock."""

import asyncio

import pytest

from common.errors import NotFound
from erp.inventory.v1.events_pb2 import StockReleased, StockReserved
from erp.sales.v1.events_pb2 import OrderCancelled
from inventory.errors import InsufficientStock
from inventory.tests.stockroom import Stockroom, new_id, state_of


async def test_a_confirmed_order_gets_its_goods(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    order_id = new_id()

    reservation = await inventory.confirm(order_id, {"OAK-TABLE": 3})

    assert state_of(reservation) == "held"
    assert reservation.order_id == order_id
    assert not reservation.HasField("expire_time")
    [told] = inventory.events(StockReserved)
    assert (told.order_id, told.origin) == (order_id, "order")


async def test_hearing_of_an_order_twice_holds_its_goods_once(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    order_id = new_id()

    await inventory.hear(
        inventory.confirmed(order_id, {"OAK-TABLE": 3}),
        inventory.confirmed(order_id, {"OAK-TABLE": 3}),
    )
    await inventory.confirm(order_id, {"OAK-TABLE": 3})

    assert await inventory.level("OAK-TABLE") == ("10", "3")


async def test_an_order_for_unknown_goods_fails_for_itself(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    inventory.products["GHOST"] = new_id()

    with pytest.raises(NotFound):
        await inventory.confirm(new_id(), {"GHOST": 1})


async def test_a_cancelled_orders_goods_are_free_again(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    order_id = new_id()
    await inventory.confirm(order_id, {"OAK-TABLE": 3})

    await inventory.cancel(order_id)

    assert await inventory.level("OAK-TABLE") == ("10", "0")
    assert inventory.states_told(order_id) == ["StockReserved", "StockReleased"]


async def test_every_cancellation_is_answered_also_without_a_reservation(
    inventory: Stockroom,
) -> None:
    await inventory.receive("OAK-TABLE", 10)
    unknown, twice = new_id(), new_id()
    await inventory.confirm(twice, {"OAK-TABLE": 3})

    await inventory.cancel(unknown, twice, twice)

    assert [told.order_id for told in inventory.events(StockReleased)] == [unknown, twice, twice]
    assert await inventory.level("OAK-TABLE") == ("10", "0")


async def test_a_batch_of_all_kinds_of_events_is_applied_in_their_order(
    inventory: Stockroom,
) -> None:
    await inventory.receive("OAK-TABLE", 10)
    shipped, cancelled, late = new_id(), new_id(), new_id()

    await inventory.hear(
        inventory.confirmed(shipped, {"OAK-TABLE": 4}),
        inventory.confirmed(cancelled, {"OAK-TABLE": 6}),
        inventory.shipped(shipped, "s-1", {"OAK-TABLE": 4}),
        inventory.confirmed(late, {"OAK-TABLE": 6}),
        OrderCancelled(order_id=cancelled),
    )

    assert inventory.states_told(shipped) == ["StockReserved", "StockShipped"]
    assert inventory.states_told(cancelled) == ["StockReserved", "StockReleased"]
    assert inventory.states_told(late) == ["StockBackordered", "StockReserved"]
    assert await inventory.level("OAK-TABLE") == ("6", "6")


async def test_a_hold_before_confirmation_becomes_lasting(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id = new_id()

    before = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})
    told_before = inventory.states_told(order_id)
    after = await inventory.confirm(order_id, {"OAK-TABLE": 5})

    assert before.HasField("expire_time")
    assert told_before == []
    assert (after.id, state_of(after)) == (before.id, "held")
    assert not after.HasField("expire_time")
    assert inventory.states_told(order_id) == ["StockReserved"]
    assert await inventory.level("OAK-TABLE") == ("5", "5")


async def test_an_order_that_refuses_backorders_is_told_at_once(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)

    with pytest.raises(InsufficientStock):
        await inventory.hold_for_order(new_id(), {"OAK-TABLE": 6})

    assert await inventory.level("OAK-TABLE") == ("5", "0")


async def test_what_was_held_for_a_failed_confirmation_is_free_again(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id = new_id()
    held = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})

    released = await inventory.release_hold(held.id)
    again = await inventory.release_hold(held.id)

    assert (state_of(released), state_of(again)) == ("released", "released")
    assert inventory.states_told(order_id) == []
    assert await inventory.level("OAK-TABLE") == ("5", "0")


async def test_a_confirmed_orders_goods_are_no_hold_to_let_go_of(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id = new_id()
    held = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})
    await inventory.confirm(order_id, {"OAK-TABLE": 5})

    still = await inventory.release_hold(held.id)

    assert state_of(still) == "held"
    assert await inventory.level("OAK-TABLE") == ("5", "5")


async def test_holding_again_for_the_same_order_extends_the_hold(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id = new_id()

    first = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5}, ttl=10)
    again = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5}, ttl=600)

    assert again.id == first.id
    assert again.expire_time.seconds > first.expire_time.seconds
    assert await inventory.level("OAK-TABLE") == ("5", "5")


async def test_an_order_that_was_changed_holds_its_new_goods(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    await inventory.receive("OAK-CHAIR", 5)
    order_id = new_id()
    first = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})

    again = await inventory.hold_for_order(order_id, {"OAK-TABLE": 3, "OAK-CHAIR": 2})
    with pytest.raises(InsufficientStock):
        await inventory.hold_for_order(order_id, {"OAK-CHAIR": 6})
    confirmed = await inventory.confirm(order_id, {"OAK-CHAIR": 4})

    assert first.id == again.id == confirmed.id
    assert [line.quantity for line in confirmed.lines] == ["4"]
    assert await inventory.level("OAK-TABLE") == ("5", "0")
    assert await inventory.level("OAK-CHAIR") == ("5", "4")


async def test_a_hold_that_ended_before_the_confirmation_is_tried_again(
    inventory: Stockroom,
) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id, other = new_id(), new_id()
    held = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})
    inventory.pass_time_of(held.id)
    await inventory.look_at_the_clock()
    sold = await inventory.reserve({"OAK-TABLE": 1})

    with pytest.raises(InsufficientStock):
        await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})
    waiting = await inventory.confirm(order_id, {"OAK-TABLE": 5})
    await inventory.release(sold.id)

    assert (waiting.id, state_of(waiting)) == (held.id, "backordered")
    assert inventory.states_told(order_id) == ["StockBackordered", "StockReserved"]
    assert inventory.states_told(other) == []


async def test_a_late_repetition_does_not_shorten_a_lasting_hold(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id = new_id()
    confirmed = await inventory.confirm(order_id, {"OAK-TABLE": 5})

    late = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})

    assert late == confirmed


async def test_an_orders_own_overdue_hold_is_still_its_own(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id, other = new_id(), new_id()
    held = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})
    inventory.pass_time_of(held.id)

    await inventory.hear(
        inventory.confirmed(other, {"OAK-TABLE": 1}),
        inventory.confirmed(order_id, {"OAK-TABLE": 5}),
    )

    assert state_of(await inventory.reservation_of(order_id)) == "held"
    assert state_of(await inventory.reservation_of(other)) == "backordered"


async def test_one_order_at_several_servers_is_held_once(
    inventory: Stockroom, desks: list[Stockroom]
) -> None:
    await inventory.receive("OAK-TABLE", 100)
    orders = [new_id() for _ in range(10)]

    await asyncio.gather(
        *(
            desk.hold_for_order(order, {"OAK-TABLE": 2})
            for place, desk in enumerate(desks)
            for order in (orders if place % 2 else orders[::-1])
        ),
        *(inventory.hear(inventory.confirmed(order, {"OAK-TABLE": 2})) for order in orders[:5]),
    )

    assert await inventory.level("OAK-TABLE") == ("100", "20")


async def test_a_worker_among_servers_never_deadlocks(
    inventory: Stockroom, desks: list[Stockroom]
) -> None:
    goods = sorted(["OAK-TABLE", "OAK-CHAIR", "OAK-SHELF", "OAK-BED"])
    for sku in goods:
        await inventory.receive(sku, 1000)

    async def follow() -> None:
        for _ in range(20):
            first, second = new_id(), new_id()
            await inventory.hear(
                inventory.confirmed(first, {goods[-1]: 1}),
                inventory.shipped(first, "s", {goods[-1]: 1}),
                inventory.confirmed(second, {goods[0]: 1}),
                OrderCancelled(order_id=second),
            )

    async def serve(number: int) -> None:
        desk = desks[number % 4]
        made = await desk.reserve(dict.fromkeys(goods, 1))
        await (desk.release(made.id) if number % 3 else desk.ship(made.id))

    await asyncio.gather(follow(), *(serve(number) for number in range(90)))

    assert {await inventory.level(sku) for sku in goods[1:-1]} == {("970", "0")}
