"""Invoices of confirmed orders, and credit notes of cancelled ones."""

from datetime import date, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from accounting import listeners
from accounting.errors import (
    CurrencyNotKept,
    OrderAmountsDisagree,
    OrderWithoutInvoice,
)
from accounting.tests.company import Company, eur, new_id, order, sides
from common.errors import NotFound
from common.money import format_minor
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1.events_pb2 import InvoiceCredited, InvoicePaid, InvoicePosted


async def credit_note_of(company: Company, order_id: str) -> pb.CreditNote:
    request = service_pb.ListCreditNotesRequest(order_id=order_id)
    [note] = (await company.call("ListCreditNotes", request)).credit_notes
    return note


async def test_a_confirmed_order_has_an_invoice_in_the_books(company: Company) -> None:
    confirmed = order("360.00", "68.40")

    await company.confirm(confirmed)

    invoice = await company.invoice_of(confirmed)
    assert invoice.number.startswith("INV-")
    assert invoice.number.endswith("-000001")
    assert invoice.state == pb.INVOICE_STATE_POSTED
    assert invoice.customer_id == confirmed.customer_id
    assert (invoice.net, invoice.tax) == (eur("360.00"), eur("68.40"))
    assert (invoice.gross, invoice.amount_due) == (eur("428.40"), eur("428.40"))
    assert date.fromisoformat(invoice.due_date) - date.fromisoformat(invoice.date) == timedelta(14)
    [line] = invoice.lines
    assert (line.sku, line.quantity, line.tax_rate) == ("OAK-TABLE", "2.5", "0.19")
    assert (line.order_line_id, line.net) == (confirmed.lines[0].order_line_id, eur("360.00"))
    entry = await company.entry(invoice.journal_entry_id)
    assert sides(entry) == {"1200": 42_840, "4000": -36_000, "2200": -6_840}
    assert (entry.source.kind, entry.source.id) == ("invoice", invoice.id)
    assert await company.invoice(invoice.id) == invoice


async def test_sales_hears_of_the_invoice(company: Company) -> None:
    confirmed = order()

    await company.confirm(confirmed)

    invoice = await company.invoice_of(confirmed)
    assert company.events(InvoicePosted) == [
        InvoicePosted(
            invoice_id=invoice.id,
            number=invoice.number,
            order_id=confirmed.order_id,
            customer_id=confirmed.customer_id,
            gross=eur("119.00"),
            journal_entry_id=invoice.journal_entry_id,
        )
    ]
    query = "SELECT request_id FROM events WHERE tenant_id = %s"
    assert company.rows(query) == [("request-1",)]


async def test_an_order_without_tax_posts_no_tax(company: Company) -> None:
    invoice = await company.bill("50")

    assert sides(await company.entry(invoice.journal_entry_id)) == {"1200": 5_000, "4000": -5_000}


async def test_a_free_order_is_invoiced_as_paid_without_an_entry(company: Company) -> None:
    free = order("0", "0")

    await company.confirm(free)

    invoice = await company.invoice_of(free)
    assert (invoice.state, invoice.journal_entry_id) == (pb.INVOICE_STATE_PAID, "")
    assert len(company.events(InvoicePosted)) == len(company.events(InvoicePaid)) == 1
    assert await company.balances() == {}

    await company.cancel(free)

    note = await credit_note_of(company, free.order_id)
    assert (note.gross, note.journal_entry_id) == (eur("0.00"), "")
    assert (await company.invoice(invoice.id)).state == pb.INVOICE_STATE_CREDITED
    assert await company.wrongs() == []


async def test_an_order_is_invoiced_once(company: Company) -> None:
    confirmed = order()
    await company.confirm(confirmed)

    with pytest.raises(IntegrityError):
        await company.confirm(confirmed)

    assert len(company.events(InvoicePosted)) == 1
    assert await company.wrongs() == []


async def test_an_order_that_makes_no_sense_is_not_posted(company: Company) -> None:
    wrong_sum = order()
    wrong_sum.gross.amount = "118.99"
    wrong_lines = order()
    wrong_lines.lines[0].net.amount = "99.99"
    negative = order("-100.00", "0")

    for confirmed in (wrong_sum, wrong_lines, negative):
        with pytest.raises(OrderAmountsDisagree):
            await company.confirm(order(), confirmed)
    with pytest.raises(CurrencyNotKept):
        await company.confirm(order(), order(currency="USD"))

    assert await company.balances() == {}
    assert await company.wrongs() == []


