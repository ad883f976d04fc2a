"""The companies whose books are kept here, each in one currency."""

from sqlalchemy.dialects.postgresql import insert

from accounting import accounts, taxes
from accounting.tables import companies
from common.database import Transaction
from erp.gateway.v1.events_pb2 import TenantCreated


async def set_up(tx: Transaction, company: TenantCreated) -> None:
    """Open the books of a new company: its currency, its chart of accounts and its tax rates."""
    rows = insert(companies).values(name=company.name, currency_code=company.currency_code)
    opened = await tx.scalar(rows.on_conflict_do_nothing().returning(companies.c.currency_code))
    if opened is not None:
        await accounts.open_chart(tx)
        await taxes.add_usual_rates(tx)
