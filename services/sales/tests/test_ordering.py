"""From an order's draft to its confirmation."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from common import ids
from common.errors import (
    BrokenRule,
    ConcurrentModification,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Unavailable,
)
from common.money import Money
from common.testing import as_user
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as messages
from erp.types.v1 import money_pb2
from sales.drafting import CreateOrder, create_orders, prepare
from sales.errors import CurrencyMismatch, OrderNotDraft, ProductArchived
from sales.tests.selling import Shop, counted_statements, outcomes_of


class InsufficientStock(BrokenRule):
    """Inventory's answer when goods are missing."""

    detail = "Only 1 of OAK-TABLE left."


def priced(product: UUID, quantity: str, amount: str, currency: str = "EUR", **fields: Any) -> Any:
    price = money_pb2.Money(currency_code=currency, amount=amount)
    return messages.NewOrderLine(
        product_id=str(product), quantity=quantity, unit_price=price, **fields
    )


async def test_a_draft_is_priced_by_list_price_and_default_tax(shop: Shop) -> None:
    table = shop.add_product("OAK-TABLE", "120.00")

    order = await shop.create((table, "3"), reference="web-17")

    line = order.lines[0]
    assert (line.sku, line.quantity, line.shipped, line.shortage) == ("OAK-TABLE", "3", "0", "0")
    assert (line.unit_price.amount, line.tax_rate) == ("120.00", "0.19")
    assert (line.net.amount, line.tax.amount, line.gross.amount) == ("360.00", "68.40", "428.40")
    assert (order.net.amount, order.tax.amount, order.gross.amount) == ("360.00", "68.40", "428.40")
    assert (order.state, order.number, order.version) == (pb.ORDER_STATE_DRAFT, "", 1)
    assert order.reservation_state == pb.ORDER_RESERVATION_STATE_NONE
    assert order == await shop.get(order)
    assert shop.events(events.OrderConfirmed) == []


async def test_a_line_may_name_its_price_and_its_tax(shop: Shop) -> None:
    table = shop.add_product()

    order = await shop.create(priced(table, "2.5", "0.01", tax_rate="0"))

    line = order.lines[0]
    assert (line.quantity, line.net.amount, line.tax.amount) == ("2.5", "0.03", "0.00")


async def test_lines_stay_as_they_are_given(shop: Shop) -> None:
    products = [shop.add_product(f"SKU-{place}") for place in range(50)]
    given = [(product, str(200 - place)) for place, product in enumerate(products * 2)]

    order = await shop.get(await shop.create(*given))

    assert [(UUID(line.product_id), line.quantity) for line in order.lines] == given


async def test_what_does_not_exist_cannot_be_ordered(shop: Shop) -> None:
    table, nothing = shop.add_product(), ids.new()

    for kind, request in {
        "product": shop.order((table, "1"), (nothing, "1")),
        "warehouse": shop.order((table, "1"), warehouse_id=str(nothing)),
        "customer": shop.order((table, "1"), customer_id=str(nothing)),
    }.items():
        with pytest.raises(NotFound) as missing:
            await shop.rpc("CreateOrder", request)
        assert (missing.value.kind, missing.value.id) == (kind, nothing)


async def test_an_archived_product_cannot_be_ordered(shop: Shop) -> None:
    shop.archive(table := shop.add_product("OAK-TABLE"))

    with pytest.raises(ProductArchived) as refused:
        await shop.create((table, "1"))

    assert refused.value.sku == "OAK-TABLE"


async def test_everything_is_in_the_currency_of_the_books(shop: Shop) -> None:
    table, import_ = shop.add_product(), shop.add_product("IMPORT", currency="USD")
    foreigner = await shop.add_customer(currency_code="USD")

    for field, request in {
        "/lines/1/unit_price": shop.order((table, "1"), priced(table, "1", "9.00", "USD")),
        "/lines/0/product_id": shop.order((import_, "1")),
        "/customer_id": shop.order((table, "1"), customer_id=foreigner.id),
    }.items():
        with pytest.raises(CurrencyMismatch) as refused:
            await shop.rpc("CreateOrder", request)
        assert refused.value.values() == {"field": field, "expected": "EUR", "got": "USD"}


