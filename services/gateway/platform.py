"""The platform's own company, whose users and tokens operate all others."""

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from common.caller import Caller, acting_as
from common.database import Database
from gateway import tables
from gateway.api_tokens import create_token, revoke_tokens_named
from gateway.roles import add_built_in

__all__ = ["PLATFORM", "put_operator_token"]

# As the migration names it, in the rule that keeps permissions above companies out of companies.
PLATFORM = UUID("00000000-0000-7000-8000-000000000000")
EVERYTHING = ("*", "platform.*")
TOKEN_NAME = "operator by command"  # noqa: S105 (a name, not a secret)

_ROW = {
    "id": PLATFORM,
    "slug": "platform",
    "name": "Platform",
    "currency_code": "EUR",
    "plan": "unmetered",
}


async def put_operator_token(database: Database, name: str = TOKEN_NAME) -> str:
    """A token that may do everything to companies; one made before by this name stops working.

    Other operators are made with it, as users and tokens of the platform. No service keeps books
    or stock for the platform: it publishes no TenantCreated.
    """
    with acting_as(Caller(PLATFORM, "service:gateway", frozenset(EVERYTHING))):
        async with database.tenant_transaction() as tx:
            row = insert(tables.tenants).values(_ROW).on_conflict_do_nothing()
            if await tx.scalar(row.returning(tables.tenants.c.id)) is not None:
                await add_built_in(tx)
            await revoke_tokens_named(tx, name)
            return (await create_token(tx, name, EVERYTHING)).token
