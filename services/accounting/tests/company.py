"""A company whose books the tests work with, in the words of the business."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from accounting import audit, listeners
from accounting.servicer import AccountingServicer
from common import caller, ids
from common.caller import Caller
from common.database import Database
from common.errors import DomainError
from common.listening import Heard, Listener
from common.locks import Locks
from common.money import Money
from common.testing import as_user, rows_of
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.audit.v1 import audit_pb2
from erp.gateway.v1.events_pb2 import TenantCreated
from erp.inventory.v1.events_pb2 import CostedLine, StockAdjusted, StockReceived, StockShipped
from erp.sales.v1.events_pb2 import ConfirmedLine, OrderCancelled, OrderConfirmed
from erp.types.v1 import money_pb2

EUR = "EUR"


def eur(amount: str) -> money_pb2.Money:
    """An amount in euros."""
    return money_pb2.Money(currency_code=EUR, amount=amount)


def new_id() -> str:
    """An id of something in another service."""
    return str(ids.new())


def reason_of(outcome: object) -> str:
    """What became of a command: OK, or the reason of its error."""
    if isinstance(outcome, DomainError):
        return outcome.reason
    if isinstance(outcome, BaseException):
        raise outcome
    return "OK"


def order(
    net: str = "100.00", tax: str = "19.00", customer_id: str = "", currency: str = EUR
) -> OrderConfirmed:
    """A confirmed order of one line."""

    def money(amount: Decimal) -> money_pb2.Money:
        return money_pb2.Money(currency_code=currency, amount=str(amount))

    nets, taxes = money(Decimal(net)), money(Decimal(tax))
    return OrderConfirmed(
        order_id=new_id(),
        number="SO-2026-000001",
        customer_id=customer_id or new_id(),
        warehouse_id=new_id(),
        lines=[
            ConfirmedLine(
                order_line_id=new_id(),
                product_id=new_id(),
                sku="OAK-TABLE",
                quantity="2.5",
                net=nets,
                tax_rate="0.19",
                tax=taxes,
            )
        ],
        net=nets,
        tax=taxes,
        gross=money(Decimal(net) + Decimal(tax)),
    )


def received(cost: str) -> StockReceived:
    """Goods that came in."""
    return StockReceived(receipt_id=new_id(), number="GR-2026-000001", cost=eur(cost))


def adjusted(cost: str) -> StockAdjusted:
    """A count that was corrected."""
    return StockAdjusted(adjustment_id=new_id(), number="ADJ-2026-000001", cost=eur(cost))


def shipped(cost: str, *, order_id: str = "", shipment_id: str = "") -> StockShipped:
    """Goods that left."""
    lines = [CostedLine(movement_id=new_id(), cost=eur(cost))]
    return StockShipped(
        reservation_id=new_id(),
        order_id=order_id,
        shipment_id=shipment_id,
        lines=lines,
        cost=eur(cost),
    )


@dataclass
class Company:
    """One tenant of a running accounting service."""

    database: Database
    operator_url: str
    tenant_id: UUID
    locks: Locks
    customers: set[UUID] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rpcs = AccountingServicer(self.database, self._resolve, lambda: self.locks)

    async def _resolve(self, asked: Collection[UUID]) -> Collection[UUID]:
        return self.customers & set(asked)

    def user(self) -> AbstractContextManager[Caller]:
        """Act as somebody of the company."""
        return as_user(self.tenant_id)

    async def call(self, name: str, request: Message) -> Any:
        """Call an rpc as somebody of the company."""
        with self.user():
            return await getattr(self.rpcs, name)(request, None)

    async def hear(self, listener: Listener, messages: Sequence[Message]) -> None:
        """Let the worker apply events of one type."""
        heard = [Heard(message, "request-1", place) for place, message in enumerate(messages, 1)]
        with caller.acting_as(caller.service_caller("accounting", self.tenant_id)):
            async with self.database.tenant_transaction() as tx:
                await listener(tx, heard)

    async def found(self) -> None:
        """Open its books."""
        created = TenantCreated(tenant_id=str(self.tenant_id), name="Acme", currency_code=EUR)
        await self.hear(listeners.open_books, [created])

    def new_customer(self) -> str:
        """Somebody who buys."""
        customer_id = ids.new()
        self.customers.add(customer_id)
        return str(customer_id)

    async def confirm(self, *orders: OrderConfirmed) -> None:
        """Hear that orders were confirmed."""
        await self.hear(listeners.raise_invoices, orders)

    async def cancel(self, *orders: OrderConfirmed) -> None:
        """Hear that orders were called off."""
        events = [OrderCancelled(order_id=item.order_id, reason="Too late") for item in orders]
        await self.hear(listeners.credit_invoices, events)

    async def bill(self, gross: str, customer_id: str = "") -> pb.Invoice:
        """An invoice without tax."""
        confirmed = order(gross, "0", customer_id or self.new_customer())
        await self.confirm(confirmed)
        return await self.invoice_of(confirmed)

    async def invoice_of(self, confirmed: OrderConfirmed) -> pb.Invoice:
        """The order's only invoice."""
        request = service_pb.ListInvoicesRequest(order_id=confirmed.order_id)
        [invoice] = (await self.call("ListInvoices", request)).invoices
        return invoice

    async def invoice(self, invoice_id: str) -> pb.Invoice:
        """An invoice as it is now."""
        return await self.call("GetInvoice", service_pb.GetInvoiceRequest(id=invoice_id))

    async def entry(self, entry_id: str) -> pb.JournalEntry:
        """A journal entry as it is now."""
        request = service_pb.GetJournalEntryRequest(id=entry_id)
        return await self.call("GetJournalEntry", request)

    async def entries_for(self, kind: str) -> list[pb.JournalEntry]:
        """The entries that records of this kind caused."""
        request = service_pb.ListJournalEntriesRequest(source_kind=kind, page_size=200)
        return list((await self.call("ListJournalEntries", request)).journal_entries)

    async def pay(
        self,
        customer_id: str,
        amount: str,
        allocations: Sequence[tuple[str, str]] = (),
        method: pb.PaymentMethod = pb.PAYMENT_METHOD_BANK_TRANSFER,
    ) -> pb.Payment:
        """Receive a payment that pays amounts of invoices."""
        request = service_pb.CreatePaymentRequest(
            customer_id=customer_id,
            amount=eur(amount),
            method=method,
            allocations=[
                service_pb.NewAllocation(invoice_id=invoice_id, amount=eur(part))
                for invoice_id, part in allocations
            ],
        )
        return await self.call("CreatePayment", request)

    async def void(self, payment_id: str) -> pb.Payment:
        """Take a payment back."""
        return await self.call("VoidPayment", service_pb.VoidPaymentRequest(id=payment_id))

    async def write(
        self, *lines: service_pb.NewJournalLine, date: str | None = None, post: bool = True
    ) -> pb.JournalEntry:
        """Write an entry by hand."""
        request = service_pb.CreateJournalEntryRequest(
            description="By hand", lines=lines, post=post, date=date
        )
        return await self.call("CreateJournalEntry", request)

    async def invest(self, amount: str, date: str | None = None) -> pb.JournalEntry:
        """Post an owner's deposit."""
        return await self.write(debit("1010", amount), credit("3000", amount), date=date)

    async def balances(self, as_of: str | None = None) -> dict[str, int]:
        """The trial balance in cents by account, which must be equal on both sides."""
        request = service_pb.GetTrialBalanceRequest(as_of=as_of)
        balance = await self.call("GetTrialBalance", request)
        assert balance.total_debit == balance.total_credit
        rows = {row.account_code: cents(row.debit) - cents(row.credit) for row in balance.rows}
        assert sum(rows.values()) == 0
        return rows

    async def wrongs(self) -> list[audit_pb2.Violation]:
        """What the auditor finds."""
        auditor = audit.auditor_of(self.database)
        with self.user():
            check = await auditor.CheckInvariants(audit_pb2.CheckInvariantsRequest(), None)
        return list(check.violations)

    def events(self, kind: type[Message]) -> list[Any]:
        """The events of this kind that the company published, in order."""
        query = "SELECT data FROM events WHERE tenant_id = %s AND type = %s ORDER BY sequence"
        name = kind.DESCRIPTOR.full_name
        rows = rows_of(self.operator_url, query, self.tenant_id, name)
        return [kind.FromString(row[0]) for row in rows]  # type: ignore[arg-type]

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """What an operator sees; the query's first parameter is the tenant."""
        return rows_of(self.operator_url, query, self.tenant_id, *parameters)


def debit(code: str, amount: str) -> service_pb.NewJournalLine:
    """A line on the left."""
    return service_pb.NewJournalLine(account_code=code, debit=eur(amount))


def credit(code: str, amount: str) -> service_pb.NewJournalLine:
    """A line on the right."""
    return service_pb.NewJournalLine(account_code=code, credit=eur(amount))


def cents(amount: money_pb2.Money) -> int:
    """The amount in cents."""
    return Money.from_wire(amount, "amount").minor


def sides(entry: pb.JournalEntry) -> dict[str, int]:
    """An entry's lines in cents by account: debits positive, credits negative."""
    return {line.account_code: cents(line.debit) - cents(line.credit) for line in entry.lines}
