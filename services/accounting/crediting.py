"""Taking invoices back, whole or in part: somebody asks for it, or their orders were called off."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Self
from uuid import UUID

from sqlalchemy import text

from accounting import allocations
from accounting.allocations import Allocation
from accounting.books import Books, open_books
from accounting.credit_notes import CreditNote, CreditNoteLine, get_credit_note
from accounting.entries import JournalEntry, Source, lines_between, post_entries, today
from accounting.errors import (
    CreditsMoreThanInvoiced,
    InvoiceAlreadyCredited,
    OrderWithoutInvoice,
)
from accounting.invoices import OpenInvoice, find_of_orders, find_open
from accounting.tables import credit_note_lines, credit_notes
from common import caller, ids, numbers, outbox
from common.bulk import insert_rows
from common.database import Transaction
from common.errors import NotFound
from common.listening import Heard
from common.money import Money, format_quantity, share_of
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1.events_pb2 import InvoiceCredited, InvoicePaid, InvoicePartlyCredited
from erp.sales.v1.events_pb2 import OrderCancelled

SERIES = "CN"


@dataclass(frozen=True)
class CreditInvoice:
    """An invoice to take back: all that is left of it when there are no lines."""

    invoice_id: UUID
    reason: str
    # Units by order line.
    wanted: Mapping[UUID, Decimal]
    request_id: str

    @classmethod
    def from_wire(cls, request: service_pb.CreditInvoiceRequest) -> Self:
        """Read the request."""
        wanted: dict[UUID, Decimal] = {}
        for place, line in enumerate(request.lines):
            line_id = ids.parse(line.order_line_id, f"lines/{place}/order_line_id")
            wanted[line_id] = wanted.get(line_id, Decimal(0)) + Decimal(line.quantity)
        invoice_id = ids.parse(request.id, "id")
        return cls(invoice_id, request.reason, wanted, caller.current().request_id)


@dataclass(frozen=True)
class Crediting:
    """A credit note that is being written; amounts in minor units."""

    id: UUID
    invoice: OpenInvoice
    lines: tuple[CreditNoteLine, ...]
    reason: str
    day: date
    request_id: str

    @property
    def net(self) -> int:
        """Sum of the lines without tax."""
        return sum(line.net_minor for line in self.lines)

    @property
    def tax(self) -> int:
        """Sum of the lines' taxes."""
        return sum(line.tax_minor for line in self.lines)

    @property
    def gross(self) -> int:
        """The lines with their taxes."""
        return self.net + self.tax

    @property
    def is_last(self) -> bool:
        """Whether nothing of the invoice is left afterwards."""
        return self.gross == self.invoice.gross - self.invoice.credited

    def entry(self, books: Books) -> JournalEntry | None:
        """What takes it out of the books; nothing when nothing was put in."""
        amounts = {"revenue": self.net, "sales_tax": self.tax, "receivable": -self.gross}
        lines = lines_between(books, amounts)
        if not lines:
            return None
        whole = self.gross == self.invoice.gross
        return JournalEntry(
            id=ids.new(),
            date=self.day,
            description=f"Credit of {self.invoice.number}",
            currency=self.invoice.currency,
            lines=lines,
            source=Source("credit_note", self.id),
            reverses_id=self.invoice.journal_entry_id if whole else None,
        )


async def credit_invoice(tx: Transaction, command: CreditInvoice) -> CreditNote:
    """Take an invoice back; what was paid beyond what is left of it is free again.

    Raises:
        NotFound: there is no such invoice, or it has no such line.
        InvoiceAlreadyCredited: nothing is left of it.
        CreditsMoreThanInvoiced: less is left of a line.
    """
    books = await open_books(tx)
    invoice = (await find_open(tx, [command.invoice_id])).get(command.invoice_id)
    if invoice is None:
        raise NotFound("invoice", command.invoice_id)
    if invoice.state == "credited":
        raise InvoiceAlreadyCredited(invoice.id, invoice.number)
    left = (await _left_of(tx, [invoice.id])).get(invoice.id, {})
    lines = tuple(_parts(left, command.wanted) if command.wanted else left.values())
    new = Crediting(ids.new(), invoice, lines, command.reason, today(), command.request_id)
    await _credit(tx, books, [new])
    return await get_credit_note(tx, new.id)


