"""Counting a warehouse: differences are against what was expected, and stock stays true."""

import asyncio
from typing import Any

import pytest

from common.errors import ConcurrentModification, NotFound
from erp.inventory.v1 import events_pb2 as events
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.errors import (
    AlreadyBeingCounted,
    CountedBelowReserved,
    CountIncomplete,
    CountNotOpen,
    NothingToCount,
)
from inventory.tests.stockroom import Stockroom, new_id, reason_of, state_of


async def call(room: Stockroom, name: str, request: Any) -> Any:
    with room.me():
        return await getattr(room.rpc, name)(request, None)


async def start(room: Stockroom, *skus: str) -> pb.StockCount:
    lines = [api.StockCountProduct(product_id=room.products[sku]) for sku in skus]
    request = api.StartStockCountRequest(warehouse_id=room.warehouse_id, lines=lines)
    return await call(room, "StartStockCount", request)


async def record(room: Stockroom, count: pb.StockCount, **found: object) -> pb.StockCount:
    lines = [
        api.FoundLine(product_id=room.products[sku], counted=str(counted))
        for sku, counted in found.items()
    ]
    request = api.RecordStockCountRequest(id=count.id, lines=lines)
    return await call(room, "RecordStockCount", request)


async def post(room: Stockroom, count: pb.StockCount, version: int = 0) -> pb.StockCount:
    request = api.PostStockCountRequest(id=count.id, version=version)
    return await call(room, "PostStockCount", request)


async def cancel(room: Stockroom, count: pb.StockCount) -> pb.StockCount:
    return await call(room, "CancelStockCount", api.CancelStockCountRequest(id=count.id))


def lines_of(room: Stockroom, count: pb.StockCount) -> dict[str, tuple[str, str]]:
    """Counted and difference by stock keeping unit."""
    skus = {product_id: sku for sku, product_id in room.products.items()}
    return {skus[line.product_id]: (line.counted, line.difference) for line in count.lines}


@pytest.fixture
async def shop(inventory: Stockroom) -> Stockroom:
    await inventory.receive("TABLE", 10)
    await inventory.receive("LAMP", 4, cost="5.00")
    await inventory.add_product("CHAIR")
    return inventory


async def test_differences_become_one_adjustment(shop: Stockroom) -> None:
    count = await start(shop)
    await record(shop, count, TABLE=9)
    recorded = await record(shop, count, LAMP=6, TABLE=8)

    posted = await post(shop, count, recorded.version)

    assert lines_of(shop, recorded) == {"TABLE": ("8", "-2"), "LAMP": ("6", "2")}
    assert posted.state == pb.STOCK_COUNT_STATE_POSTED
    assert (await shop.level("TABLE"), await shop.level("LAMP")) == (("8", "0"), ("6", "0"))
    [adjusted] = shop.events(events.StockAdjusted)
    assert (adjusted.adjustment_id, adjusted.cost.amount) == (posted.stock_adjustment_id, "-130.00")
    assert adjusted.reason == f"Count {posted.number}"
    [told] = shop.events(events.StockCountPosted)
    assert told.stock_adjustment_id == posted.stock_adjustment_id
    assert await call(shop, "GetStockCount", api.GetStockCountRequest(id=count.id)) == posted


async def test_goods_that_move_while_they_are_counted_are_counted_once(shop: Stockroom) -> None:
    count = await start(shop, "TABLE", "CHAIR")
    await record(shop, count, TABLE=9, CHAIR=0)
    await shop.receive("TABLE", 5)
    await shop.ship((await shop.reserve({"TABLE": 3})).id)

    posted = await post(shop, count)

    # 10 + 5 - 3 less the one that was missing.
    assert await shop.level("TABLE") == ("11", "0")
    assert lines_of(shop, posted)["CHAIR"] == ("0", "0")


async def test_a_count_without_differences_adjusts_nothing(shop: Stockroom) -> None:
    count = await start(shop, "LAMP")
    await record(shop, count, LAMP="4.000000")

    posted = await post(shop, count)

    assert (posted.state, posted.stock_adjustment_id) == (pb.STOCK_COUNT_STATE_POSTED, "")
    assert shop.events(events.StockAdjusted) == []


