"""Credit notes: invoices taken back, whole or in part."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, select

from accounting.tables import credit_note_lines, credit_notes
from common import ids
from common.database import Transaction
from common.errors import NotFound
from common.listing import Listing
from common.money import Money, format_quantity
from common.pagination import Page
from common.wire import timestamp
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb

_LIST = Listing(service_pb.ListCreditNotesRequest, credit_notes.c, "id")


@dataclass(frozen=True)
class CreditNoteLine:
    """Units of an invoice's line that are taken back; amounts in minor units."""

    order_line_id: UUID
    sku: str
    quantity: Decimal
    net_minor: int
    tax_minor: int

    def to_wire(self, currency: str) -> pb.CreditNoteLine:
        """The line as it travels."""
        return pb.CreditNoteLine(
            order_line_id=str(self.order_line_id),
            sku=self.sku,
            quantity=format_quantity(self.quantity),
            net=Money(currency, self.net_minor).to_wire(),
            tax=Money(currency, self.tax_minor).to_wire(),
        )


@dataclass(frozen=True)
class CreditNote:
    """An invoice taken back, whole or in part; amounts in minor units."""

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
    lines: tuple[CreditNoteLine, ...]

    @classmethod
    def of(cls, row: Row[Any], lines: Sequence[CreditNoteLine]) -> Self:
        """Read a row of the table, and those of its lines."""
        names = [name for name in cls.__dataclass_fields__ if name != "lines"]
        return cls(**{name: getattr(row, name) for name in names}, lines=tuple(lines))

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
            lines=[line.to_wire(self.currency) for line in self.lines],
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
    rows = await tx.rows(select(credit_notes).where(credit_notes.c.id == credit_note_id))
    found = await _with_lines(tx, rows)
    if not found:
        raise NotFound("credit note", credit_note_id)
    return found[0]


async def list_credit_notes(
    tx: Transaction, page: Page, wanted: CreditNoteFilter
) -> tuple[list[CreditNote], str]:
    """A page of credit notes, oldest first, and the token of the next page."""
    query = select(credit_notes)
    if wanted.order_id is not None:
        query = query.where(credit_notes.c.order_id == wanted.order_id)
    if wanted.invoice_id is not None:
        query = query.where(credit_notes.c.invoice_id == wanted.invoice_id)
    rows, token = await _LIST.read(tx, query, page)
    return await _with_lines(tx, rows), token


async def _with_lines(tx: Transaction, rows: Sequence[Row[Any]]) -> list[CreditNote]:
    lines: dict[UUID, list[CreditNoteLine]] = {row.id: [] for row in rows}
    if rows:
        table = credit_note_lines
        query = select(table).where(table.c.credit_note_id.in_(list(lines)))
        for line in await tx.rows(query.order_by(table.c.credit_note_id, table.c.position)):
            names = CreditNoteLine.__dataclass_fields__
            found = CreditNoteLine(*(getattr(line, name) for name in names))
            lines[line.credit_note_id].append(found)
    return [CreditNote.of(row, lines[row.id]) for row in rows]
