"""The books of a company, open to one writer at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause, select, text

from accounting.errors import CurrencyNotKept
from accounting.tables import companies
from common.database import Transaction
from common.errors import Unavailable
from common.money import Money

# The company's row is the one lock of its books. A worker's transaction may post invoices and then
# credit others, so rows and number series cannot be locked in one order; taken before everything
# else, a single lock can't deadlock, and entries of one company wait for its numbers anyway.
_READ = text("""
    SELECT company.currency_code, account.role, account.id, account.code
    FROM companies AS company LEFT JOIN accounts AS account
        ON account.tenant_id = company.tenant_id AND account.role <> ''
""")
_OPEN = text(f"{_READ.text} FOR NO KEY UPDATE OF company")


@dataclass(frozen=True)
class PostingAccount:
    """An account that amounts can be posted to."""

    id: UUID
    code: str


@dataclass(frozen=True)
class Books:
    """What a writer needs to know: the currency, and the accounts by role."""

    currency: str
    accounts: Mapping[str, PostingAccount]

    def minor(self, amount: Money) -> int:
        """The amount in the minor unit of the books' currency.

        Raises:
            CurrencyNotKept: it is in another currency.
        """
        if amount.currency != self.currency:
            raise CurrencyNotKept(amount.currency, self.currency)
        return amount.minor


async def open_books(tx: Transaction) -> Books:
    """Wait until nobody else writes in the company's books, then hold them until the end.

    Whoever changes entries, invoices, payments, accounts or tax rates does this first.

    Raises:
        Unavailable: the company's books have not been opened yet.
    """
    return await _books(tx, _OPEN)


async def read_books(tx: Transaction) -> Books:
    """The company's books, for what doesn't write in them.

    Raises:
        Unavailable: the company's books have not been opened yet.
    """
    return await _books(tx, _READ)


async def _books(tx: Transaction, query: TextClause) -> Books:
    rows = await tx.rows(query)
    if not rows:
        raise books_not_open()
    roles = {row.role: PostingAccount(row.id, row.code) for row in rows if row.role}
    return Books(rows[0].currency_code, roles)


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
