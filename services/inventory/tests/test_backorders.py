"""Orders that wait, and who gets what when goods come in."""

import asyncio

import pytest

from common.database import Database
from common.listening import Heard
from erp.inventory.v1.events_pb2 import StockBackordered, StockReserved
from inventory import backorders
from inventory.reserving import ReserveStock, reserve
from inventory.tests.stockroom import Stockroom, new_id, state_of


async def states(inventory: Stockroom, orders: list[str]) -> list[str]:
    return [state_of(await inventory.reservation_of(order)) for order in orders]


async def test_an_order_that_lacks_a_line_holds_nothing_and_waits(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    await inventory.receive("OAK-CHAIR", 3)
    order_id = new_id()

    waiting = await inventory.confirm(order_id, {"OAK-TABLE": 1, "OAK-CHAIR": 5})

    assert state_of(waiting) == "backordered"
    assert [line.shortage for line in waiting.lines] == ["0", "2"]
    assert await inventory.level("OAK-TABLE") == ("10", "0")
    [told] = inventory.events(StockBackordered)
    assert (told.order_id, told.origin) == (order_id, "order")
    assert [(line.quantity, line.shortage) for line in told.lines] == [("1", "0"), ("5", "2")]


async def test_goods_that_come_in_go_to_the_earliest_order(inventory: Stockroom) -> None:
    await inventory.add_product("OAK-TABLE")
    orders = [new_id() for _ in range(3)]
    for order in orders:
        await inventory.confirm(order, {"OAK-TABLE": 5})

    await inventory.receive("OAK-TABLE", 5)
    after_the_first = await states(inventory, orders)
    await inventory.adjust("OAK-TABLE", 5)
    after_the_second = await states(inventory, orders)

    assert after_the_first == ["held", "backordered", "backordered"]
    assert after_the_second == ["held", "held", "backordered"]
    assert await inventory.level("OAK-TABLE") == ("10", "10")
    assert [told.order_id for told in inventory.events(StockReserved)] == orders[:2]


async def test_orders_confirmed_together_wait_in_the_order_of_their_events(
    inventory: Stockroom,
) -> None:
    await inventory.add_product("OAK-TABLE")
    orders = [new_id() for _ in range(20)]
    shuffled = orders[10:] + orders[:10]

    await inventory.hear(*(inventory.confirmed(order, {"OAK-TABLE": 1}) for order in shuffled))
    await inventory.receive("OAK-TABLE", 7)

    assert await states(inventory, shuffled) == ["held"] * 7 + ["backordered"] * 13


async def test_an_order_that_does_not_fit_is_passed_over_and_keeps_its_place(
    inventory: Stockroom,
) -> None:
    await inventory.add_product("OAK-TABLE")
    large, small = new_id(), new_id()
    await inventory.confirm(large, {"OAK-TABLE": 10})
    await inventory.confirm(small, {"OAK-TABLE": 2})

    await inventory.receive("OAK-TABLE", 3)
    passed_over = await inventory.reservation_of(large)
    await inventory.receive("OAK-TABLE", 9)

    assert [line.shortage for line in passed_over.lines] == ["7"]
    assert await states(inventory, [large, small]) == ["held", "held"]
    assert await inventory.level("OAK-TABLE") == ("12", "12")


async def test_an_order_waits_for_all_of_its_goods(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    await inventory.add_product("OAK-CHAIR")
    await inventory.add_product("OAK-BED")
    order_id = new_id()
    await inventory.confirm(order_id, {"OAK-TABLE": 5, "OAK-CHAIR": 1, "OAK-BED": 1})

    await inventory.receive("OAK-CHAIR", 1)
    still_short = await inventory.reservation_of(order_id)
    await inventory.reserve({"OAK-TABLE": 5})
    await inventory.receive("OAK-BED", 1)
    short_of_another = await inventory.reservation_of(order_id)
    await inventory.receive("OAK-TABLE", 5)

    assert [line.shortage for line in still_short.lines] == ["0", "0", "1"]
    assert [line.shortage for line in short_of_another.lines] == ["5", "0", "0"]
    assert state_of(await inventory.reservation_of(order_id)) == "held"


@pytest.mark.parametrize("ending", ["release", "cancel", "expiry", "expiry before a sale"])
async def test_what_others_let_go_goes_to_who_waits(inventory: Stockroom, ending: str) -> None:
    await inventory.receive("OAK-TABLE", 5)
    cancelled, waiting = new_id(), new_id()
    if ending == "cancel":
        await inventory.confirm(cancelled, {"OAK-TABLE": 5})
    else:
        held = await inventory.reserve({"OAK-TABLE": 5}, ttl=60)
    await inventory.confirm(waiting, {"OAK-TABLE": 4})

    match ending:
        case "release":
            await inventory.release(held.id)
        case "cancel":
            await inventory.cancel(cancelled)
        case "expiry":
            inventory.pass_time_of(held.id)
            await inventory.look_at_the_clock()
        case "expiry before a sale":
            inventory.pass_time_of(held.id)
            await inventory.reserve({"OAK-TABLE": 1})

    assert await states(inventory, [waiting]) == ["held"]


async def test_a_cancelled_order_waits_no_more(inventory: Stockroom) -> None:
    await inventory.add_product("OAK-TABLE")
    first, second = new_id(), new_id()
    await inventory.confirm(first, {"OAK-TABLE": 5})
    await inventory.confirm(second, {"OAK-TABLE": 5})

    await inventory.cancel(first)
    await inventory.receive("OAK-TABLE", 5)

    assert await states(inventory, [first, second]) == ["released", "held"]
    assert inventory.states_told(first) == ["StockBackordered", "StockReleased"]


async def test_orders_cancelled_together_do_not_serve_each_other(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 5)
    held, waiting = new_id(), new_id()
    await inventory.confirm(held, {"OAK-TABLE": 5})
    await inventory.confirm(waiting, {"OAK-TABLE": 5})

    await inventory.cancel(held, waiting)

    assert await states(inventory, [held, waiting]) == ["released", "released"]
    assert await inventory.level("OAK-TABLE") == ("5", "0")


async def test_more_waiting_orders_than_one_transaction_tries_are_filled_in_turn(
    inventory: Stockroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backorders, "MOST_TRIED", 4)
    await inventory.add_product("OAK-TABLE")
    orders = [new_id() for _ in range(11)]
    await inventory.hear(*(inventory.confirmed(order, {"OAK-TABLE": 1}) for order in orders))

    await inventory.receive("OAK-TABLE", 10)
    at_once = await states(inventory, orders)
    for _ in range(3):
        await inventory.try_untried()

    assert at_once == ["held"] * 4 + ["backordered"] * 7
    assert await states(inventory, orders) == ["held"] * 10 + ["backordered"]


async def test_no_waiting_order_is_missed_while_goods_come_in(
    inventory: Stockroom, desks: list[Stockroom]
) -> None:
    await inventory.add_product("OAK-TABLE")
    await inventory.add_product("OAK-CHAIR")
    orders = [new_id() for _ in range(40)]
    goods = [{"OAK-TABLE": 1, "OAK-CHAIR": 1}, {"OAK-CHAIR": 1}, {"OAK-TABLE": 1}]

    async def sell() -> None:
        for number, order in enumerate(orders):
            await inventory.hear(inventory.confirmed(order, goods[number % 3]))

    async def restock(desk: Stockroom, sku: str) -> None:
        for _ in range(27):
            await desk.receive(sku, 1)

    await asyncio.gather(sell(), restock(desks[1], "OAK-TABLE"), restock(desks[3], "OAK-CHAIR"))
    await inventory.try_untried()

    assert await states(inventory, orders) == ["held"] * 40


async def test_the_first_goods_ever_find_an_order_that_begins_to_wait_just_now(
    inventory: Stockroom, desks: list[Stockroom], database: Database
) -> None:
    await inventory.add_product("OAK-TABLE")
    order_id = new_id()
    heard = Heard(inventory.confirmed(order_id, {"OAK-TABLE": 1}), "request", 1)

    with inventory.me():
        async with database.tenant_transaction() as tx:
            await reserve(tx, [ReserveStock.on_confirmation(heard)])
            receiving = asyncio.create_task(desks[1].receive("OAK-TABLE", 1))
            while not (receiving.done() or inventory.somebody_waits()):
                await asyncio.sleep(0.01)
    await receiving

    assert await states(inventory, [order_id]) == ["held"]
