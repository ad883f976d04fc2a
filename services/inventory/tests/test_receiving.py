"""Goods that come in, and corrections of the count."""

import asyncio

import pytest

from common.errors import InvalidRequest, NotFound
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from erp.inventory.v1.events_pb2 import StockAdjusted, StockReceived
from erp.types.v1.money_pb2 import Money
from inventory.errors import (
    CurrencyMismatch,
    InsufficientStock,
    ProductArchived,
    TooMuchStock,
    TooMuchValue,
)
from inventory.tests.stockroom import Stockroom, euro, new_id, reason_of


async def test_received_goods_are_on_hand_at_their_cost(inventory: Stockroom) -> None:
    receipt = await inventory.receive("OAK-TABLE", 100, "70.00")

    stock = await inventory.stock("OAK-TABLE")
    assert (stock.on_hand, stock.available, stock.value.amount) == ("100", "100", "7000.00")
    [moved] = receipt.movements
    assert moved.kind == pb.MOVEMENT_KIND_RECEIPT
    assert (moved.quantity, moved.value.amount) == ("100", "7000.00")
    assert (moved.source.kind, moved.source.id) == ("receipt", receipt.id)
    [told] = inventory.events(StockReceived)
    assert (told.receipt_id, told.number, told.cost.amount) == (
        receipt.id,
        receipt.number,
        "7000.00",
    )
    with inventory.me():
        request = api.GetStockReceiptRequest(id=receipt.id)
        assert await inventory.rpc.GetStockReceipt(request, None) == receipt


async def test_receipts_at_once_are_numbered_without_gap(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 1)
    archived = await inventory.add_product("OLD-TABLE")
    with inventory.me():
        await inventory.rpc.ArchiveProduct(api.ArchiveProductRequest(id=archived.id), None)

    outcomes = await asyncio.gather(
        *(inventory.receive("OAK-TABLE", 1) for _ in range(10)),
        inventory.receive("OLD-TABLE", 1),
        *(inventory.receive("OAK-TABLE", 1) for _ in range(10)),
        return_exceptions=True,
    )

    made = [one for one in outcomes if isinstance(one, pb.StockReceipt)]
    assert reason_of(outcomes[10]) == "PRODUCT_ARCHIVED"
    numbers = sorted(int(one.number.rpartition("-")[2]) for one in made)
    assert numbers == list(range(2, 22))
    assert await inventory.level("OAK-TABLE") == ("21", "0")


async def test_several_lines_of_one_product_move_one_by_one(inventory: Stockroom) -> None:
    receipt = await inventory.receive_all(
        ("OAK-TABLE", 1, euro("10.00")), ("OAK-CHAIR", 2, euro("1.00")), ("OAK-TABLE", 3, euro("2"))
    )

    assert [moved.quantity for moved in receipt.movements] == ["1", "2", "3"]
    assert await inventory.value("OAK-TABLE") == "16.00"


async def test_costs_are_in_the_currency_of_the_books(inventory: Stockroom) -> None:
    await inventory.add_product("OAK-TABLE")
    dollars = Money(currency_code="USD", amount="1.00")

    with pytest.raises(CurrencyMismatch) as refused:
        await inventory.receive_all(("OAK-TABLE", 1, euro("1")), ("OAK-TABLE", 1, dollars))
    with pytest.raises(CurrencyMismatch):
        await inventory.adjust("OAK-TABLE", 1, dollars)
    with pytest.raises(CurrencyMismatch):
        await inventory.add_product("OAK-CHAIR", price=dollars)

    assert refused.value.field == "lines/1/unit_cost"
    assert await inventory.level("OAK-TABLE") == ("0", "0")


