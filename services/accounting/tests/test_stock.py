"""What goods that come and go make in the books."""

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from accounting import listeners
from accounting.errors import CurrencyNotKept
from accounting.tests.company import Company, adjusted, new_id, order, received, shipped, sides
from erp.accounting.v1.events_pb2 import CostOfSalesPosted
from erp.inventory.v1.events_pb2 import StockReceived


async def test_a_receipt_is_owed_until_its_bill_comes(company: Company) -> None:
    receipt = received("7000.00")

    await company.hear(listeners.post_receipts, [receipt])

    [entry] = await company.entries_for("receipt")
    assert entry.source.id == receipt.receipt_id
    assert sides(entry) == {"1400": 700_000, "2100": -700_000}


async def test_what_is_found_or_lost_is_posted_against_adjustments(company: Company) -> None:
    await company.hear(listeners.post_adjustments, [adjusted("30"), adjusted("-50")])

    found, lost = await company.entries_for("adjustment")
    assert sides(found) == {"1400": 3_000, "5100": -3_000}
    assert sides(lost) == {"1400": -5_000, "5100": 5_000}
    assert await company.balances() == {"1400": -2_000, "5100": 2_000}


async def test_shipped_goods_become_cost_of_sales(company: Company) -> None:
    order_id, shipment_id = new_id(), new_id()

    shipment = shipped("210", order_id=order_id, shipment_id=shipment_id)
    await company.hear(listeners.post_cost_of_sales, [shipment])

    [entry] = await company.entries_for("shipment")
    assert entry.source.id == shipment_id
    assert sides(entry) == {"5000": 21_000, "1400": -21_000}
    [posted] = company.events(CostOfSalesPosted)
    assert (posted.order_id, posted.shipment_id) == (order_id, shipment_id)
    assert posted.journal_entry_id == entry.id


async def test_a_direct_reservation_may_ship_in_parts(company: Company) -> None:
    first, second = shipped("10"), shipped("20")
    second.reservation_id = first.reservation_id

    await company.hear(listeners.post_cost_of_sales, [first, second])

    entries = await company.entries_for("shipment")
    assert [entry.source.id for entry in entries] == [
        first.lines[0].movement_id,
        second.lines[0].movement_id,
    ]
    assert [item.order_id for item in company.events(CostOfSalesPosted)] == ["", ""]


async def test_goods_without_a_cost_are_settled_without_an_entry(company: Company) -> None:
    free = shipped("0", order_id=new_id(), shipment_id=new_id())

    await company.hear(listeners.post_cost_of_sales, [free, shipped("5")])
    await company.hear(listeners.post_receipts, [received("0")])
    await company.hear(listeners.post_adjustments, [adjusted("0")])

    unposted, posted = company.events(CostOfSalesPosted)
    assert (unposted.shipment_id, unposted.journal_entry_id) == (free.shipment_id, "")
    assert posted.journal_entry_id
    assert await company.balances() == {"1400": -500, "5000": 500}
    assert await company.wrongs() == []


async def test_one_receipt_is_posted_once(company: Company) -> None:
    receipt = received("10")
    await company.hear(listeners.post_receipts, [receipt])

    with pytest.raises(IntegrityError):
        await company.hear(listeners.post_receipts, [received("20"), receipt])

    assert await company.balances() == {"1400": 1_000, "2100": -1_000}
    assert await company.wrongs() == []


async def test_costs_in_another_currency_are_not_posted(company: Company) -> None:
    foreign = received("10")
    foreign.cost.currency_code = "USD"

    with pytest.raises(CurrencyNotKept):
        await company.hear(listeners.post_receipts, [foreign])


async def test_a_hundred_receipts_cost_the_statements_of_one(
    company: Company, statements: list[str]
) -> None:
    counts = []
    for size in (1, 100):
        receipts: list[StockReceived] = [received("1.01") for _ in range(size)]
        statements.clear()
        await company.hear(listeners.post_receipts, receipts)
        counts.append(len(statements))

    assert counts == [3, 3]
    assert (await company.balances())["1400"] == 10_201


async def test_workers_and_servers_in_one_company_never_deadlock(company: Company) -> None:
    customer_id = company.new_customer()

    async def sell() -> None:
        first, second = order(customer_id=customer_id), order(customer_id=customer_id)
        await company.confirm(first, second)
        invoice = await company.invoice_of(second)
        await company.pay(customer_id, "119", [(invoice.id, "119")])
        await company.cancel(second, first)

    async def stock() -> None:
        await company.hear(listeners.post_receipts, [received("3"), received("4")])
        await company.hear(listeners.post_cost_of_sales, [shipped("2")])

    work = [job() for _ in range(10) for job in (sell, stock, lambda: company.invest("5"))]
    await asyncio.gather(*work)

    assert (await company.balances())["1400"] == 5_000
    assert await company.wrongs() == []
