"""The companies whose stock is kept here, each with the currency that values it."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select, text

from common.database import Transaction
from common.errors import Unavailable
from common.money import Money
from erp.gateway.v1.events_pb2 import TenantCreated
from inventory.errors import CurrencyMismatch
from inventory.tables import companies

_OPEN = text("""
    INSERT INTO companies (name, currency_code) VALUES (:name, :currency_code)
    ON CONFLICT DO NOTHING RETURNING name
""")


@dataclass(frozen=True)
class Company:
    """A tenant that is set up."""

    name: str
    currency_code: str

    def money(self, minor: int) -> Money:
        """An amount in the currency of the company's books."""
        return Money(self.currency_code, minor)

    def minor(self, amount: Money, field: str) -> int:
        """The amount in minor units of the books' currency.

        Raises:
            CurrencyMismatch: it is in another currency.
        """
        if amount.currency != self.currency_code:
            raise CurrencyMismatch(field, amount.currency, self.currency_code)
        return amount.minor


async def open_companies(tx: Transaction, created: Iterable[TenantCreated]) -> list[TenantCreated]:
    """Make room for a new company, and tell which were new; one that is there stays as it is."""
    opened = []
    for company in created:
        row = {"name": company.name, "currency_code": company.currency_code}
        if await tx.scalar(_OPEN, row) is not None:
            opened.append(company)
    return opened


async def get_company(tx: Transaction) -> Company:
    """The tenant's company.

    Raises:
        Unavailable: it is so new that it is not set up yet.
    """
    row = await tx.row(select(companies.c.name, companies.c.currency_code))
    if row is None:
        raise Unavailable("The company's books")
    return Company(row.name, row.currency_code)