async def test_more_than_can_be_counted_or_valued_is_refused(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", "999999999999.999999", "0.00")

    with pytest.raises(TooMuchStock):
        await inventory.receive("OAK-TABLE", "0.000001", "0.00")
    with pytest.raises(TooMuchValue):
        await inventory.receive("GOLD", "999999999999.999999", "9999999999999.99")
    with pytest.raises(TooMuchValue):
        await inventory.receive_all(
            ("GOLD", 1, euro("9000000000000.00")), ("SILVER", 1, euro("9000000000000.00"))
        )
    with pytest.raises(TooMuchStock):
        await inventory.adjust("OAK-TABLE", "999999999999.999999")

    assert await inventory.level("GOLD") == ("0", "0")


async def test_goods_for_nowhere_are_refused(inventory: Stockroom) -> None:
    await inventory.add_product("OAK-TABLE")
    inventory.products["GHOST"] = new_id()

    with pytest.raises(NotFound) as no_product:
        await inventory.receive("GHOST", 1)
    inventory.warehouse_id = new_id()
    with pytest.raises(NotFound) as no_warehouse:
        await inventory.receive("OAK-TABLE", 1)

    assert (no_product.value.kind, no_warehouse.value.kind) == ("product", "warehouse")


async def test_an_archived_product_is_not_received(inventory: Stockroom) -> None:
    product = await inventory.add_product("OAK-TABLE")
    with inventory.me():
        await inventory.rpc.ArchiveProduct(api.ArchiveProductRequest(id=product.id), None)

    with pytest.raises(ProductArchived):
        await inventory.receive("OAK-TABLE", 1)


async def test_what_a_count_finds_is_worth_the_average(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 2, "10.00")
    await inventory.receive("OAK-TABLE", 2, "20.00")

    found = await inventory.adjust("OAK-TABLE", 1)
    bought = await inventory.adjust("OAK-TABLE", 1, euro("3.00"))

    assert (found.movements[0].value.amount, found.reason) == ("15.00", "counted")
    assert bought.movements[0].value.amount == "3.00"
    assert await inventory.value("OAK-TABLE") == "78.00"
    assert [told.cost.amount for told in inventory.events(StockAdjusted)] == ["15.00", "3.00"]
    with inventory.me():
        request = api.GetStockAdjustmentRequest(id=found.id)
        assert await inventory.rpc.GetStockAdjustment(request, None) == found


async def test_the_first_of_a_product_found_without_a_cost_is_worth_nothing(
    inventory: Stockroom,
) -> None:
    await inventory.add_product("OAK-TABLE")

    await inventory.adjust("OAK-TABLE", 5)

    assert await inventory.level("OAK-TABLE") == ("5", "0")
    assert await inventory.value("OAK-TABLE") == "0.00"


async def test_a_loss_is_worth_the_average_and_spares_what_is_reserved(
    inventory: Stockroom,
) -> None:
    await inventory.receive("OAK-TABLE", 3, "33.33")
    await inventory.reserve({"OAK-TABLE": 1})

    lost = await inventory.adjust("OAK-TABLE", -2)
    with pytest.raises(InsufficientStock) as refused:
        await inventory.adjust("OAK-TABLE", -1)

    assert lost.movements[0].value.amount == "-66.66"
    assert (refused.value.requested, refused.value.available) == (1, 0)
    assert await inventory.level("OAK-TABLE") == ("1", "1")
    [told] = inventory.events(StockAdjusted)
    assert (told.lines[0].quantity, told.cost.amount) == ("-2", "-66.66")


async def test_units_that_are_taken_away_have_no_cost_of_their_own(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 3)

    with pytest.raises(InvalidRequest) as refused:
        await inventory.adjust("OAK-TABLE", -1, euro("1.00"))

    assert refused.value.violations[0].pointer == "/lines/0/unit_cost"


async def test_the_movements_of_a_product_tell_its_story(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10, "1.00")
    await inventory.receive("OAK-CHAIR", 10, "1.00")
    await inventory.adjust("OAK-TABLE", -2)
    made = await inventory.reserve({"OAK-TABLE": 3})
    await inventory.ship(made.id)

    with inventory.me():
        request = api.ListStockMovementsRequest(
            product_id=inventory.products["OAK-TABLE"], page_size=2
        )
        first = await inventory.rpc.ListStockMovements(request, None)
        request.page_token = first.next_page_token
        second = await inventory.rpc.ListStockMovements(request, None)

    moved = [*first.stock_movements, *second.stock_movements]
    assert [one.quantity for one in moved] == ["10", "-2", "-3"]
    assert [one.source.kind for one in moved] == ["receipt", "adjustment", "reservation"]
    assert second.next_page_token == ""


async def test_levels_are_listed_in_pages_and_known_goods_have_one(inventory: Stockroom) -> None:
    for sku in ("OAK-TABLE", "OAK-CHAIR", "OAK-BED"):
        await inventory.receive(sku, 1)
    await inventory.add_product("OAK-SHELF")

    with inventory.me():
        request = api.ListStockLevelsRequest(page_size=2)
        first = await inventory.rpc.ListStockLevels(request, None)
        request.page_token = first.next_page_token
        second = await inventory.rpc.ListStockLevels(request, None)
        nowhere = await inventory.rpc.ListStockLevels(
            api.ListStockLevelsRequest(
                product_id=inventory.products["OAK-SHELF"], warehouse_id=new_id()
            ),
            None,
        )

    assert [len(page.stock_levels) for page in (first, second)] == [2, 1]
    assert second.next_page_token == ""
    assert await inventory.level("OAK-SHELF") == ("0", "0")
    assert list(nowhere.stock_levels) == []
