"""Raising an invoice for every confirmed order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Self
from uuid import UUID

from accounting.books import Books, open_books
from accounting.entries import JournalEntry, Source, lines_between, post_entries, today
from accounting.errors import OrderAmountsDisagree
from accounting.invoices import InvoiceLine
from accounting.tables import invoice_lines, invoices
from common import ids, numbers, outbox
from common.bulk import insert_rows
from common.database import Transaction
from common.listening import Heard
from common.money import Money
from erp.accounting.v1.events_pb2 import InvoicePaid, InvoicePosted
from erp.sales.v1.events_pb2 import ConfirmedLine, OrderConfirmed

SERIES = "INV"
DAYS_TO_PAY = 14


@dataclass(frozen=True)
class NewInvoice:
    """An invoice that is being raised; amounts in minor units."""

    id: UUID
    order_id: UUID
    order_number: str
    customer_id: UUID
    currency: str
    net: int
    tax: int
    gross: int
    lines: tuple[InvoiceLine, ...]
    # When the order was confirmed.
    day: date
    request_id: str

    @classmethod
    def of(cls, heard: Heard[OrderConfirmed], books: Books) -> Self:
        """The invoice for an order.

        Raises:
            CurrencyNotKept: the order is in another currency than the books.
            OrderAmountsDisagree: its lines do not add up to its amounts.
        """
        order = heard.message
        amounts = (order.net, "net"), (order.tax, "tax"), (order.gross, "gross")
        net, tax, gross = (books.minor(Money.from_wire(item, name)) for item, name in amounts)
        invoice = cls(
            id=ids.new(),
            order_id=ids.parse(order.order_id, "order_id"),
            order_number=order.number,
            customer_id=ids.parse(order.customer_id, "customer_id"),
            currency=books.currency,
            net=net,
            tax=tax,
            gross=gross,
            lines=tuple(line_of(line, books) for line in order.lines),
            day=heard.time.date(),
            request_id=heard.request_id,
        )
        invoice.demand_sums()
        return invoice

    def demand_sums(self) -> None:
        """Let pass what adds up.

        Raises:
            OrderAmountsDisagree: it does not.
        """
        sums = [(line.net_minor, line.tax_minor) for line in self.lines]
        added_up = sum(net for net, _ in sums), sum(tax for _, tax in sums)
        if added_up != (self.net, self.tax) or self.net + self.tax != self.gross:
            raise OrderAmountsDisagree(self.order_id)
        if min((amount for pair in sums for amount in pair), default=0) < 0:
            raise OrderAmountsDisagree(self.order_id)

    def entry(self, books: Books) -> JournalEntry | None:
        """What it puts in the books; nothing when the order is free."""
        amounts = {"receivable": self.gross, "revenue": -self.net, "sales_tax": -self.tax}
        lines = lines_between(books, amounts)
        if not lines:
            return None
        source = Source("invoice", self.id)
        description = f"Invoice for order {self.order_number}"
        return JournalEntry(ids.new(), self.day, description, self.currency, lines, source)


def line_of(line: ConfirmedLine, books: Books) -> InvoiceLine:
    """The invoice's line for a line of the order."""
    return InvoiceLine(
        order_line_id=ids.parse(line.order_line_id, "order_line_id"),
        sku=line.sku,
        quantity=Decimal(line.quantity),
        net_minor=books.minor(Money.from_wire(line.net, "net")),
        tax_rate=Decimal(line.tax_rate),
        tax_minor=books.minor(Money.from_wire(line.tax, "tax")),
    )


async def raise_invoices(tx: Transaction, confirmed: Sequence[Heard[OrderConfirmed]]) -> None:
    """Raise an invoice for each order and put it in the books, in six statements however many."""
    books = await open_books(tx)
    new = [NewInvoice.of(heard, books) for heard in confirmed]

    taken = await numbers.take(tx, SERIES, len(new), today().year)
    entries = [invoice.entry(books) for invoice in new]
    await post_entries(tx, books, [entry for entry in entries if entry])
    numbered = list(zip(new, taken, entries, strict=True))
    await insert_rows(tx, invoices, [_row(*item) for item in numbered])
    await insert_rows(tx, invoice_lines, [row for invoice in new for row in _line_rows(invoice)])

    for invoice, number, entry in numbered:
        outbox.publish(tx, *_events(invoice, number, entry), request_id=invoice.request_id)


def _row(invoice: NewInvoice, number: str, entry: JournalEntry | None) -> dict[str, object]:
    return {
        "id": invoice.id,
        "number": number,
        "order_id": invoice.order_id,
        "customer_id": invoice.customer_id,
        "state": "posted" if invoice.gross else "paid",
        "date": invoice.day,
        "due_date": invoice.day + timedelta(days=DAYS_TO_PAY),
        "currency": invoice.currency,
        "net_minor": invoice.net,
        "tax_minor": invoice.tax,
        "gross_minor": invoice.gross,
        "journal_entry_id": entry.id if entry else None,
    }


def _line_rows(invoice: NewInvoice) -> list[dict[str, object]]:
    return [
        {"invoice_id": invoice.id, "position": position, **vars(line)}
        for position, line in enumerate(invoice.lines, 1)
    ]


def _events(
    invoice: NewInvoice, number: str, entry: JournalEntry | None
) -> list[InvoicePosted | InvoicePaid]:
    posted = InvoicePosted(
        invoice_id=str(invoice.id),
        number=number,
        order_id=str(invoice.order_id),
        customer_id=str(invoice.customer_id),
        gross=Money(invoice.currency, invoice.gross).to_wire(),
        journal_entry_id=str(entry.id) if entry else "",
    )
    if invoice.gross:
        return [posted]
    return [posted, InvoicePaid(invoice_id=posted.invoice_id, order_id=posted.order_id)]