async def test_amounts_and_quantities_that_nobody_can_count_are_refused(shop: Shop) -> None:
    table = shop.add_product()
    most = "999999999999.999999"

    for pointer, lines in {
        "/lines/0": [priced(table, most, "9999999999999.99")],
        "/lines": [priced(table, "1", "9999999999999.99", tax_rate="0")] * 2,
        "/lines/0/quantity": [priced(table, most, "0"), priced(table, "1", "0")],
        "/lines/0/unit_price/amount": [priced(table, "1", "0.001")],
        "/lines/0/unit_price/currency_code": [priced(table, "1", "1", "XXX")],
    }.items():
        with pytest.raises(InvalidRequest) as refused:
            await shop.create(*lines, confirm=True)
        assert [item.pointer for item in refused.value.violations] == [pointer]

    largest = await shop.create(priced(table, most, "0"), priced(shop.add_product(), most, "8.00"))
    assert largest.lines[0].quantity == most
    assert await shop.violations() == []


async def test_confirming_gives_a_number_and_tells_inventory_and_accounting(shop: Shop) -> None:
    table = shop.add_product("OAK-TABLE", "120.00")
    draft = await shop.create((table, "3"), (table, "1"))

    order = await shop.confirm(draft, version=1)

    assert order.number.startswith("SO-20")
    assert order.number.endswith("-000001")
    assert (order.state, order.version) == (pb.ORDER_STATE_CONFIRMED, 2)
    assert order.reservation_state == pb.ORDER_RESERVATION_STATE_PENDING
    assert order.invoice_state == pb.ORDER_INVOICE_STATE_PENDING
    assert order.awaiting == ["reservation", "invoice"]
    assert order == await shop.get(order)
    (event,) = shop.events(events.OrderConfirmed)
    assert (event.order_id, event.number, event.gross) == (order.id, order.number, order.gross)
    assert (event.customer_id, event.warehouse_id) == (order.customer_id, order.warehouse_id)
    assert [line.order_line_id for line in event.lines] == [line.id for line in order.lines]
    assert (event.lines[0].sku, event.lines[0].quantity) == ("OAK-TABLE", "3")
    assert (event.lines[0].net, event.lines[0].tax) == (order.lines[0].net, order.lines[0].tax)


async def test_an_order_made_and_confirmed_at_once_is_as_one_confirmed_later(shop: Shop) -> None:
    table = shop.add_product()

    order = await shop.create((table, "3"), confirm=True)

    assert (order.state, order.version) == (pb.ORDER_STATE_CONFIRMED, 1)
    assert order.awaiting == ["reservation", "invoice"]
    assert order.number.endswith("-000001")
    assert order == await shop.get(order)
    assert [event.order_id for event in shop.events(events.OrderConfirmed)] == [order.id]


async def test_confirming_while_creating_needs_the_permission_to_confirm(shop: Shop) -> None:
    request = shop.order((shop.add_product(), "1"), confirm=True)

    with pytest.raises(NotPermitted, match=r"sales\.orders\.confirm"):
        await shop.rpc("CreateOrder", request, ["sales.orders.write"])


async def test_of_100_confirmations_of_one_order_one_wins(shop: Shop) -> None:
    draft = await shop.create((shop.add_product(), "1"))

    outcomes = await outcomes_of(*(shop.confirm(draft, version=1) for _ in range(100)))

    assert outcomes.count("ORDER_NOT_DRAFT") == 99
    assert len(shop.events(events.OrderConfirmed)) == 1
    assert await shop.violations() == []


async def test_a_stale_version_confirms_nothing(shop: Shop) -> None:
    draft = await shop.create((shop.add_product(), "1"))

    with pytest.raises(ConcurrentModification):
        await shop.confirm(draft, version=7)

    assert await shop.get(draft) == draft