async def credit_orders(tx: Transaction, cancelled: Sequence[Heard[OrderCancelled]]) -> None:
    """Credit what is left of the invoices of orders that were called off.

    Of an invoice that was credited before, it is told again: whoever cancelled waits for it.

    Raises:
        OrderWithoutInvoice: nothing was credited.
    """
    books = await open_books(tx)
    orders = [ids.parse(heard.message.order_id, "order_id") for heard in cancelled]
    invoices = await find_of_orders(tx, orders)
    left = await _left_of(tx, [invoice.id for invoice in invoices.values()])
    new: list[Crediting] = []
    before: list[tuple[OpenInvoice, str]] = []
    for order_id, heard in zip(orders, cancelled, strict=True):
        invoice = invoices.get(order_id)
        if invoice is None:
            raise OrderWithoutInvoice(order_id)
        if invoice.state == "credited":
            before.append((invoice, heard.request_id))
            continue
        invoice.state = "credited"
        lines = tuple(left.get(invoice.id, {}).values())
        reason, day = heard.message.reason, heard.time.date()
        new.append(Crediting(ids.new(), invoice, lines, reason, day, heard.request_id))
    await _credit(tx, books, new)
    await _tell_again(tx, before)


async def _credit(tx: Transaction, books: Books, new: Sequence[Crediting]) -> None:
    """Write credit notes, in the same statements however many."""
    if not new:
        return
    invoice_ids = [item.invoice.id for item in new]
    paid = await allocations.standing_of_invoices(tx, invoice_ids)
    await allocations.move(tx, [part for item in new for part in _taken_back(item, paid)])
    taken = await numbers.take(tx, SERIES, len(new), today().year)
    entries = [item.entry(books) for item in new]
    await post_entries(tx, books, [entry for entry in entries if entry])
    numbered = list(zip(new, taken, entries, strict=True))
    await insert_rows(tx, credit_notes, [_row(*item) for item in numbered])
    await insert_rows(tx, credit_note_lines, [row for item in new for row in _line_rows(item)])
    await tx.execute(_CREDIT, {"ids": invoice_ids, "minors": [item.gross for item in new]})

    for item, number, _ in numbered:
        outbox.publish(tx, *_events(item, number), request_id=item.request_id)


_LEFT = text("""
    SELECT line.invoice_id, line.order_line_id, line.sku,
           line.quantity - coalesce(credited.quantity, 0) AS quantity,
           CAST(line.net_minor - coalesce(credited.net, 0) AS bigint) AS net_minor,
           CAST(line.tax_minor - coalesce(credited.tax, 0) AS bigint) AS tax_minor
    FROM invoice_lines AS line LEFT JOIN (
        SELECT note.invoice_id, part.order_line_id, sum(part.quantity) AS quantity,
               sum(part.net_minor) AS net, sum(part.tax_minor) AS tax
        FROM credit_notes AS note JOIN credit_note_lines AS part
            ON part.tenant_id = note.tenant_id AND part.credit_note_id = note.id
        WHERE note.invoice_id = ANY(CAST(:ids AS uuid[]))
        GROUP BY note.invoice_id, part.order_line_id
    ) AS credited ON credited.invoice_id = line.invoice_id
        AND credited.order_line_id = line.order_line_id
    WHERE line.invoice_id = ANY(CAST(:ids AS uuid[]))
        AND line.quantity > coalesce(credited.quantity, 0)
    ORDER BY line.invoice_id, line.position
""")
_CREDIT = text("""
    UPDATE invoices AS invoice SET
        credited_minor = invoice.credited_minor + new.minor,
        state = CASE WHEN invoice.gross_minor = invoice.credited_minor + new.minor THEN 'credited'
                     WHEN invoice.gross_minor
                          = invoice.paid_minor + invoice.credited_minor + new.minor THEN 'paid'
                     ELSE 'posted' END,
        version = invoice.version + 1,
        updated_at = now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:minors AS bigint[])) AS new (id, minor)
    WHERE invoice.id = new.id
""")
_NEWEST = text("""
    SELECT DISTINCT ON (invoice_id) invoice_id, id, number FROM credit_notes
    WHERE invoice_id = ANY(CAST(:ids AS uuid[])) ORDER BY invoice_id, id DESC
""")


