"""Tenants of the local stack: `python -m gateway seed` makes three for demonstration.

`python -m gateway seed 20` makes twenty for load tests.
"""

import asyncio
import sys
from collections.abc import Sequence

import orjson
import structlog

from common import ids
from common.caller import acting_as, service_caller
from common.database import Database
from common.settings import Settings
from gateway.api_tokens import create_token, revoke_tokens_named
from gateway.app import open_database
from gateway.passwords import Passwords, random_password
from gateway.tenants import NewTenant, create_tenant, find_tenant
from gateway.users import put_admin

TENANTS: tuple[NewTenant, ...] = (
    NewTenant("acme", "Acme", "EUR", "unmetered"),
    NewTenant("globex", "Globex", "EUR", "unmetered"),
    NewTenant("initech", "Initech", "EUR", "default"),
)
TOKEN_NAME = "local stack"  # noqa: S105 (a name, not a secret)


def tenants_for_load(count: int) -> tuple[NewTenant, ...]:
    """So many companies that nobody limits."""
    names = (f"load-{number + 1:03}" for number in range(count))
    return tuple(NewTenant(name, name.title(), "EUR", "unmetered") for name in names)


def seed(settings: Settings, tenants: Sequence[NewTenant] = TENANTS) -> None:
    """Make the tenants, or new credentials for them, and print these as JSON."""
    # Whoever reads the credentials from standard output must find nothing else there.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    seeded = asyncio.run(_seed_all(settings, tenants))
    sys.stdout.write(orjson.dumps(seeded, option=orjson.OPT_INDENT_2).decode() + "\n")


async def _seed_all(settings: Settings, tenants: Sequence[NewTenant]) -> dict[str, dict[str, str]]:
    database, passwords = open_database(settings), Passwords()
    try:
        return {tenant.slug: await seed_tenant(database, tenant, passwords) for tenant in tenants}
    finally:
        await database.close()


async def seed_tenant(
    database: Database, tenant: NewTenant, passwords: Passwords
) -> dict[str, str]:
    """Credentials of a tenant, which is made if there is none; those given out before stop."""
    password = random_password()
    return await seed_with(database, tenant, password, await passwords.hash(password))


async def seed_with(
    database: Database, tenant: NewTenant, password: str, password_hash: str
) -> dict[str, str]:
    """The same with a password of the caller's for its admin."""
    known_id = await find_tenant(database, tenant.slug)
    tenant_id = known_id or ids.new()
    email = f"admin@{tenant.slug}.example"
    with acting_as(service_caller("gateway", tenant_id)):
        async with database.tenant_transaction() as tx:
            if known_id is None:
                await create_tenant(tx, tenant)
            await put_admin(tx, email, password_hash)
            await revoke_tokens_named(tx, TOKEN_NAME)
            token = await create_token(tx, TOKEN_NAME, ["*"])
    return {
        "id": str(tenant_id),
        "admin_email": email,
        "admin_password": password,
        "token": token.token,
    }