async def test_what_is_reserved_is_never_counted_away(shop: Stockroom) -> None:
    count = await start(shop)
    await record(shop, count, TABLE=3, LAMP=9)
    await shop.reserve({"TABLE": 5})

    with pytest.raises(CountedBelowReserved) as refused:
        await post(shop, count)

    assert (refused.value.sku, refused.value.missing, refused.value.available) == ("TABLE", 7, 5)
    assert (await shop.level("TABLE"), await shop.level("LAMP")) == (("10", "5"), ("4", "0"))
    await record(shop, count, TABLE=5)
    assert (await post(shop, count)).state == pb.STOCK_COUNT_STATE_POSTED
    assert await shop.level("TABLE") == ("5", "5")


async def test_found_goods_fill_backorders(shop: Stockroom) -> None:
    count = await start(shop, "LAMP")
    order = new_id()
    assert state_of(await shop.confirm(order, {"LAMP": 6})) == "backordered"
    await record(shop, count, LAMP=6)

    await post(shop, count)

    assert state_of(await shop.reservation_of(order)) == "held"


async def test_a_product_is_in_one_open_count_at_most(shop: Stockroom) -> None:
    first = await start(shop, "TABLE")

    with pytest.raises(AlreadyBeingCounted) as refused:
        await start(shop)
    assert refused.value.sku == "TABLE"
    await start(shop, "LAMP")

    await cancel(shop, first)
    again = await start(shop, "TABLE")
    await record(shop, again, TABLE=10)
    await post(shop, again)
    await start(shop, "TABLE")


async def test_a_count_that_ended_stays_as_it_is(shop: Stockroom) -> None:
    posted, given_up = await start(shop, "TABLE"), await start(shop, "LAMP")
    with pytest.raises(CountIncomplete):
        await post(shop, posted)
    await record(shop, posted, TABLE=9)
    with pytest.raises(ConcurrentModification):
        await post(shop, posted, version=1)
    await post(shop, posted)
    await cancel(shop, given_up)

    for count in (posted, given_up):
        for attempt in (record(shop, count, TABLE=1), post(shop, count), cancel(shop, count)):
            with pytest.raises(CountNotOpen):
                await attempt
    assert (await shop.level("TABLE"), await shop.level("LAMP")) == (("9", "0"), ("4", "0"))


async def test_only_what_exists_is_counted(shop: Stockroom, stranger: Stockroom) -> None:
    count = await start(shop, "TABLE")
    shop.products["GHOST"] = new_id()

    with pytest.raises(NotFound):
        await start(shop, "GHOST")
    with pytest.raises(NotFound):
        await record(shop, count, CHAIR=1)
    with pytest.raises(NotFound):
        await post(shop, pb.StockCount(id=new_id()))
    with pytest.raises(NothingToCount):
        await start(stranger)


async def test_counts_are_listed_by_warehouse_and_state(shop: Stockroom) -> None:
    first, second = await start(shop, "TABLE"), await start(shop, "LAMP")
    await cancel(shop, first)

    async def listed(**wanted: Any) -> list[str]:
        found = await call(shop, "ListStockCounts", api.ListStockCountsRequest(**wanted))
        return [count.id for count in found.stock_counts]

    assert await listed(warehouse_id=shop.warehouse_id) == [first.id, second.id]
    assert await listed(state=pb.STOCK_COUNT_STATE_OPEN) == [second.id]
    assert await listed(warehouse_id=new_id()) == []


async def test_many_who_begin_or_post_the_same_count_do_it_once(
    shop: Stockroom, desks: list[Stockroom]
) -> None:
    begun = await asyncio.gather(*(start(desk) for desk in desks * 3), return_exceptions=True)
    [count] = [one for one in begun if isinstance(one, pb.StockCount)]
    await record(shop, count, TABLE=7, LAMP=4)

    posted = await asyncio.gather(
        *(post(desk, count) for desk in desks * 3), return_exceptions=True
    )

    assert sorted(map(reason_of, begun)) == ["ALREADY_BEING_COUNTED"] * 11 + ["OK"]
    assert sorted(map(reason_of, posted)) == ["COUNT_NOT_OPEN"] * 11 + ["OK"]
    assert await shop.level("TABLE") == ("7", "0")