async def test_an_order_of_nobody_and_a_cancelled_one_cannot_be_confirmed(shop: Shop) -> None:
    cancelled = await shop.create((shop.add_product(), "1"))
    await shop.cancel(cancelled)

    with pytest.raises(NotFound):
        await shop.confirm(pb.Order(id=str(ids.new())))
    with pytest.raises(OrderNotDraft) as refused:
        await shop.confirm(cancelled)
    assert refused.value.state == "cancelled"


async def test_numbers_have_no_gap_whatever_fails_between_them(shop: Shop) -> None:
    table, nothing = shop.add_product(), ids.new()
    drafts = [await shop.create((table, "1")) for _ in range(10)]

    calls = []
    for place in range(60):
        product = nothing if place % 3 == 0 else table
        calls.append(shop.create((product, "1"), confirm=True))
        calls.append(shop.confirm(drafts[place % 10]))
    outcomes = await outcomes_of(*calls)

    made = [outcome for outcome in outcomes if isinstance(outcome, pb.Order)]
    numbers = sorted(order.number[-6:] for order in made)
    assert numbers == [f"{number:06d}" for number in range(1, 51)]
    assert outcomes.count("NOT_FOUND") == 20
    assert outcomes.count("ORDER_NOT_DRAFT") == 50
    assert await shop.violations() == []


@pytest.mark.parametrize("many", [1, 100])
async def test_many_orders_cost_the_statements_of_one(shop: Shop, many: int) -> None:
    table = shop.add_product()
    lines = [(table, "1"), (table, "2"), (table, "3")]

    drafts = await asyncio.gather(*(shop.create(*lines) for _ in range(many)))

    shop.neighbours.lookups.clear()
    with counted_statements() as creating:
        await asyncio.gather(*(shop.create(*lines, confirm=True) for _ in range(many)))
    with counted_statements() as confirming:
        await asyncio.gather(*(shop.confirm(draft) for draft in drafts))

    assert shop.neighbours.lookups == ["goods", "billing"]
    # Customers, numbers, orders, lines, events.
    assert len(creating) == 5
    # Orders, lines, numbers, orders, events.
    assert len(confirming) == 5


async def test_a_transaction_that_has_to_be_run_again_confirms_as_the_first_time(
    shop: Shop,
) -> None:
    request = shop.order((shop.add_product(), "1"), confirm=True)

    with as_user(shop.tenant):
        command = CreateOrder.from_wire(request)
        prepared = await prepare(shop.neighbours.services(), [command])
        with pytest.raises(TimeoutError):
            async with shop.database.tenant_transaction() as tx:
                await create_orders(tx, prepared)
                raise TimeoutError
        async with shop.database.tenant_transaction() as tx:
            (order,) = await create_orders(tx, prepared)

    assert order.number.endswith("000001")
    assert len(shop.events(events.OrderConfirmed)) == 1
    assert await shop.violations() == []


async def test_orders_that_refuse_to_wait_are_confirmed_once_their_goods_are_held(
    shop: Shop,
) -> None:
    table = shop.add_product()
    draft = await shop.create((table, "1"), (table, "2.5"), backorder=pb.BACKORDER_POLICY_FORBID)
    assert shop.neighbours.held == []

    order = await shop.confirm(draft)

    (hold,) = shop.neighbours.held
    assert (str(hold.order_id), str(hold.warehouse_id)) == (order.id, order.warehouse_id)
    assert hold.units == {table: Decimal("3.5")}
    assert order.number.endswith("000001")
    assert order.version == 2


async def test_an_order_that_refuses_to_wait_for_missing_goods_changes_nothing(shop: Shop) -> None:
    table = shop.add_product()
    draft = await shop.create((table, "1"), backorder=pb.BACKORDER_POLICY_FORBID)
    shop.neighbours.missing = InsufficientStock()

    with pytest.raises(InsufficientStock):
        await shop.confirm(draft)
    with pytest.raises(InsufficientStock):
        await shop.create((table, "1"), backorder=pb.BACKORDER_POLICY_FORBID, confirm=True)

    assert await shop.get(draft) == draft
    listed = await shop.rpc("ListOrders", messages.ListOrdersRequest())
    assert [order.id for order in listed.orders] == [draft.id]
    assert shop.events(events.OrderConfirmed) == []
    assert await shop.violations() == []


