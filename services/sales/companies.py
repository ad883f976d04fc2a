"""The companies that sell here, each with the currency of its books."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from common.database import Transaction
from common.errors import Unavailable
from sales import tables


async def open_company(tx: Transaction, name: str, currency_code: str) -> None:
    """Make room for the transaction's company, once; a second time changes nothing."""
    company = insert(tables.companies).values(name=name, currency_code=currency_code)
    await tx.execute(company.on_conflict_do_nothing())


async def get_name(tx: Transaction) -> str:
    """What the company is called; empty when it was opened before we were told."""
    return await tx.scalar(select(tables.companies.c.name)) or ""


async def get_currency(tx: Transaction) -> str:
    """The currency of the company's books.

    Raises:
        Unavailable: the company is so new that we have not heard of it yet.
    """
    currency: str | None = await tx.scalar(select(tables.companies.c.currency_code))
    if currency is None:
        raise Unavailable("The company's books")
    return currency