async def _left_of(
    tx: Transaction, invoice_ids: Sequence[UUID]
) -> dict[UUID, dict[UUID, CreditNoteLine]]:
    """What is left of invoices: for each, the lines by order line."""
    left: dict[UUID, dict[UUID, CreditNoteLine]] = {}
    for row in await tx.rows(_LEFT, {"ids": list(invoice_ids)}) if invoice_ids else ():
        values = (getattr(row, name) for name in CreditNoteLine.__dataclass_fields__)
        left.setdefault(row.invoice_id, {})[row.order_line_id] = CreditNoteLine(*values)
    return left


def _parts(
    left: Mapping[UUID, CreditNoteLine], wanted: Mapping[UUID, Decimal]
) -> Iterator[CreditNoteLine]:
    """So many units of some lines; the last units of a line take what is left of its amounts."""
    for line_id, quantity in wanted.items():
        line = left.get(line_id)
        if line is None:
            raise NotFound("line that is left on the invoice", line_id)
        if quantity > line.quantity:
            requested, rest = format_quantity(quantity), format_quantity(line.quantity)
            raise CreditsMoreThanInvoiced(line_id, line.sku, requested, rest)
        net = share_of(line.net_minor, quantity, line.quantity)
        tax = share_of(line.tax_minor, quantity, line.quantity)
        yield CreditNoteLine(line_id, line.sku, quantity, net, tax)


def _taken_back(item: Crediting, paid: Sequence[Allocation]) -> Iterator[Allocation]:
    """What payments paid beyond what is left of the invoice: the newest first."""
    excess = item.gross - item.invoice.due
    for allocation in reversed(paid):
        if allocation.invoice_id == item.invoice.id and excess > 0:
            part = min(excess, allocation.minor)
            excess -= part
            yield Allocation(allocation.payment_id, allocation.invoice_id, -part)


def _row(item: Crediting, number: str, entry: JournalEntry | None) -> dict[str, object]:
    invoice = item.invoice
    return {
        "id": item.id,
        "number": number,
        "invoice_id": invoice.id,
        "order_id": invoice.order_id,
        "customer_id": invoice.customer_id,
        "currency": invoice.currency,
        "net_minor": item.net,
        "tax_minor": item.tax,
        "gross_minor": item.gross,
        "reason": item.reason,
        "journal_entry_id": entry.id if entry else None,
    }


def _line_rows(item: Crediting) -> list[dict[str, object]]:
    return [
        {"credit_note_id": item.id, "position": position, **vars(line)}
        for position, line in enumerate(item.lines, 1)
    ]


def _events(
    item: Crediting, number: str
) -> list[InvoiceCredited | InvoicePartlyCredited | InvoicePaid]:
    invoice = item.invoice
    if item.is_last:
        return [_credited(invoice, item.id, number)]
    partly = InvoicePartlyCredited(
        invoice_id=str(invoice.id),
        order_id=str(invoice.order_id),
        credit_note_id=str(item.id),
        number=number,
        gross=Money(invoice.currency, item.gross).to_wire(),
    )
    if invoice.state == "posted" and item.gross >= invoice.due:
        return [partly, InvoicePaid(invoice_id=str(invoice.id), order_id=str(invoice.order_id))]
    return [partly]


async def _tell_again(tx: Transaction, credited: Sequence[tuple[OpenInvoice, str]]) -> None:
    if not credited:
        return
    rows = await tx.rows(_NEWEST, {"ids": [invoice.id for invoice, _ in credited]})
    newest = {row.invoice_id: row for row in rows}
    for invoice, request_id in credited:
        note = newest[invoice.id]
        outbox.publish(tx, _credited(invoice, note.id, note.number), request_id=request_id)


def _credited(invoice: OpenInvoice, credit_note_id: UUID, number: str) -> InvoiceCredited:
    return InvoiceCredited(
        invoice_id=str(invoice.id),
        order_id=str(invoice.order_id),
        credit_note_id=str(credit_note_id),
        number=number,
    )
