"""Invoices taken back by hand: whole, in parts, before and after they were paid."""

import asyncio

import pytest

from accounting.errors import CreditsMoreThanInvoiced, InvoiceAlreadyCredited, InvoiceNotOpen
from accounting.tests.company import Company, eur, new_id, order, reason_of, sides
from common.errors import NotFound
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1 import events_pb2 as events
from erp.sales.v1.events_pb2 import OrderConfirmed


async def credit(company: Company, invoice_id: str, *lines: tuple[str, str]) -> pb.CreditNote:
    request = service_pb.CreditInvoiceRequest(
        id=invoice_id,
        reason="Scratched",
        lines=[
            service_pb.CreditLine(order_line_id=line_id, quantity=quantity)
            for line_id, quantity in lines
        ],
    )
    return await company.call("CreditInvoice", request)


async def unallocated(company: Company, payment: pb.Payment) -> str:
    now = await company.call("GetPayment", service_pb.GetPaymentRequest(id=payment.id))
    return str(now.unallocated.amount)


@pytest.fixture
async def sold(company: Company) -> OrderConfirmed:
    """An order of 2.5 units for 100.00 and 19.00 of tax."""
    confirmed = order(customer_id=company.new_customer())
    await company.confirm(confirmed)
    return confirmed


async def test_a_whole_invoice_is_taken_back(company: Company, sold: OrderConfirmed) -> None:
    invoice = await company.invoice_of(sold)

    note = await credit(company, invoice.id)

    after = await company.invoice(invoice.id)
    assert (after.state, after.credit_note_id) == (pb.INVOICE_STATE_CREDITED, note.id)
    assert (after.amount_due, after.credited) == (eur("0.00"), eur("119.00"))
    assert (note.reason, note.gross) == ("Scratched", eur("119.00"))
    assert [(line.quantity, line.net, line.tax) for line in note.lines] == [
        ("2.5", eur("100.00"), eur("19.00"))
    ]
    entry = await company.entry(note.journal_entry_id)
    assert entry.reverses_id == invoice.journal_entry_id
    assert await company.balances() == {}
    assert [event.number for event in company.events(events.InvoiceCredited)] == [note.number]
    with pytest.raises(InvoiceAlreadyCredited):
        await credit(company, invoice.id)
    with pytest.raises(InvoiceNotOpen):
        await company.pay(sold.customer_id, "1", [(invoice.id, "1")])
    assert await company.wrongs() == []


async def test_parts_add_up_to_the_whole(company: Company, sold: OrderConfirmed) -> None:
    invoice = await company.invoice_of(sold)
    line = invoice.lines[0].order_line_id

    first = await credit(company, invoice.id, (line, "1"))
    partly = await company.invoice(invoice.id)
    second = await credit(company, invoice.id, (line, "0.3"), (line, "0.4"))
    with pytest.raises(CreditsMoreThanInvoiced) as refused:
        await credit(company, invoice.id, (line, "0.800001"))
    last = await credit(company, invoice.id)

    assert (first.net, first.tax) == (eur("40.00"), eur("7.60"))
    assert (partly.state, partly.amount_due) == (pb.INVOICE_STATE_POSTED, eur("71.40"))
    assert (second.net, second.tax) == (eur("28.00"), eur("5.32"))
    assert (refused.value.requested, refused.value.left) == ("0.800001", "0.8")
    assert (last.net, last.tax) == (eur("32.00"), eur("6.08"))
    posted = sides(await company.entry(second.journal_entry_id))
    assert posted == {"4000": 2_800, "2200": 532, "1200": -3_332}
    assert (await company.invoice(invoice.id)).state == pb.INVOICE_STATE_CREDITED
    assert len(company.events(events.InvoicePartlyCredited)) == 2
    assert len(company.events(events.InvoiceCredited)) == 1
    assert await company.balances() == {}
    assert await company.wrongs() == []


async def test_what_was_paid_beyond_what_is_left_is_free_again(
    company: Company, sold: OrderConfirmed
) -> None:
    invoice = await company.invoice_of(sold)
    line = invoice.lines[0].order_line_id
    older = await company.pay(sold.customer_id, "100", [(invoice.id, "100")])
    newer = await company.pay(sold.customer_id, "19", [(invoice.id, "19")])

    await credit(company, invoice.id, (line, "0.5"))
    partly = await company.invoice(invoice.id)
    free = await unallocated(company, older), await unallocated(company, newer)
    await credit(company, invoice.id)

    assert (partly.state, partly.amount_due) == (pb.INVOICE_STATE_PAID, eur("0.00"))
    assert free == ("4.80", "19.00")
    assert await unallocated(company, older) == "100.00"
    assert (await company.invoice(invoice.id)).state == pb.INVOICE_STATE_CREDITED
    other = await company.bill("100", sold.customer_id)
    allocation = service_pb.NewAllocation(invoice_id=other.id, amount=eur("100"))
    request = service_pb.AllocatePaymentRequest(id=older.id, allocations=[allocation])
    await company.call("AllocatePayment", request)
    assert (await company.invoice(other.id)).state == pb.INVOICE_STATE_PAID
    assert await company.wrongs() == []


async def test_a_partly_credited_invoice_is_paid_by_what_is_left(
    company: Company, sold: OrderConfirmed
) -> None:
    invoice = await company.invoice_of(sold)
    line = invoice.lines[0].order_line_id
    await company.pay(sold.customer_id, "50", [(invoice.id, "50")])

    await credit(company, invoice.id, (line, "1"))
    await company.pay(sold.customer_id, "21.40", [(invoice.id, "21.40")])

    assert (await company.invoice(invoice.id)).state == pb.INVOICE_STATE_PAID
    await company.cancel(sold)
    assert (await company.invoice(invoice.id)).state == pb.INVOICE_STATE_CREDITED
    assert await company.balances() == {"1010": 7_140, "1200": -7_140}
    assert await company.wrongs() == []


async def test_a_credit_that_settles_the_rest_tells_that_it_is_paid(
    company: Company, sold: OrderConfirmed
) -> None:
    invoice = await company.invoice_of(sold)
    await company.pay(sold.customer_id, "71.40", [(invoice.id, "71.40")])

    await credit(company, invoice.id, (invoice.lines[0].order_line_id, "1"))

    assert (await company.invoice(invoice.id)).state == pb.INVOICE_STATE_PAID
    assert [event.invoice_id for event in company.events(events.InvoicePaid)] == [invoice.id]


async def test_only_what_was_invoiced_is_credited(company: Company, sold: OrderConfirmed) -> None:
    invoice = await company.invoice_of(sold)

    with pytest.raises(NotFound):
        await credit(company, new_id())
    with pytest.raises(NotFound):
        await credit(company, invoice.id, (new_id(), "1"))

    assert (await company.invoice(invoice.id)).amount_due == eur("119.00")


async def test_one_of_many_credits_an_invoice(company: Company, sold: OrderConfirmed) -> None:
    invoice = await company.invoice_of(sold)

    outcomes = await asyncio.gather(
        *(credit(company, invoice.id) for _ in range(20)), return_exceptions=True
    )

    assert sorted(map(reason_of, outcomes)) == ["INVOICE_ALREADY_CREDITED"] * 19 + ["OK"]
    assert await company.balances() == {}
    assert await company.wrongs() == []
