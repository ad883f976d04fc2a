"""Holding stock: all lines or none, and never more than there is."""

import asyncio

import pytest

from common.errors import NotFound
from erp.inventory.v1 import inventory_service_pb2 as api
from erp.inventory.v1.events_pb2 import StockReserved
from inventory.errors import InsufficientStock, ProductArchived
from inventory.tests.stockroom import Stockroom, new_id, reason_of, state_of


async def test_reserved_stock_is_no_longer_available(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 100)

    reservation = await inventory.reserve({"OAK-TABLE": 3})

    stock = await inventory.stock("OAK-TABLE")
    assert (stock.on_hand, stock.reserved, stock.available) == ("100", "3", "97")
    assert state_of(reservation) == "held"
    assert not reservation.HasField("expire_time")
    assert await inventory.reservation(reservation.id) == reservation


async def test_everybody_is_told_what_is_reserved(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    order_id = new_id()

    made = await inventory.reserve({"OAK-TABLE": 2}, reference="web-7", ttl=60, order_id=order_id)

    [told] = inventory.events(StockReserved)
    assert (told.reservation_id, told.order_id, told.reference) == (made.id, order_id, "web-7")
    assert [(line.quantity, line.shortage) for line in told.lines] == [("2", "0")]
    assert told.expire_time == made.expire_time
    assert told.origin == "direct"


async def test_one_line_that_is_missing_holds_nothing(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    await inventory.receive("OAK-CHAIR", 3)

    with pytest.raises(InsufficientStock) as refused:
        await inventory.reserve({"OAK-TABLE": 1, "OAK-CHAIR": 4})

    assert refused.value.values() == {
        "sku": "OAK-CHAIR",
        "requested": "4",
        "available": "3",
        "product_id": inventory.products["OAK-CHAIR"],
        "warehouse_id": inventory.warehouse_id,
    }
    assert await inventory.level("OAK-TABLE") == ("10", "0")
    assert inventory.events(StockReserved) == []


async def test_lines_of_one_product_count_together_and_stay_apart(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)

    with pytest.raises(InsufficientStock) as refused:
        await inventory.reserve_lines([("OAK-TABLE", 6), ("OAK-TABLE", 5)])
    kept = await inventory.reserve_lines([("OAK-TABLE", 6), ("OAK-TABLE", 4)])

    assert refused.value.requested == 11
    assert [line.quantity for line in kept.lines] == ["6", "4"]
    assert await inventory.level("OAK-TABLE") == ("10", "10")


async def test_parts_of_units_can_be_reserved(inventory: Stockroom) -> None:
    await inventory.receive("CLOTH", "2.5")

    await inventory.reserve({"CLOTH": "2.499999"})

    assert (await inventory.stock("CLOTH")).available == "0.000001"


async def test_a_product_that_never_came_in_is_insufficient(inventory: Stockroom) -> None:
    await inventory.add_product("OAK-TABLE")

    with pytest.raises(InsufficientStock) as refused:
        await inventory.reserve({"OAK-TABLE": 1})

    assert refused.value.available == 0


async def test_goods_and_places_that_do_not_exist_are_not_found(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 1)
    inventory.products["GHOST"] = new_id()

    with pytest.raises(NotFound) as no_product:
        await inventory.reserve({"OAK-TABLE": 1, "GHOST": 1})
    inventory.warehouse_id = new_id()
    with pytest.raises(NotFound) as no_warehouse:
        await inventory.reserve({"OAK-TABLE": 1})

    assert no_product.value.kind == "product"
    assert no_warehouse.value.kind == "warehouse"


async def test_an_archived_product_cannot_be_reserved(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 1)
    with inventory.me():
        request = api.ArchiveProductRequest(id=inventory.products["OAK-TABLE"])
        await inventory.rpc.ArchiveProduct(request, None)

    with pytest.raises(ProductArchived):
        await inventory.reserve({"OAK-TABLE": 1})


async def test_the_same_reference_is_the_same_reservation(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)

    first = await inventory.reserve({"OAK-TABLE": 4}, reference="cart-1")
    again = await inventory.reserve({"OAK-TABLE": 9}, reference="cart-1")

    assert again == first
    assert await inventory.level("OAK-TABLE") == ("10", "4")
    assert len(inventory.events(StockReserved)) == 1


async def test_a_refused_reference_can_be_tried_again(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 1)

    with pytest.raises(InsufficientStock):
        await inventory.reserve({"OAK-TABLE": 2}, reference="cart-1")
    await inventory.receive("OAK-TABLE", 1)

    assert state_of(await inventory.reserve({"OAK-TABLE": 2}, reference="cart-1")) == "held"


async def test_one_reference_at_several_servers_is_one_reservation(
    inventory: Stockroom, desks: list[Stockroom]
) -> None:
    goods = ["OAK-TABLE", "OAK-CHAIR", "OAK-SHELF", "OAK-BED"]
    for sku in goods:
        await inventory.receive(sku, 100)
    references = [f"cart-{number}" for number in range(20)]

    made = await asyncio.gather(
        *(
            desk.reserve({sku: 1}, reference=name)
            for desk, sku in zip(desks, goods, strict=True)
            for name in (references if sku in goods[:2] else references[::-1]) * 2
        )
    )

    by_name: dict[str, set[str]] = {}
    for reservation in made:
        by_name.setdefault(reservation.reference, set()).add(reservation.id)
    assert [len(by_name[name]) for name in references] == [1] * 20
    held = [await inventory.level(sku) for sku in goods]
    assert sum(int(reserved) for _, reserved in held) == 20


async def test_ten_buyers_of_ten_take_all_hundred(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 100)

    await asyncio.gather(*(inventory.reserve({"OAK-TABLE": 10}) for _ in range(10)))

    stock = await inventory.stock("OAK-TABLE")
    assert (stock.available, stock.reserved) == ("0", "100")


async def test_the_last_unit_goes_to_one_buyer_only(
    inventory: Stockroom, desks: list[Stockroom]
) -> None:
    await inventory.receive("OAK-TABLE", 1)

    outcomes = await asyncio.gather(
        *(desk.reserve({"OAK-TABLE": 1}) for desk in desks), return_exceptions=True
    )

    assert sorted(map(reason_of, outcomes)) == [*["INSUFFICIENT_STOCK"] * 3, "OK"]


async def test_sixty_buyers_of_fifty_units_leave_ten_without(
    inventory: Stockroom, desks: list[Stockroom]
) -> None:
    await inventory.receive("OAK-TABLE", 50)

    outcomes = await asyncio.gather(
        *(desks[number % 4].reserve({"OAK-TABLE": 1}) for number in range(60)),
        return_exceptions=True,
    )

    reasons = [reason_of(outcome) for outcome in outcomes]
    assert (reasons.count("OK"), reasons.count("INSUFFICIENT_STOCK")) == (50, 10)
    assert await inventory.level("OAK-TABLE") == ("50", "50")


async def test_overlapping_lines_in_opposite_orders_never_deadlock(
    inventory: Stockroom, desks: list[Stockroom]
) -> None:
    goods = ["OAK-TABLE", "OAK-CHAIR", "OAK-SHELF", "OAK-BED"]
    for sku in goods:
        await inventory.receive(sku, 120)

    async def buy(number: int) -> object:
        ordered = goods if number % 2 else goods[::-1]
        return await desks[number % 4].reserve(dict.fromkeys(ordered, 1))

    await asyncio.gather(*(buy(number) for number in range(120)))

    assert [await inventory.level(sku) for sku in goods] == [("120", "120")] * 4


async def test_expiry_never_blocks_a_sale(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    await inventory.receive("OAK-CHAIR", 5)
    forgotten = await inventory.reserve({"OAK-TABLE": 5, "OAK-CHAIR": 5}, ttl=60)
    inventory.pass_time_of(forgotten.id)

    bought = await inventory.reserve({"OAK-TABLE": 4})

    assert state_of(bought) == "held"
    assert state_of(await inventory.reservation(forgotten.id)) == "expired"
    assert await inventory.level("OAK-TABLE") == ("5", "4")
    assert await inventory.level("OAK-CHAIR") == ("5", "0")


async def test_a_hold_that_has_time_left_is_not_taken_away(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    await inventory.reserve({"OAK-TABLE": 5}, ttl=3600)

    with pytest.raises(InsufficientStock):
        await inventory.reserve({"OAK-TABLE": 1})
