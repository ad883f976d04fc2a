"""How promises end without a shipment."""

import asyncio
from functools import partial
from uuid import UUID

import pytest

from common.errors import NotFound
from erp.inventory.v1.events_pb2 import StockReleased
from inventory.errors import ReservationBelongsToOrder, ReservationNotHeld
from inventory.releasing import expire
from inventory.tests.stockroom import Stockroom, new_id, reason_of, state_of


async def test_released_stock_is_available_again(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    made = await inventory.reserve({"OAK-TABLE": 5})

    released = await inventory.release(made.id)

    assert state_of(released) == "released"
    assert released.version == made.version + 1
    assert await inventory.level("OAK-TABLE") == ("5", "0")
    [told] = inventory.events(StockReleased)
    assert (told.reservation_id, told.expired, told.origin) == (made.id, False, "direct")


async def test_what_is_released_cannot_be_released_again(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    made = await inventory.reserve({"OAK-TABLE": 5})

    outcomes = await asyncio.gather(
        *(inventory.release(made.id) for _ in range(3)), return_exceptions=True
    )

    assert sorted(map(reason_of, outcomes)) == ["OK", *["RESERVATION_NOT_HELD"] * 2]
    assert await inventory.level("OAK-TABLE") == ("5", "0")


async def test_a_reservation_that_does_not_exist_is_not_found(inventory: Stockroom) -> None:
    with pytest.raises(NotFound):
        await inventory.release(new_id())


async def test_a_confirmed_orders_reservation_ends_with_the_order_only(
    inventory: Stockroom,
) -> None:
    await inventory.receive("OAK-TABLE", 5)
    reservation = await inventory.confirm(new_id(), {"OAK-TABLE": 2})

    with pytest.raises(ReservationBelongsToOrder):
        await inventory.release(reservation.id)
    with pytest.raises(ReservationBelongsToOrder):
        await inventory.ship(reservation.id)

    assert await inventory.level("OAK-TABLE") == ("5", "2")


async def test_release_after_a_partial_shipment_frees_what_is_left(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    made = await inventory.reserve({"OAK-TABLE": 8})
    await inventory.ship(made.id, {"OAK-TABLE": 3})

    released = await inventory.release(made.id)

    assert released.lines[0].shipped == "3"
    assert await inventory.level("OAK-TABLE") == ("7", "0")


async def test_a_hold_ends_by_itself(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    forgotten = await inventory.reserve({"OAK-TABLE": 5}, ttl=60)
    inventory.pass_time_of(forgotten.id)

    await inventory.look_at_the_clock()

    assert state_of(await inventory.reservation(forgotten.id)) == "expired"
    assert await inventory.level("OAK-TABLE") == ("5", "0")
    [told] = inventory.events(StockReleased)
    assert told.expired


async def test_many_workers_end_a_hold_once(inventory: Stockroom, desks: list[Stockroom]) -> None:
    await inventory.receive("OAK-TABLE", 20)
    held = [await inventory.reserve({"OAK-TABLE": 1}, ttl=60) for _ in range(20)]
    for one in held:
        inventory.pass_time_of(one.id)

    await asyncio.gather(*(desk.look_at_the_clock() for desk in desks))

    assert await inventory.level("OAK-TABLE") == ("20", "0")
    assert len(inventory.events(StockReleased)) == 20


async def test_a_hold_that_became_lasting_meanwhile_does_not_end(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id = new_id()
    held = await inventory.hold_for_order(order_id, {"OAK-TABLE": 5})
    await inventory.confirm(order_id, {"OAK-TABLE": 5})

    with inventory.me():
        await inventory.database.run(partial(expire, reservation_ids=[UUID(held.id)]))

    assert state_of(await inventory.reservation(held.id)) == "held"


async def test_an_expired_hold_is_neither_released_nor_shipped(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    forgotten = await inventory.reserve({"OAK-TABLE": 5}, ttl=60)
    inventory.pass_time_of(forgotten.id)
    await inventory.look_at_the_clock()

    with pytest.raises(ReservationNotHeld):
        await inventory.release(forgotten.id)
    with pytest.raises(ReservationNotHeld):
        await inventory.ship(forgotten.id)
