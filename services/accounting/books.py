"""The books of a company, open to one writer at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import select, text

from accounting.dates import period_of
from accounting.errors import CurrencyNotKept, PeriodIsClosed
from accounting.tables import companies
from common.database import Transaction
from common.errors import Unavailable
from common.money import Money

# The company's row is the one lock of its books. A worker's transaction may post invoices and then
# credit others, so rows and number series cannot be locked in one order; taken before everything
# else, a single lock can't deadlock, and entries of one company wait for its numbers anyway. After
# a wait Postgres shows the locked row as it is by then, so closed periods have to stand on it: a
# subquery for them would still show what was before the wait.
_OPEN = text("""
    SELECT company.currency_code, company.closed_periods, account.role, account.id, account.code
    FROM companies AS company LEFT JOIN accounts AS account
        ON account.tenant_id = company.tenant_id AND account.role <> ''
    FOR NO KEY UPDATE OF company
""")


@dataclass(frozen=True)
class PostingAccount:
    """An account that amounts can be posted to."""

    id: UUID
    code: str


@dataclass(frozen=True)
class Books:
    """What a writer needs to know: the currency, the accounts by role, the closed periods."""

    currency: str
    accounts: Mapping[str, PostingAccount]
    closed_periods: frozenset[str] = frozenset()

    def minor(self, amount: Money) -> int:
        """The amount in the minor unit of the books' currency.

        Raises:
            CurrencyNotKept: it is in another currency.
        """
        if amount.currency != self.currency:
            raise CurrencyNotKept(amount.currency, self.currency)
        return amount.minor

    def demand_open(self, day: date) -> None:
        """Let pass a day that entries can count for.

        Raises:
            PeriodIsClosed: they cannot.
        """
        if period_of(day) in self.closed_periods:
            raise PeriodIsClosed(period_of(day))

    def open_day(self, day: date) -> date:
        """The day itself, or the first day of the next open period when its own is closed."""
        while period_of(day) in self.closed_periods:
            # Only periods that have begun can be closed, so there is an open one.
            day = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
        return day


async def open_books(tx: Transaction) -> Books:
    """Wait until nobody else writes in the company's books, then hold them until the end.

    Whoever changes entries, invoices, payments, accounts or tax rates does this first.

    Raises:
        Unavailable: the company's books have not been opened yet.
    """
    rows = await tx.rows(_OPEN)
    if not rows:
        raise books_not_open()
    roles = {row.role: PostingAccount(row.id, row.code) for row in rows if row.role}
    return Books(rows[0].currency_code, roles, frozenset(rows[0].closed_periods))


async def currency_of_books(tx: Transaction) -> str:
    """ISO 4217 code of the currency that the caller's books are kept in.

    Raises:
        Unavailable: the company is so new that its books have not been opened yet.
    """
    currency: str | None = await tx.scalar(select(companies.c.currency_code))
    if currency is None:
        raise books_not_open()
    return currency


def books_not_open() -> Unavailable:
    """The error for a company whose TenantCreated has not arrived yet."""
    return Unavailable("The company's books")
