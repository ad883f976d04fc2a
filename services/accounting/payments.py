"""Payments: money that customers paid, and reading them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, select

from accounting.allocations import Allocation, standing_of_payments
from accounting.books import Books
from accounting.tables import payments
from common import caller, ids
from common.database import Transaction
from common.errors import InvalidRequest, NotFound
from common.listing import Listing
from common.money import Money
from common.pagination import Page
from common.wire import enum_value, enum_word, timestamp
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb

_LIST = Listing(service_pb.ListPaymentsRequest, payments.c, "id")


@dataclass(frozen=True)
class NewAllocation:
    """An invoice to pay and how much of it."""

    invoice_id: UUID
    amount: Money

    @classmethod
    def from_wire(cls, message: service_pb.NewAllocation, field: str) -> Self:
        """Read an allocation."""
        invoice_id = ids.parse(message.invoice_id, f"{field}/invoice_id")
        return cls(invoice_id, positive(message.amount, f"{field}/amount"))


@dataclass(frozen=True)
class CreatePayment:
    """Record money that came in, and the invoices it pays."""

    customer_id: UUID
    amount: Money
    method: str
    reference: str = ""
    allocations: tuple[NewAllocation, ...] = ()
    request_id: str = ""

    @classmethod
    def from_wire(cls, request: service_pb.CreatePaymentRequest) -> Self:
        """Read the request of the caller at hand."""
        return cls(
            customer_id=ids.parse(request.customer_id, "customer_id"),
            amount=positive(request.amount, "amount"),
            method=enum_word(pb.PaymentMethod, request.method),
            reference=request.reference,
            allocations=new_allocations(request.allocations),
            request_id=caller.current().request_id,
        )


@dataclass(frozen=True)
class AllocatePayment:
    """Pay invoices from what a payment has left."""

    payment_id: UUID
    allocations: tuple[NewAllocation, ...]

    @classmethod
    def from_wire(cls, request: service_pb.AllocatePaymentRequest) -> Self:
        """Read the request."""
        return cls(ids.parse(request.id, "id"), new_allocations(request.allocations))


@dataclass(frozen=True)
class VoidPayment:
    """Take a payment back."""

    payment_id: UUID
    reason: str

    @classmethod
    def from_wire(cls, request: service_pb.VoidPaymentRequest) -> Self:
        """Read the request."""
        return cls(ids.parse(request.id, "id"), request.reason)


@dataclass(frozen=True)
class Payment:
    """Money that a customer paid; amounts in minor units."""

    id: UUID
    number: str
    customer_id: UUID
    currency: str
    amount_minor: int
    unallocated_minor: int
    method: str
    state: str
    reference: str
    journal_entry_id: UUID
    version: int
    created_at: datetime
    allocations: tuple[Allocation, ...]

    @classmethod
    def of(cls, row: Row[Any], standing: Sequence[Allocation]) -> Self:
        """Read a row of the table, and what stands of its allocations."""
        names = [name for name in cls.__dataclass_fields__ if name != "allocations"]
        return cls(**{name: getattr(row, name) for name in names}, allocations=tuple(standing))

    def to_wire(self) -> pb.Payment:
        """The payment as it travels."""
        return pb.Payment(
            id=str(self.id),
            number=self.number,
            customer_id=str(self.customer_id),
            amount=Money(self.currency, self.amount_minor).to_wire(),
            unallocated=Money(self.currency, self.unallocated_minor).to_wire(),
            method=enum_value(pb.PaymentMethod, self.method),
            state=enum_value(pb.PaymentState, self.state),
            reference=self.reference,
            allocations=[
                pb.Allocation(
                    invoice_id=str(item.invoice_id),
                    amount=Money(self.currency, item.minor).to_wire(),
                )
                for item in self.allocations
            ],
            journal_entry_id=str(self.journal_entry_id),
            version=self.version,
            create_time=timestamp(self.created_at),
        )


def positive(message: Any, field: str) -> Money:
    """Read an amount that has to be greater than zero.

    Raises:
        InvalidRequest: it is not.
    """
    amount = Money.from_wire(message, field)
    if amount.minor <= 0:
        raise InvalidRequest.of(f"/{field}/amount", "must be greater than 0")
    return amount


def new_allocations(messages: Sequence[service_pb.NewAllocation]) -> tuple[NewAllocation, ...]:
    """Read a request's allocations."""
    items = enumerate(messages)
    return tuple(NewAllocation.from_wire(item, f"allocations/{place}") for place, item in items)


def summed(new: Sequence[NewAllocation], books: Books) -> Mapping[UUID, int]:
    """How much of each invoice is to be paid, in minor units.

    Raises:
        CurrencyNotKept: an amount is in another currency than the books.
    """
    sums: dict[UUID, int] = {}
    for item in new:
        sums[item.invoice_id] = sums.get(item.invoice_id, 0) + books.minor(item.amount)
    return sums


async def get_payment(tx: Transaction, payment_id: UUID) -> Payment:
    """Read one payment.

    Raises:
        NotFound: it does not exist.
    """
    row = await tx.row(select(payments).where(payments.c.id == payment_id))
    if row is None:
        raise NotFound("payment", payment_id)
    return Payment.of(row, (await standing_of_payments(tx, [payment_id]))[payment_id])


async def list_payments(
    tx: Transaction, page: Page, customer_id: UUID | None
) -> tuple[list[Payment], str]:
    """A page of payments, oldest first, and the token of the next page."""
    query = select(payments)
    if customer_id is not None:
        query = query.where(payments.c.customer_id == customer_id)
    rows, token = await _LIST.read(tx, query, page)
    standing = await standing_of_payments(tx, [row.id for row in rows])
    return [Payment.of(row, standing[row.id]) for row in rows], token
