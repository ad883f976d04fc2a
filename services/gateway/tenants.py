"""Tenants: the companies that use the system."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from common import outbox
from common.database import Database, Transaction, translating
from common.errors import InvalidRequest
from common.money import decimals_of
from erp.gateway.v1.events_pb2 import TenantCreated
from gateway import tables
from gateway.errors import TenantExists
from gateway.roles import add_built_in

LOOKUP = "tenant by its short name"


@dataclass(frozen=True)
class NewTenant:
    """A company to make room for."""

    slug: str
    name: str
    # ISO 4217 code of the currency its books are kept in.
    currency_code: str
    plan: str
    # The warehouse that it begins with; none when the code is empty.
    warehouse_code: str = ""
    warehouse_name: str = ""


async def create_tenant(tx: Transaction, new: NewTenant) -> None:
    """Make room for a company; all services set themselves up for it from the event.

    The transaction is one of the tenant's own, so its id is the caller's.

    Raises:
        TenantExists: the short name is taken.
        InvalidRequest: there is no such currency.
    """
    try:
        decimals_of(new.currency_code)
    except KeyError:
        raise InvalidRequest.of("/currency_code", "is not a currency of ISO 4217") from None
    with translating({"tenants_slug": TenantExists(new.slug)}):
        await tx.execute(
            tables.tenants.insert().values(
                id=tx.tenant_id,
                slug=new.slug,
                name=new.name,
                currency_code=new.currency_code,
                plan=new.plan,
            )
        )
    await add_built_in(tx)
    created = TenantCreated(
        tenant_id=str(tx.tenant_id),
        name=new.name,
        currency_code=new.currency_code,
        warehouse_code=new.warehouse_code,
        warehouse_name=new.warehouse_name,
    )
    outbox.publish(tx, created)


async def find_tenant(database: Database, slug: str) -> UUID | None:
    """The id of the tenant with this short name."""
    async with database.system_transaction(LOOKUP) as connection:
        statement = select(tables.tenants.c.id).where(tables.tenants.c.slug == slug)
        found: UUID | None = (await connection.execute(statement)).scalar_one_or_none()
        return found
