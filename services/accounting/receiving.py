"""What may be done with payments: receive, allocate, void."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, update

from accounting import allocations, invoices
from accounting.allocations import Allocation
from accounting.books import Books, open_books
from accounting.entries import (
    JournalEntry,
    Source,
    lines_between,
    post_entries,
    reversal_of,
    today,
)
from accounting.errors import AllocationsExceedPayment, PaymentIsVoided
from accounting.invoices import OpenInvoice
from accounting.journal import get_entry
from accounting.payments import (
    AllocatePayment,
    CreatePayment,
    Payment,
    VoidPayment,
    get_payment,
    summed,
)
from accounting.tables import payments
from common import ids, numbers, outbox
from common.bulk import insert_rows
from common.database import Transaction
from common.errors import DomainError, NotFound
from common.money import Money, format_minor
from erp.accounting.v1.events_pb2 import InvoicePaid, PaymentReceived, PaymentVoided

SERIES = "PAY"
# The account that the money is on, by the way it came.
ROLES = {"bank_transfer": "bank", "card": "bank", "cash": "cash"}

# Those of the customers that exist.
ResolveCustomers = Callable[[Collection[UUID]], Awaitable[Collection[UUID]]]


@dataclass(frozen=True)
class _Receipt:
    """A payment that is being received."""

    payment: Payment
    entry: JournalEntry
    settled: Sequence[OpenInvoice]
    request_id: str


async def of_known_customers(
    commands: Sequence[CreatePayment], resolve: ResolveCustomers
) -> list[CreatePayment | DomainError]:
    """The commands, those of unknown customers as errors; called outside of transactions."""
    known = await resolve({command.customer_id for command in commands})
    return [
        command if command.customer_id in known else NotFound("customer", command.customer_id)
        for command in commands
    ]


async def receive(
    tx: Transaction, commands: Sequence[CreatePayment]
) -> list[Payment | DomainError]:
    """Receive payments in the order in which they came; each succeeds or fails by itself."""
    books = await open_books(tx)
    named = {item.invoice_id for command in commands for item in command.allocations}
    owed = await invoices.find_open(tx, sorted(named))

    decided = [_decide(command, books, owed) for command in commands]

    received = await _write(tx, books, [item for item in decided if isinstance(item, _Receipt)])
    in_order = iter(received)
    return [next(in_order) if isinstance(item, _Receipt) else item for item in decided]


def _decide(
    command: CreatePayment, books: Books, owed: Mapping[UUID, OpenInvoice]
) -> _Receipt | DomainError:
    try:
        amount = books.minor(command.amount)
        wanted = summed(command.allocations, books)
        left = left_after(amount, wanted, books.currency)
        settled = allocations.pay(owed, command.customer_id, wanted)
    except DomainError as error:
        return error
    payment_id = ids.new()
    entry = _entry(payment_id, command, books)
    payment = Payment(
        id=payment_id,
        number="",
        customer_id=command.customer_id,
        currency=books.currency,
        amount_minor=amount,
        unallocated_minor=left,
        method=command.method,
        state="posted",
        reference=command.reference,
        journal_entry_id=entry.id,
        version=1,
        created_at=datetime.now(UTC),
        allocations=tuple(Allocation(payment_id, *item) for item in wanted.items()),
    )
    return _Receipt(payment, entry, settled, command.request_id)


def left_after(available: int, wanted: Mapping[UUID, int], currency: str) -> int:
    """What a payment has left after allocations, in minor units.

    Raises:
        AllocationsExceedPayment: they are more than it has.
    """
    allocated = sum(wanted.values())
    if allocated > available:
        left, wanted_in_all = format_minor(available, currency), format_minor(allocated, currency)
        raise AllocationsExceedPayment(left, wanted_in_all, currency)
    return available - allocated


def _entry(payment_id: UUID, command: CreatePayment, books: Books) -> JournalEntry:
    minor = command.amount.minor
    lines = lines_between(books, {ROLES[command.method]: minor, "receivable": -minor})
    source = Source("payment", payment_id)
    description = command.reference or "Payment received"
    return JournalEntry(ids.new(), today(), description, books.currency, lines, source)


async def _write(tx: Transaction, books: Books, receipts: Sequence[_Receipt]) -> list[Payment]:
    taken = await numbers.take(tx, SERIES, len(receipts), today().year)
    await post_entries(tx, books, [receipt.entry for receipt in receipts])
    received = [
        replace(receipt.payment, number=number)
        for receipt, number in zip(receipts, taken, strict=True)
    ]
    await insert_rows(tx, payments, [_row(payment) for payment in received])
    await allocations.write(tx, [item for payment in received for item in payment.allocations])
    for receipt, payment in zip(receipts, received, strict=True):
        events = [_received(payment), *map(_paid, receipt.settled)]
        outbox.publish(tx, *events, request_id=receipt.request_id)
    return received


async def allocate(tx: Transaction, command: AllocatePayment) -> Payment:
    """Pay invoices from what a payment has left.

    Raises:
        NotFound: there is no such payment, or no such invoice.
        PaymentIsVoided, AllocationsExceedPayment, InvoiceOfAnotherCustomer, InvoiceNotOpen,
        PaymentExceedsInvoice, CurrencyNotKept: nothing was allocated.
    """
    books = await open_books(tx)
    payment = await _standing(tx, command.payment_id)
    wanted = summed(command.allocations, books)
    left_after(payment.unallocated_minor, wanted, books.currency)
    owed = await invoices.find_open(tx, sorted(wanted))
    settled = allocations.pay(owed, payment.customer_id, wanted)

    await allocations.move(tx, [Allocation(payment.id, *item) for item in wanted.items()])
    outbox.publish(tx, *map(_paid, settled))
    return await get_payment(tx, payment.id)


async def void(tx: Transaction, command: VoidPayment) -> Payment:
    """Take a payment back: what it paid is due again, and its entry is reversed.

    Raises:
        NotFound: there is no such payment.
        PaymentIsVoided: it has been taken back already.
    """
    books = await open_books(tx)
    payment = await _standing(tx, command.payment_id)
    entry = await get_entry(tx, payment.journal_entry_id)
    description = command.reason or f"Void of {payment.number}"
    source = Source("payment_void", payment.id)

    await allocations.move(tx, [item.taken_back() for item in payment.allocations])
    await post_entries(tx, books, [reversal_of(entry, source, today(), description)])
    change = update(payments).where(payments.c.id == payment.id)
    values = {"state": "voided", "void_reason": command.reason, "updated_at": func.now()}
    await tx.execute(change.values(**values, version=payments.c.version + 1))
    outbox.publish(tx, PaymentVoided(payment_id=str(payment.id)))
    return await get_payment(tx, payment.id)


async def _standing(tx: Transaction, payment_id: UUID) -> Payment:
    payment = await get_payment(tx, payment_id)
    if payment.state == "voided":
        raise PaymentIsVoided(payment.id, payment.number)
    return payment


def _row(payment: Payment) -> dict[str, object]:
    names = [name for name in Payment.__dataclass_fields__ if name != "allocations"]
    return {name: getattr(payment, name) for name in names}


def _received(payment: Payment) -> PaymentReceived:
    return PaymentReceived(
        payment_id=str(payment.id),
        number=payment.number,
        customer_id=str(payment.customer_id),
        amount=Money(payment.currency, payment.amount_minor).to_wire(),
    )


def _paid(invoice: OpenInvoice) -> InvoicePaid:
    return InvoicePaid(invoice_id=str(invoice.id), order_id=str(invoice.order_id))