async def test_nothing_is_held_for_an_order_that_is_wrong(shop: Shop) -> None:
    table = shop.add_product()
    forbid = {"backorder": pb.BACKORDER_POLICY_FORBID, "confirm": True}
    draft = await shop.create((table, "1"), backorder=pb.BACKORDER_POLICY_FORBID)
    done = await shop.create((table, "1"), **forbid)
    shop.neighbours.held.clear()

    outcomes = await outcomes_of(
        shop.create((table, "1"), customer_id=str(ids.new()), **forbid),
        shop.create((ids.new(), "1"), **forbid),
        shop.confirm(draft, version=7),
        shop.confirm(done),
    )

    assert outcomes == ["NOT_FOUND", "NOT_FOUND", "CONCURRENT_MODIFICATION", "ORDER_NOT_DRAFT"]
    assert shop.neighbours.held == []


async def test_what_is_held_for_an_order_that_then_fails_is_let_go(shop: Shop) -> None:
    table = shop.add_product()
    hold = shop.neighbours.hold

    async def hold_and_lose_the_warehouse(wanted: Any) -> UUID:
        shop.neighbours.warehouses.clear()
        return await hold(wanted)

    desk = shop.servicer._desk
    desk._services = replace(desk._services, hold_goods=hold_and_lose_the_warehouse)

    with pytest.raises(NotFound):
        await shop.create((table, "1"), backorder=pb.BACKORDER_POLICY_FORBID, confirm=True)

    assert len(shop.neighbours.held) == len(shop.neighbours.released) == 1


async def test_when_inventory_is_away_nothing_is_ordered(shop: Shop) -> None:
    table = shop.add_product()

    async def away(*_: Any) -> Any:
        raise Unavailable("inventory")

    desk = shop.servicer._desk
    desk._services = replace(desk._services, resolve_goods=away)

    assert await outcomes_of(*(shop.create((table, "1")) for _ in range(3))) == ["UNAVAILABLE"] * 3


async def test_orders_come_in_pages_and_by_what_is_asked_for(shop: Shop) -> None:
    table = shop.add_product()
    other = await shop.add_customer()
    mine = [await shop.create((table, "1"), (table, "2"), reference=f"r{n % 2}") for n in range(5)]
    await shop.create((table, "1"), customer_id=other.id)
    sent = await shop.reserved_order((table, "1"))
    sent = await shop.ship(sent)

    async def ids_of(**wanted: Any) -> list[str]:
        request = messages.ListOrdersRequest(**wanted)
        return [order.id for order in (await shop.rpc("ListOrders", request)).orders]

    first = await shop.rpc("ListOrders", messages.ListOrdersRequest(page_size=5))
    request = messages.ListOrdersRequest(page_size=5, page_token=first.next_page_token)
    with counted_statements() as statements:
        rest = await shop.rpc("ListOrders", request)

    assert list(first.orders) == mine
    assert len(rest.orders) == 2
    assert rest.orders[1] == await shop.get(sent)
    assert rest.next_page_token == ""
    assert len(statements) == 3
    assert await ids_of(state=pb.ORDER_STATE_CONFIRMED) == [sent.id]
    assert len(await ids_of(customer_id=other.id)) == 1
    assert await ids_of(reference="r1") == [mine[1].id, mine[3].id]


async def test_an_order_without_decimals_in_its_currency(shop: Shop) -> None:
    shop.neighbours.billing = replace(shop.neighbours.billing, currency_code="JPY")
    table = shop.add_product(price="1500", currency="JPY")
    customer = await shop.add_customer(currency_code="JPY")

    order = await shop.create((table, "1.5"), customer_id=customer.id)

    assert Money.from_wire(order.net, "net") == Money("JPY", 2250)
    assert (order.tax.amount, order.gross.amount) == ("428", "2678")