async def test_a_cancelled_order_is_credited(company: Company) -> None:
    confirmed = order("360.00", "68.40")
    await company.confirm(confirmed)

    await company.cancel(confirmed)

    invoice = await company.invoice_of(confirmed)
    note = await credit_note_of(company, confirmed.order_id)
    entry = await company.entry(note.journal_entry_id)
    assert (invoice.state, invoice.amount_due) == (pb.INVOICE_STATE_CREDITED, eur("0.00"))
    assert invoice.credit_note_id == note.id
    assert note.number.startswith("CN-")
    assert (note.invoice_id, note.customer_id) == (invoice.id, confirmed.customer_id)
    assert (note.net, note.tax, note.gross) == (eur("360.00"), eur("68.40"), eur("428.40"))
    assert note.reason == "Too late"
    assert sides(entry) == {"4000": 36_000, "2200": 6_840, "1200": -42_840}
    assert entry.reverses_id == invoice.journal_entry_id
    assert await company.balances() == {}
    assert company.events(InvoiceCredited) == [
        InvoiceCredited(
            invoice_id=invoice.id,
            order_id=confirmed.order_id,
            credit_note_id=note.id,
            number=note.number,
        )
    ]
    request = service_pb.GetCreditNoteRequest(id=note.id)
    assert await company.call("GetCreditNote", request) == note


async def test_cancelling_a_paid_order_frees_what_was_paid(company: Company) -> None:
    confirmed = order("100", "19", company.new_customer())
    await company.confirm(confirmed)
    invoice = await company.invoice_of(confirmed)
    whole = [(invoice.id, "100")], [(invoice.id, "19")]
    payments = [await company.pay(confirmed.customer_id, "100", part) for part in whole]

    await company.cancel(confirmed)

    for payment in payments:
        request = service_pb.GetPaymentRequest(id=payment.id)
        now = await company.call("GetPayment", request)
        assert (now.unallocated, list(now.allocations)) == (eur("100.00"), [])
        assert now.version == payment.version + 1
    assert (await company.invoice_of(confirmed)).state == pb.INVOICE_STATE_CREDITED
    assert await company.balances() == {"1010": 20_000, "1200": -20_000}
    assert await company.wrongs() == []


async def test_an_order_is_credited_once_and_never_without_an_invoice(company: Company) -> None:
    confirmed = order()
    await company.confirm(confirmed)
    await company.cancel(confirmed)

    again = order()
    await company.confirm(again)
    await company.cancel(again, again, confirmed)
    with pytest.raises(OrderWithoutInvoice):
        await company.cancel(order())

    # Whoever cancels is told, also when there was nothing left to credit.
    told = [(event.order_id, event.number) for event in company.events(InvoiceCredited)]
    notes = {
        order_id: (await credit_note_of(company, order_id)).number
        for order_id in (confirmed.order_id, again.order_id)
    }
    expected = [confirmed.order_id, again.order_id, again.order_id, confirmed.order_id]
    assert sorted(told) == sorted((order_id, notes[order_id]) for order_id in expected)
    assert await company.wrongs() == []


async def test_orders_confirmed_and_cancelled_within_one_transaction(company: Company) -> None:
    confirmed = [order() for _ in range(3)]

    await company.confirm(*confirmed)
    await company.cancel(*confirmed[:2])

    states = [(await company.invoice_of(item)).state for item in confirmed]
    credited = pb.INVOICE_STATE_CREDITED
    assert states == [credited, credited, pb.INVOICE_STATE_POSTED]


async def test_invoices_are_found_by_order_customer_and_state(company: Company) -> None:
    customer_id = company.new_customer()
    orders = [order(customer_id=customer_id), order(customer_id=customer_id), order()]
    await company.confirm(*orders)
    await company.cancel(orders[0])

    async def listed(**wanted: object) -> list[str]:
        request = service_pb.ListInvoicesRequest(**wanted)
        return [item.order_id for item in (await company.call("ListInvoices", request)).invoices]

    ids = [item.order_id for item in orders]
    assert await listed() == ids
    assert await listed(customer_id=customer_id) == ids[:2]
    assert await listed(state=pb.INVOICE_STATE_POSTED) == ids[1:]
    assert await listed(state=pb.INVOICE_STATE_CREDITED, customer_id=customer_id) == ids[:1]
    assert await listed(order_id=new_id()) == []
    for name, request in (
        ("GetInvoice", service_pb.GetInvoiceRequest(id=new_id())),
        ("GetCreditNote", service_pb.GetCreditNoteRequest(id=new_id())),
    ):
        with pytest.raises(NotFound):
            await company.call(name, request)


async def test_a_hundred_orders_are_billed_in_the_statements_of_one(
    company: Company, statements: list[str]
) -> None:
    counts = {}
    for size in (1, 100):
        orders = [order(str(place), "1") for place in range(1, size + 1)]
        statements.clear()
        await company.confirm(*orders)
        billed = len(statements)
        await company.cancel(*orders)
        counts[size] = (billed, len(statements) - billed)

    assert counts[1] == counts[100]
    # Six and ten, and one for the events.
    assert counts[100] == (7, 11)
    gross = sum(item * 100 + 100 for item in range(1, 101))
    events = company.events(InvoicePosted)[1:]
    assert sum(int(item.gross.amount.replace(".", "")) for item in events) == gross
    assert format_minor(gross, "EUR") == "5150.00"
    assert await company.balances() == {}
    assert await company.wrongs() == []


def test_the_listeners_keep_the_order_of_their_sources() -> None:
    for listener in (listeners.raise_invoices, listeners.credit_invoices, listeners.post_receipts):
        assert listener.__listening__.queue == "high"  # type: ignore[attr-defined]
