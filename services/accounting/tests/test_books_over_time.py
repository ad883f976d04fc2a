"""Whatever happens, in whatever order, the books balance and the auditor finds nothing."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting import listeners
from accounting.tests.company import Company, adjusted, cents, order, received, shipped, sides
from common import ids
from common.database import Database
from common.errors import DomainError
from common.locks import Locks
from common.testing import ServiceDatabase
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.sales.v1.events_pb2 import OrderConfirmed

# The trial balance of these days is compared with the sums of the entries' own lines.
FIRST_DAY = date(2026, 1, 1)


class Trader:
    """Does one thing after another, chosen by chance; what is not allowed is refused."""

    def __init__(self, company: Company, chance: Random) -> None:
        self.company = company
        self.chance = chance
        self.customers = [company.new_customer() for _ in range(2)]
        self.orders: list[OrderConfirmed] = []
        self.cancelled: set[str] = set()
        self.payments: list[str] = []
        self.entries: list[str] = []

    async def live(self, *steps: str) -> None:
        """Do these things."""
        for step in steps:
            act: Callable[[], Awaitable[None]] = getattr(self, step)
            try:
                await act()
            except DomainError:
                continue

    def amount(self, most: int = 50_000) -> str:
        """Some amount of euros."""
        minor = self.chance.randint(0, most)
        return f"{minor // 100}.{minor % 100:02d}"

    async def confirm(self) -> None:
        """Confirm some orders."""
        customers = self.chance.choices(self.customers, k=self.chance.randint(1, 3))
        orders = [order(self.amount(), self.amount(900), customer) for customer in customers]
        await self.company.confirm(*orders)
        self.orders += orders

    async def cancel(self) -> None:
        """Call an order off."""
        for confirmed in self.chance.sample(self.orders, min(1, len(self.orders))):
            self.cancelled.add(confirmed.order_id)
            await self.company.cancel(confirmed)

    async def pay(self) -> None:
        """Pay some of an order, or too much."""
        parts, customer_id = [], self.customers[0]
        for confirmed in self.chance.sample(self.orders, min(1, len(self.orders))):
            invoice = await self.company.invoice_of(confirmed)
            parts = [(invoice.id, self.chance.choice((self.amount(), invoice.amount_due.amount)))]
            customer_id = confirmed.customer_id
        payment = await self.company.pay(customer_id, self.amount(100_000), parts)
        self.payments.append(payment.id)

    async def void(self) -> None:
        """Take a payment back."""
        for payment_id in self.chance.sample(self.payments, min(1, len(self.payments))):
            await self.company.void(payment_id)

    async def invest(self) -> None:
        """Post by hand, on some day of the first months."""
        day = FIRST_DAY + timedelta(days=self.chance.randint(0, 100))
        entry = await self.company.invest(self.amount(), date=day.isoformat())
        self.entries.append(entry.id)

    async def reverse(self) -> None:
        """Take an entry back."""
        for entry_id in self.chance.sample(self.entries, min(1, len(self.entries))):
            request = service_pb.ReverseJournalEntryRequest(id=entry_id, date="2026-03-31")
            reversal = await self.company.call("ReverseJournalEntry", request)
            self.entries.append(reversal.id)

    async def credit(self) -> None:
        """Take some units of an invoice back, or all that is left, or too much."""
        for confirmed in self.chance.sample(self.orders, min(1, len(self.orders))):
            invoice = await self.company.invoice_of(confirmed)
            line = invoice.lines[0].order_line_id
            part = service_pb.CreditLine(order_line_id=line, quantity=self.chance.choice(PARTS))
            lines = self.chance.choice(([part], []))
            request = service_pb.CreditInvoiceRequest(id=invoice.id, reason="Bad", lines=lines)
            await self.company.call("CreditInvoice", request)

    async def close(self) -> None:
        """Close one of the first months."""
        period_id = f"2026-0{self.chance.randint(1, 3)}"
        await self.company.call("ClosePeriod", service_pb.ClosePeriodRequest(id=period_id))

    async def reopen(self) -> None:
        """Reopen one of the first months."""
        period_id = f"2026-0{self.chance.randint(1, 3)}"
        await self.company.call("ReopenPeriod", service_pb.ReopenPeriodRequest(id=period_id))

    async def trade(self) -> None:
        """Move goods."""
        await self.company.hear(listeners.post_receipts, [received(self.amount())])
        await self.company.hear(listeners.post_adjustments, [adjusted(f"-{self.amount()}")])
        await self.company.hear(listeners.post_cost_of_sales, [shipped(self.amount())])


STEPS = (
    *("confirm", "cancel", "pay", "void", "invest", "reverse", "trade"),
    *("credit", "close", "reopen"),
)
# Of the 2.5 units that every order is about.
PARTS = ("0.333333", "1", "2.5")


async def expected_balances(company: Company, as_of: str | None) -> dict[str, int]:
    """The sums of the lines of all entries up to a day."""
    sums: Counter[str] = Counter()
    token = ""
    while True:
        request = service_pb.ListJournalEntriesRequest(page_size=200, page_token=token)
        page = await company.call("ListJournalEntries", request)
        for entry in page.journal_entries:
            if as_of is None or entry.date <= as_of:
                sums.update(sides(entry))
        token = page.next_page_token
        if not token:
            return {code: minor for code, minor in sums.items() if minor}


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=25), seed=st.integers(0, 2**32))
async def test_any_history_balances(
    database: Database, urls: ServiceDatabase, locks: Locks, steps: list[str], seed: int
) -> None:
    company = Company(database, urls.operator, ids.new(), locks)
    await company.found()

    await Trader(company, Random(seed)).live(*steps)

    assert await company.wrongs() == []
    for as_of in (None, "2026-01-31", "2026-02-14", "2026-03-31"):
        assert await company.balances(as_of) == await expected_balances(company, as_of)


async def test_many_at_once_leave_the_books_balanced(company: Company) -> None:
    traders = [Trader(company, Random(seed)) for seed in range(8)]

    await asyncio.gather(*(trader.live(*trader.chance.choices(STEPS, k=30)) for trader in traders))

    assert await company.wrongs() == []
    assert await company.balances() == await expected_balances(company, None)
    orders = [confirmed for trader in traders for confirmed in trader.orders]
    cancelled = {order_id for trader in traders for order_id in trader.cancelled}
    for confirmed in orders:
        invoice = await company.invoice_of(confirmed)
        if confirmed.order_id in cancelled:
            assert invoice.state == pb.INVOICE_STATE_CREDITED
        assert 0 <= cents(invoice.amount_due) <= cents(invoice.gross)
