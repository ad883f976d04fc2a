"""Many orders in one request."""

import asyncio
from typing import Any

import pytest

from common import ids
from common.errors import BrokenRule, DomainError, InvalidRequest, NotFound
from common.status import error_from
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as messages
from erp.types.v1 import money_pb2
from sales.tests.selling import Shop, counted_statements


class InsufficientStock(BrokenRule):
    """Inventory's answer when goods are missing."""

    detail = "Only 1 of OAK-TABLE left."


async def batch(shop: Shop, *orders: Any, atomic: bool = False) -> list[Any]:
    request = messages.BatchCreateOrdersRequest(orders=orders, atomic=atomic)
    answer = await shop.rpc("BatchCreateOrders", request)
    return [
        result.order if result.WhichOneof("outcome") == "order" else error_from(result.error)
        for result in answer.results
    ]


async def order_count(shop: Shop) -> int:
    return len((await shop.rpc("ListOrders", messages.ListOrdersRequest(page_size=200))).orders)


async def test_each_order_of_a_batch_has_its_own_outcome_in_the_order_of_the_request(
    shop: Shop,
) -> None:
    shop.archive(old := shop.add_product("OLD"))
    table, nothing = shop.add_product(), ids.new()
    too_exact = messages.NewOrderLine(
        product_id=str(table),
        quantity="1",
        unit_price=money_pb2.Money(currency_code="EUR", amount="0.001"),
    )

    outcomes = await batch(
        shop,
        shop.order((table, "1"), confirm=True, reference="first"),
        shop.order((nothing, "1")),
        shop.order((old, "1")),
        shop.order(too_exact),
        shop.order((table, "0")),
        shop.order((table, "2"), confirm=True, reference="last"),
    )

    first, *errors, last = outcomes
    assert (first.reference, first.number[-6:]) == ("first", "000001")
    assert (last.reference, last.number[-6:]) == ("last", "000002")
    assert [error.reason for error in errors] == [
        "NOT_FOUND",
        "PRODUCT_ARCHIVED",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
    ]
    assert errors[0].values() == {"kind": "product", "id": str(nothing)}
    assert errors[2].violations[0].pointer == "/lines/0/unit_price/amount"
    assert errors[3].violations[0].pointer == "/lines/0/quantity"
    assert await shop.violations() == []


async def test_a_batch_of_500_confirmed_orders_costs_a_few_shared_transactions(shop: Shop) -> None:
    table = shop.add_product()

    with counted_statements() as statements:
        orders = await batch(
            shop, *(shop.order((table, "1"), (table, "2"), confirm=True) for _ in range(500))
        )

    assert [order.number[-6:] for order in orders] == [f"{number:06d}" for number in range(1, 501)]
    # Three groups of at most 200: customers, numbers, orders, lines, events.
    assert len(statements) == 15
    assert shop.neighbours.lookups == ["goods", "billing"] * 3
    assert await shop.violations() == []


async def test_an_atomic_batch_is_made_together_in_one_transaction(shop: Shop) -> None:
    table = shop.add_product()

    with counted_statements() as statements:
        orders = await batch(
            shop, *(shop.order((table, "1"), confirm=True) for _ in range(100)), atomic=True
        )

    assert [order.number[-6:] for order in orders] == [f"{number:06d}" for number in range(1, 101)]
    assert len(statements) == 5
    assert await shop.violations() == []


@pytest.mark.parametrize("wrong", ["product", "customer"])
async def test_one_wrong_order_keeps_an_atomic_batch_from_being_made(
    shop: Shop, wrong: str
) -> None:
    table, nothing = shop.add_product(), ids.new()
    right = shop.order((table, "1"), confirm=True)
    bad = {
        "product": shop.order((nothing, "1")),
        "customer": shop.order((table, "1"), customer_id=str(nothing)),
    }[wrong]

    with pytest.raises(DomainError) as refused:
        await batch(shop, right, right, bad, right, atomic=True)

    assert (refused.value.reason, refused.value.status) == ("NOT_FOUND", NotFound.status)
    assert refused.value.values() == {"kind": wrong, "id": str(nothing), "order_index": "2"}
    assert str(refused.value) == f"There is no {wrong} {nothing}."
    assert await order_count(shop) == 0
    assert shop.events(events.OrderConfirmed) == []
    assert (await shop.create((table, "1"), confirm=True)).number.endswith("000001")


async def test_a_wrong_field_of_an_atomic_batch_is_named_with_its_order(shop: Shop) -> None:
    table = shop.add_product()
    too_exact = messages.NewOrderLine(
        product_id=str(table),
        quantity="1",
        unit_price=money_pb2.Money(currency_code="EUR", amount="0.001"),
    )

    right, empty = shop.order((table, "1")), shop.order((table, "0"))
    with pytest.raises(InvalidRequest) as refused:
        await batch(shop, right, shop.order(too_exact), empty, atomic=True)

    wrong = [field.pointer for field in refused.value.violations]
    assert wrong == ["/orders/1/lines/0/unit_price/amount", "/orders/2/lines/0/quantity"]

    assert await order_count(shop) == 0


async def test_an_atomic_batch_that_refuses_to_wait_is_held_whole_or_not_at_all(
    shop: Shop,
) -> None:
    table, chair = shop.add_product(), shop.add_product("CHAIR")
    forbid = {"backorder": pb.BACKORDER_POLICY_FORBID, "confirm": True}
    right, missing = shop.order((table, "1"), **forbid), shop.order((chair, "1"), **forbid)
    shop.neighbours.missing = InsufficientStock()
    shop.neighbours.missing_products = {chair}

    with pytest.raises(DomainError) as refused:
        await batch(shop, right, right, missing, atomic=True)
    held, released = len(shop.neighbours.held), len(shop.neighbours.released)
    orders = await batch(shop, right, right, atomic=True)

    assert refused.value.reason == "INSUFFICIENT_STOCK"
    assert refused.value.values()["order_index"] == "2"
    assert (held, released) == (2, 2)
    assert [order.number[-6:] for order in orders] == ["000001", "000002"]
    assert await order_count(shop) == 2


async def test_batches_and_single_orders_at_once_keep_the_numbers_gapless(shop: Shop) -> None:
    table, nothing = shop.add_product(), ids.new()
    row = shop.order((table, "1"), confirm=True)
    bad = shop.order((nothing, "1"))

    await asyncio.gather(
        batch(shop, row, bad, row),
        batch(shop, row, row, row, atomic=True),
        batch(shop, row, bad, atomic=True),
        *(shop.create((table, "1"), confirm=True) for _ in range(20)),
        return_exceptions=True,
    )

    assert await order_count(shop) == 25
    assert await shop.violations() == []
