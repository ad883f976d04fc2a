"""Which payment pays how much of which invoice, as a history that only grows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from accounting.errors import InvoiceNotOpen, InvoiceOfAnotherCustomer, PaymentExceedsInvoice
from accounting.invoices import OpenInvoice
from common import ids
from common.database import Transaction
from common.errors import NotFound
from common.money import format_minor


@dataclass(frozen=True)
class Allocation:
    """What a payment pays of an invoice, in minor units; negative to take it back."""

    payment_id: UUID
    invoice_id: UUID
    minor: int

    def taken_back(self) -> "Allocation":
        """The row that undoes this one."""
        return Allocation(self.payment_id, self.invoice_id, -self.minor)


def pay(
    invoices: Mapping[UUID, OpenInvoice], customer_id: UUID, wanted: Mapping[UUID, int]
) -> list[OpenInvoice]:
    """Let a customer pay amounts of invoices, all or none; their dues fall.

    Returns:
        The invoices on which nothing is due any more.

    Raises:
        NotFound, InvoiceOfAnotherCustomer, InvoiceNotOpen, PaymentExceedsInvoice: nothing was paid.
    """
    for invoice_id, minor in wanted.items():
        _demand_payable(invoices.get(invoice_id), invoice_id, customer_id, minor)
    settled = []
    for invoice_id, minor in wanted.items():
        invoice = invoices[invoice_id]
        invoice.due -= minor
        if not invoice.due:
            invoice.state = "paid"
            settled.append(invoice)
    return settled


def _demand_payable(
    invoice: OpenInvoice | None, invoice_id: UUID, customer_id: UUID, minor: int
) -> None:
    if invoice is None:
        raise NotFound("invoice", invoice_id)
    if invoice.customer_id != customer_id:
        raise InvoiceOfAnotherCustomer(invoice_id, invoice.number)
    if invoice.state != "posted":
        raise InvoiceNotOpen(invoice_id, invoice.number, invoice.state)
    if minor > invoice.due:
        raise PaymentExceedsInvoice(
            invoice_id=invoice_id,
            number=invoice.number,
            amount_due=format_minor(invoice.due, invoice.currency),
            amount=format_minor(minor, invoice.currency),
            currency=invoice.currency,
        )


_STANDING = """
    SELECT payment_id, invoice_id, CAST(sum(amount_minor) AS bigint) AS minor
    FROM allocations WHERE {column} = ANY(CAST(:ids AS uuid[]))
    GROUP BY payment_id, invoice_id HAVING sum(amount_minor) > 0 ORDER BY min(CAST(id AS text))
"""
_OF_PAYMENTS = text(_STANDING.format(column="payment_id"))
_OF_INVOICES = text(_STANDING.format(column="invoice_id"))


async def standing_of_payments(
    tx: Transaction, payment_ids: Sequence[UUID]
) -> dict[UUID, list[Allocation]]:
    """What still stands of the payments' allocations, oldest first, by payment."""
    found: dict[UUID, list[Allocation]] = {payment_id: [] for payment_id in payment_ids}
    for row in await tx.rows(_OF_PAYMENTS, {"ids": list(payment_ids)}) if payment_ids else ():
        found[row.payment_id].append(Allocation(row.payment_id, row.invoice_id, row.minor))
    return found


async def standing_of_invoices(tx: Transaction, invoice_ids: Sequence[UUID]) -> list[Allocation]:
    """What still stands of the allocations to the invoices, oldest first."""
    rows = await tx.rows(_OF_INVOICES, {"ids": list(invoice_ids)})
    return [Allocation(row.payment_id, row.invoice_id, row.minor) for row in rows]


_WRITE = text("""
    WITH change AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:payment_ids AS uuid[]),
            CAST(:invoice_ids AS uuid[]), CAST(:minors AS bigint[])
        ) AS item (id, payment_id, invoice_id, minor)
    ), history AS (
        INSERT INTO allocations (id, payment_id, invoice_id, amount_minor)
        SELECT id, payment_id, invoice_id, minor FROM change
    )
    UPDATE invoices AS invoice SET
        paid_minor = invoice.paid_minor + changed.minor,
        state = CASE WHEN invoice.amount_due_minor = changed.minor
                     THEN 'paid' ELSE 'posted' END,
        version = invoice.version + 1,
        updated_at = now()
    FROM (
        SELECT invoice_id, CAST(sum(minor) AS bigint) AS minor FROM change GROUP BY invoice_id
    ) AS changed
    WHERE invoice.id = changed.invoice_id
""")


async def write(tx: Transaction, changes: Sequence[Allocation]) -> None:
    """Record allocations, or their taking back, and what they make of their invoices."""
    if not changes:
        return
    columns = {
        "ids": [ids.new() for _ in changes],
        "payment_ids": [change.payment_id for change in changes],
        "invoice_ids": [change.invoice_id for change in changes],
        "minors": [change.minor for change in changes],
    }
    await tx.execute(_WRITE, columns)


_MOVE = text("""
    UPDATE payments AS payment SET
        unallocated_minor = payment.unallocated_minor - changed.minor,
        version = payment.version + 1,
        updated_at = now()
    FROM (
        SELECT payment_id, CAST(sum(minor) AS bigint) AS minor
        FROM unnest(CAST(:payment_ids AS uuid[]), CAST(:minors AS bigint[]))
            AS item (payment_id, minor)
        GROUP BY payment_id
    ) AS changed
    WHERE payment.id = changed.payment_id
""")


async def move(tx: Transaction, changes: Sequence[Allocation]) -> None:
    """Like `write`, for payments that exist already: what they have left changes too."""
    if not changes:
        return
    await write(tx, changes)
    columns = {
        "payment_ids": [change.payment_id for change in changes],
        "minors": [change.minor for change in changes],
    }
    await tx.execute(_MOVE, columns)
