"""Invoices: what customers owe for their orders."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, Select, select, text

from accounting.tables import credit_notes, invoice_lines, invoices
from common import ids
from common.database import Transaction
from common.errors import NotFound
from common.listing import Listing
from common.money import Money, format_quantity
from common.pagination import Page
from common.wire import enum_value, enum_word, timestamp
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb

_LIST = Listing(service_pb.ListInvoicesRequest, invoices.c, "id")


@dataclass(frozen=True)
class InvoiceLine:
    """One line of an invoice; amounts in minor units."""

    order_line_id: UUID
    sku: str
    quantity: Decimal
    net_minor: int
    tax_rate: Decimal
    tax_minor: int

    def to_wire(self, currency: str) -> pb.InvoiceLine:
        """The line as it travels."""
        return pb.InvoiceLine(
            order_line_id=str(self.order_line_id),
            sku=self.sku,
            quantity=format_quantity(self.quantity),
            net=Money(currency, self.net_minor).to_wire(),
            tax_rate=format_quantity(self.tax_rate),
            tax=Money(currency, self.tax_minor).to_wire(),
        )


@dataclass(frozen=True)
class Invoice:
    """What a customer owes for an order; amounts in minor units."""

    id: UUID
    number: str
    order_id: UUID
    customer_id: UUID
    state: str
    date: dt.date
    due_date: dt.date
    currency: str
    net_minor: int
    tax_minor: int
    gross_minor: int
    credited_minor: int
    amount_due_minor: int
    # None when there was nothing to post.
    journal_entry_id: UUID | None
    credit_note_id: UUID | None
    version: int
    created_at: dt.datetime
    lines: tuple[InvoiceLine, ...]

    @classmethod
    def of(cls, row: Row[Any], lines: Sequence[Row[Any]]) -> Self:
        """Read an invoice's row and those of its lines."""
        values = {name: getattr(row, name) for name in cls.__dataclass_fields__ if name != "lines"}
        names = InvoiceLine.__dataclass_fields__
        items = (InvoiceLine(*(getattr(line, name) for name in names)) for line in lines)
        return cls(**values, lines=tuple(items))

    def to_wire(self) -> pb.Invoice:
        """The invoice as it travels."""
        return pb.Invoice(
            id=str(self.id),
            number=self.number,
            order_id=str(self.order_id),
            customer_id=str(self.customer_id),
            state=enum_value(pb.InvoiceState, self.state),
            date=self.date.isoformat(),
            due_date=self.due_date.isoformat(),
            lines=[line.to_wire(self.currency) for line in self.lines],
            net=Money(self.currency, self.net_minor).to_wire(),
            tax=Money(self.currency, self.tax_minor).to_wire(),
            gross=Money(self.currency, self.gross_minor).to_wire(),
            amount_due=Money(self.currency, self.amount_due_minor).to_wire(),
            journal_entry_id=str(self.journal_entry_id or ""),
            credit_note_id=str(self.credit_note_id or ""),
            version=self.version,
            create_time=timestamp(self.created_at),
            credited=Money(self.currency, self.credited_minor).to_wire(),
        )


@dataclass(frozen=True)
class InvoiceFilter:
    """Which invoices are asked for."""

    order_id: UUID | None = None
    customer_id: UUID | None = None
    # Empty for any.
    state: str = ""

    @classmethod
    def from_wire(cls, request: service_pb.ListInvoicesRequest) -> Self:
        """Read the request."""
        return cls(
            ids.parse_optional(request.order_id, "order_id"),
            ids.parse_optional(request.customer_id, "customer_id"),
            enum_word(pb.InvoiceState, request.state),
        )


async def get_invoice(tx: Transaction, invoice_id: UUID) -> Invoice:
    """Read one invoice.

    Raises:
        NotFound: it does not exist.
    """
    found = await _with_lines(tx, await tx.rows(_selected().where(invoices.c.id == invoice_id)))
    if not found:
        raise NotFound("invoice", invoice_id)
    return found[0]


async def list_invoices(
    tx: Transaction, page: Page, wanted: InvoiceFilter
) -> tuple[list[Invoice], str]:
    """A page of invoices, oldest first, and the token of the next page."""
    query = _selected()
    if wanted.order_id is not None:
        query = query.where(invoices.c.order_id == wanted.order_id)
    if wanted.customer_id is not None:
        query = query.where(invoices.c.customer_id == wanted.customer_id)
    if wanted.state:
        query = query.where(invoices.c.state == wanted.state)
    rows, token = await _LIST.read(tx, query, page)
    return await _with_lines(tx, rows), token


def _selected() -> Select[Any]:
    of_invoice = (credit_notes.c.tenant_id == invoices.c.tenant_id) & (
        credit_notes.c.invoice_id == invoices.c.id
    )
    newest = select(credit_notes.c.id).where(of_invoice).order_by(credit_notes.c.id.desc()).limit(1)
    return select(invoices, newest.scalar_subquery().label("credit_note_id"))


async def _with_lines(tx: Transaction, rows: Sequence[Row[Any]]) -> list[Invoice]:
    lines: dict[UUID, list[Row[Any]]] = {row.id: [] for row in rows}
    if rows:
        query = select(invoice_lines).where(invoice_lines.c.invoice_id.in_(list(lines)))
        for line in await tx.rows(query.order_by(invoice_lines.c.invoice_id, "position")):
            lines[line.invoice_id].append(line)
    return [Invoice.of(row, lines[row.id]) for row in rows]


@dataclass
class OpenInvoice:
    """An invoice that is being paid or credited; amounts in minor units, `due` falls on the way."""

    id: UUID
    number: str
    order_id: UUID
    customer_id: UUID
    state: str
    currency: str
    net: int
    tax: int
    gross: int
    credited: int
    due: int
    journal_entry_id: UUID | None

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Read a row of `_FIND`."""
        return cls(*(getattr(row, name) for name in cls.__dataclass_fields__))


_FIND = """
    SELECT id, number, order_id, customer_id, state, currency, net_minor AS net, tax_minor AS tax,
           gross_minor AS gross, credited_minor AS credited, amount_due_minor AS due,
           journal_entry_id
    FROM invoices WHERE {column} = ANY(CAST(:ids AS uuid[]))
"""
_BY_ID = text(_FIND.format(column="id"))
_BY_ORDER = text(_FIND.format(column="order_id"))


async def find_open(tx: Transaction, invoice_ids: Sequence[UUID]) -> dict[UUID, OpenInvoice]:
    """Invoices by their ids, to be paid by whoever holds the books."""
    rows = await tx.rows(_BY_ID, {"ids": list(invoice_ids)}) if invoice_ids else ()
    return {row.id: OpenInvoice.of(row) for row in rows}


async def find_of_orders(tx: Transaction, order_ids: Sequence[UUID]) -> dict[UUID, OpenInvoice]:
    """Invoices by their orders' ids, to be credited by whoever holds the books."""
    rows = await tx.rows(_BY_ORDER, {"ids": list(order_ids)})
    return {row.order_id: OpenInvoice.of(row) for row in rows}
