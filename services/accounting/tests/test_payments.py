"""Payments: what they pay, and taking them back."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from accounting.errors import (
    AllocationsExceedPayment,
    CurrencyNotKept,
    InvoiceNotOpen,
    InvoiceOfAnotherCustomer,
    PaymentExceedsInvoice,
    PaymentIsVoided,
)
from accounting.tests.company import Company, cents, eur, new_id, reason_of, sides
from common.errors import InvalidRequest, NotFound
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1.events_pb2 import InvoicePaid, PaymentReceived, PaymentVoided
from erp.types.v1 import money_pb2


async def allocate(company: Company, payment_id: str, *parts: tuple[str, str]) -> pb.Payment:
    new = [service_pb.NewAllocation(invoice_id=item, amount=eur(part)) for item, part in parts]
    request = service_pb.AllocatePaymentRequest(id=payment_id, allocations=new)
    return await company.call("AllocatePayment", request)


async def payment_now(company: Company, payment_id: str) -> pb.Payment:
    return await company.call("GetPayment", service_pb.GetPaymentRequest(id=payment_id))


async def test_a_payment_pays_invoices_and_keeps_the_rest(company: Company) -> None:
    customer_id = company.new_customer()
    first = await company.bill("100", customer_id)
    second = await company.bill("50", customer_id)

    payment = await company.pay(customer_id, "140", [(first.id, "100"), (second.id, "30")])

    assert payment.number.startswith("PAY-")
    assert (payment.amount, payment.unallocated) == (eur("140.00"), eur("10.00"))
    assert (payment.state, payment.version) == (pb.PAYMENT_STATE_POSTED, 1)
    assert [(item.invoice_id, item.amount) for item in payment.allocations] == [
        (first.id, eur("100.00")),
        (second.id, eur("30.00")),
    ]
    assert (await company.invoice(first.id)).state == pb.INVOICE_STATE_PAID
    open_one = await company.invoice(second.id)
    assert (open_one.state, open_one.amount_due) == (pb.INVOICE_STATE_POSTED, eur("20.00"))
    assert sides(await company.entry(payment.journal_entry_id)) == {"1010": 14_000, "1200": -14_000}
    now = await payment_now(company, payment.id)
    now.create_time.CopyFrom(payment.create_time)
    assert now == payment
    assert [item.invoice_id for item in company.events(InvoicePaid)] == [first.id]
    [received] = company.events(PaymentReceived)
    assert (received.payment_id, received.amount) == (payment.id, eur("140.00"))
    query = "SELECT DISTINCT request_id FROM events WHERE tenant_id = %s AND type LIKE '%%Pay%%'"
    assert company.rows(query) == [("test",)]


@pytest.mark.parametrize(
    ("method", "account"),
    [
        (pb.PAYMENT_METHOD_BANK_TRANSFER, "1010"),
        (pb.PAYMENT_METHOD_CARD, "1010"),
        (pb.PAYMENT_METHOD_CASH, "1000"),
    ],
)
async def test_money_is_where_it_came_to(
    company: Company, method: pb.PaymentMethod, account: str
) -> None:
    payment = await company.pay(company.new_customer(), "12.34", method=method)

    entry = await company.entry(payment.journal_entry_id)
    assert sides(entry) == {account: 1234, "1200": -1234}


async def test_the_parts_of_one_invoice_count_together(company: Company) -> None:
    customer_id = company.new_customer()
    invoice = await company.bill("100", customer_id)

    with pytest.raises(PaymentExceedsInvoice) as refused:
        await company.pay(customer_id, "200", [(invoice.id, "60"), (invoice.id, "60")])
    payment = await company.pay(customer_id, "200", [(invoice.id, "60"), (invoice.id, "40")])

    assert refused.value.values()["amount_due"] == "100.00"
    assert refused.value.values()["amount"] == "120.00"
    assert [item.amount for item in payment.allocations] == [eur("100.00")]


async def test_a_payment_that_breaks_a_rule_changes_nothing(company: Company) -> None:
    customer_id, other = company.new_customer(), company.new_customer()
    invoice = await company.bill("100", customer_id)
    foreign = await company.bill("100", other)
    paid = await company.bill("1", customer_id)
    await company.pay(customer_id, "1", [(paid.id, "1")])
    before = await company.balances()

    for error, amount, parts in (
        (AllocationsExceedPayment, "50", [(invoice.id, "50.01")]),
        (PaymentExceedsInvoice, "500", [(invoice.id, "100.01")]),
        (InvoiceOfAnotherCustomer, "500", [(invoice.id, "1"), (foreign.id, "1")]),
        (InvoiceNotOpen, "500", [(paid.id, "1")]),
        (NotFound, "500", [(invoice.id, "1"), (new_id(), "1")]),
        (InvalidRequest, "0", []),
        (InvalidRequest, "5", [(invoice.id, "0")]),
        (InvalidRequest, "5", [(invoice.id, "-1")]),
    ):
        with pytest.raises(error):
            await company.pay(customer_id, amount, parts)
    with pytest.raises(NotFound) as unknown:
        await company.pay(new_id(), "5")
    with pytest.raises(CurrencyNotKept):
        dollars = money_pb2.Money(currency_code="USD", amount="5")
        request = service_pb.CreatePaymentRequest(
            customer_id=customer_id, amount=dollars, method=pb.PAYMENT_METHOD_CASH
        )
        await company.call("CreatePayment", request)

    assert unknown.value.kind == "customer"
    assert await company.balances() == before
    assert (await company.invoice(invoice.id)).version == 1
    assert await company.wrongs() == []


async def test_a_hundred_payments_at_once_pay_an_invoice_once(company: Company) -> None:
    customer_id = company.new_customer()
    invoice = await company.bill("100", customer_id)

    outcomes = await asyncio.gather(
        *(company.pay(customer_id, "100", [(invoice.id, "100")]) for _ in range(100)),
        return_exceptions=True,
    )

    assert Counter(map(reason_of, outcomes)) == {"OK": 1, "INVOICE_NOT_OPEN": 99}
    assert (await company.invoice(invoice.id)).amount_due == eur("0.00")
    assert len(company.events(InvoicePaid)) == 1
    assert await company.balances() == {"1010": 10_000, "4000": -10_000}
    assert await company.wrongs() == []


async def test_two_servers_paying_parts_of_one_invoice_never_pay_too_much(
    company: Company,
) -> None:
    customer_id = company.new_customer()
    invoice = await company.bill("100", customer_id)
    other = replace(company)

    outcomes = await asyncio.gather(
        *(
            server.pay(customer_id, "7", [(invoice.id, "7")])
            for _ in range(20)
            for server in (company, other)
        ),
        return_exceptions=True,
    )

    assert Counter(map(reason_of, outcomes)) == {"OK": 14, "PAYMENT_EXCEEDS_INVOICE": 26}
    assert (await company.invoice(invoice.id)).amount_due == eur("2.00")
    assert await company.wrongs() == []


async def test_what_a_payment_has_left_is_allocated_later(company: Company) -> None:
    customer_id = company.new_customer()
    payment = await company.pay(customer_id, "100")
    first = await company.bill("80", customer_id)
    second = await company.bill("80", customer_id)

    await allocate(company, payment.id, (first.id, "50"))
    after = await allocate(company, payment.id, (first.id, "30"), (second.id, "20"))

    assert after.unallocated == eur("0.00")
    assert {item.invoice_id: item.amount.amount for item in after.allocations} == {
        first.id: "80.00",
        second.id: "20.00",
    }
    assert [item.invoice_id for item in company.events(InvoicePaid)] == [first.id]
    with pytest.raises(AllocationsExceedPayment):
        await allocate(company, payment.id, (second.id, "0.01"))
    with pytest.raises(NotFound):
        await allocate(company, new_id(), (second.id, "0.01"))
    assert await company.wrongs() == []


async def test_a_payment_is_allocated_once_by_many_who_try(company: Company) -> None:
    customer_id = company.new_customer()
    payment = await company.pay(customer_id, "100")
    invoices = [await company.bill("100", customer_id) for _ in range(6)]

    outcomes = await asyncio.gather(
        *(allocate(company, payment.id, (invoice.id, "100")) for invoice in invoices),
        return_exceptions=True,
    )

    assert Counter(map(reason_of, outcomes)) == {"OK": 1, "ALLOCATIONS_EXCEED_PAYMENT": 5}
    assert await company.wrongs() == []


async def test_a_voided_payment_leaves_its_invoices_due(company: Company) -> None:
    customer_id = company.new_customer()
    invoice = await company.bill("100", customer_id)
    payment = await company.pay(customer_id, "150", [(invoice.id, "100")])

    voided = await company.void(payment.id)

    assert (voided.state, voided.unallocated) == (pb.PAYMENT_STATE_VOIDED, eur("150.00"))
    assert list(voided.allocations) == []
    due = await company.invoice(invoice.id)
    assert (due.state, due.amount_due) == (pb.INVOICE_STATE_POSTED, eur("100.00"))
    [entry] = await company.entries_for("payment_void")
    assert (entry.reverses_id, entry.source.id) == (payment.journal_entry_id, payment.id)
    assert await company.balances() == {"1200": 10_000, "4000": -10_000}
    assert [item.payment_id for item in company.events(PaymentVoided)] == [payment.id]
    again = await company.pay(customer_id, "100", [(invoice.id, "100")])
    assert again.unallocated == eur("0.00")
    assert await company.wrongs() == []


async def test_a_payment_is_voided_once_and_then_pays_nothing(company: Company) -> None:
    customer_id = company.new_customer()
    invoice = await company.bill("100", customer_id)
    payment = await company.pay(customer_id, "100", [(invoice.id, "100")])

    outcomes = await asyncio.gather(
        *(company.void(payment.id) for _ in range(8)), return_exceptions=True
    )

    assert Counter(map(reason_of, outcomes)) == {"OK": 1, "PAYMENT_IS_VOIDED": 7}
    with pytest.raises(PaymentIsVoided):
        await allocate(company, payment.id, (invoice.id, "1"))
    with pytest.raises(NotFound):
        await company.void(new_id())
    assert await company.wrongs() == []


async def test_a_failing_payment_leaves_no_gap_in_the_numbers(company: Company) -> None:
    customer_id = company.new_customer()
    invoice = await company.bill("10", customer_id)

    outcomes = await asyncio.gather(
        *(
            company.pay(customer_id, "1", [(invoice.id, amount)])
            for _ in range(15)
            for amount in ("1", "2")
        ),
        return_exceptions=True,
    )

    numbers = sorted(item.number[-6:] for item in outcomes if isinstance(item, pb.Payment))
    assert numbers == [f"{place:06d}" for place in range(1, 11)]
    assert await company.wrongs() == []


async def test_payments_are_listed_by_customer(company: Company) -> None:
    customer_id = company.new_customer()
    invoice = await company.bill("10", customer_id)
    mine = await company.pay(customer_id, "10", [(invoice.id, "4")])
    await company.pay(company.new_customer(), "10")

    request = service_pb.ListPaymentsRequest(customer_id=customer_id)
    listed = (await company.call("ListPayments", request)).payments

    assert [(item.id, cents(item.allocations[0].amount)) for item in listed] == [(mine.id, 400)]


async def test_a_hundred_payments_cost_the_statements_of_one(
    company: Company, statements: list[str]
) -> None:
    customer_id = company.new_customer()
    invoices = [await company.bill("10", customer_id) for _ in range(101)]
    counts = []
    for group in (invoices[:1], invoices[1:]):
        statements.clear()
        await asyncio.gather(
            *(company.pay(customer_id, "10", [(invoice.id, "10")]) for invoice in group)
        )
        counts.append(len(statements))

    # Seven, and one for the events.
    assert counts == [8, 8]
    assert (await company.balances())["1010"] == 101_000
