"""Credit notes: invoices taken back because their orders were called off."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, select, text

from accounting import allocations
from accounting.books import Books, open_books
from accounting.entries import JournalEntry, Source, lines_between, post_entries, today
from accounting.errors import InvoiceAlreadyCredited, OrderWithoutInvoice
from accounting.invoices import OpenInvoice, find_of_orders
from accounting.tables import credit_notes
from common import ids, numbers, outbox
from common.bulk import insert_rows
from common.database import Transaction
from common.errors import NotFound
from common.money import Money
from common.pagination import Page
from common.subscriptions import Heard
from common.wire import timestamp
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1.events_pb2 import InvoiceCredited
from erp.sales.v1.events_pb2 import OrderCancelled

SERIES = "CN"


@dataclass(frozen=True)
class CreditNote:
    """An invoice taken back; amounts in minor units."""

    id: UUID
    number: str
    invoice_id: UUID
    order_id: UUID
    customer_id: UUID
    currency: str
    net_minor: int
    tax_minor: int
    gross_minor: int
    reason: str
    # None when there was nothing to post.
    journal_entry_id: UUID | None
    created_at: datetime

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Read a row of the table."""
        return cls(*(getattr(row, name) for name in cls.__dataclass_fields__))

    def to_wire(self) -> pb.CreditNote:
        """The credit note as it travels."""
        return pb.CreditNote(
            id=str(self.id),
            number=self.number,
            invoice_id=str(self.invoice_id),
            order_id=str(self.order_id),
            customer_id=str(self.customer_id),
            net=Money(self.currency, self.net_minor).to_wire(),
            tax=Money(self.currency, self.tax_minor).to_wire(),
            gross=Money(self.currency, self.gross_minor).to_wire(),
            reason=self.reason,
            journal_entry_id=str(self.journal_entry_id or ""),
            create_time=timestamp(self.created_at),
        )


@dataclass(frozen=True)
class CreditNoteFilter:
    """Which credit notes are asked for."""

    order_id: UUID | None = None
    invoice_id: UUID | None = None

    @classmethod
    def from_wire(cls, request: service_pb.ListCreditNotesRequest) -> Self:
        """Read the request."""
        return cls(
            ids.parse_optional(request.order_id, "order_id"),
            ids.parse_optional(request.invoice_id, "invoice_id"),
        )


async def get_credit_note(tx: Transaction, credit_note_id: UUID) -> CreditNote:
    """Read one credit note.

    Raises:
        NotFound: it does not exist.
    """
    row = await tx.row(select(credit_notes).where(credit_notes.c.id == credit_note_id))
    if row is None:
        raise NotFound("credit note", credit_note_id)
    return CreditNote.of(row)


async def list_credit_notes(
    tx: Transaction, page: Page, wanted: CreditNoteFilter
) -> tuple[list[CreditNote], str]:
    """A page of credit notes, oldest first, and the token of the next page."""
    query = select(credit_notes)
    if wanted.order_id is not None:
        query = query.where(credit_notes.c.order_id == wanted.order_id)
    if wanted.invoice_id is not None:
        query = query.where(credit_notes.c.invoice_id == wanted.invoice_id)
    rows, token = page.cut(await tx.rows(page.of(query, credit_notes.c.id)), "id")
    return [CreditNote.of(row) for row in rows], token


@dataclass(frozen=True)
class _Crediting:
    """An invoice that is being credited."""

    id: UUID
    invoice: OpenInvoice
    reason: str
    request_id: str

    def entry(self, books: Books, day: date) -> JournalEntry | None:
        """What takes it out of the books; nothing when nothing was put in."""
        invoice = self.invoice
        amounts = {"revenue": invoice.net, "sales_tax": invoice.tax, "receivable": -invoice.gross}
        lines = lines_between(books, amounts)
        if not lines:
            return None
        return JournalEntry(
            id=ids.new(),
            date=day,
            description=f"Credit of {invoice.number}",
            currency=invoice.currency,
            lines=lines,
            source=Source("credit_note", self.id),
            reverses_id=invoice.journal_entry_id,
        )


_CREDIT = text("""
    UPDATE invoices SET state = 'credited', credited_minor = gross_minor,
                        version = version + 1, updated_at = now()
    WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def credit_orders(tx: Transaction, cancelled: Sequence[Heard[OrderCancelled]]) -> None:
    """Credit the invoices of orders that were called off; what was paid on them is free again.

    Raises:
        OrderWithoutInvoice, InvoiceAlreadyCredited: nothing was credited.
    """
    books = await open_books(tx)
    day = today()
    crediting = await _decide(tx, cancelled)

    invoice_ids = [item.invoice.id for item in crediting]
    paid = await allocations.standing_of_invoices(tx, invoice_ids)
    await allocations.move(tx, [allocation.taken_back() for allocation in paid])
    taken = await numbers.take(tx, SERIES, len(crediting), day.year)
    entries = [item.entry(books, day) for item in crediting]
    await post_entries(tx, [entry for entry in entries if entry])
    numbered = list(zip(crediting, taken, entries, strict=True))
    await insert_rows(tx, credit_notes, [_row(*item) for item in numbered])
    await tx.execute(_CREDIT, {"ids": invoice_ids})

    for item, number, _ in numbered:
        outbox.publish(tx, _event(item, number), request_id=item.request_id)


async def _decide(tx: Transaction, cancelled: Sequence[Heard[OrderCancelled]]) -> list[_Crediting]:
    orders = [ids.parse(heard.message.order_id, "order_id") for heard in cancelled]
    invoices = await find_of_orders(tx, orders)
    crediting = []
    for order_id, heard in zip(orders, cancelled, strict=True):
        invoice = invoices.get(order_id)
        if invoice is None:
            raise OrderWithoutInvoice(order_id)
        if invoice.state == "credited":
            raise InvoiceAlreadyCredited(invoice.id, invoice.number)
        invoice.state = "credited"
        crediting.append(_Crediting(ids.new(), invoice, heard.message.reason, heard.request_id))
    return crediting


def _row(item: _Crediting, number: str, entry: JournalEntry | None) -> dict[str, object]:
    invoice = item.invoice
    return {
        "id": item.id,
        "number": number,
        "invoice_id": invoice.id,
        "order_id": invoice.order_id,
        "customer_id": invoice.customer_id,
        "currency": invoice.currency,
        "net_minor": invoice.net,
        "tax_minor": invoice.tax,
        "gross_minor": invoice.gross,
        "reason": item.reason,
        "journal_entry_id": entry.id if entry else None,
    }


def _event(item: _Crediting, number: str) -> InvoiceCredited:
    return InvoiceCredited(
        invoice_id=str(item.invoice.id),
        order_id=str(item.invoice.order_id),
        credit_note_id=str(item.id),
        number=number,
    )
