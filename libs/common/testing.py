"""Pytest fixtures: a real PostgreSQL and Valkey, migrated databases, a tenant for each test."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from redis.asyncio import Redis

from common import ids, migrations
from common.caller import Caller, acting_as
from common.locks import Locks
from ops.credentials import Credentials
from ops.databases import prepare_databases
from ops.postgres import UNSYNCED, EmbeddedPostgres
from ops.urls import with_account, with_database
from ops.valkey import EmbeddedValkey


@dataclass(frozen=True)
class ServiceDatabase:
    """URLs of one migrated database by role; `operator` sees all tenants."""

    app: str
    system: str
    owner: str
    operator: str


@dataclass
class TestServers:
    """The servers of a test run."""

    __test__ = False

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    credentials: Credentials

    def database(self, service: str) -> ServiceDatabase:
        """The migrated database of a service."""
        url = with_database(self.postgres.superuser_url, service)
        roles = {role: self._as(url, f"{service}_{role}") for role in ("app", "system", "owner")}
        folder = Path(str(import_module(service).__file__)).parent / "migrations"
        migrations.migrate(folder, roles["owner"])
        return ServiceDatabase(**roles, operator=url)

    def _as(self, url: str, role: str) -> str:
        return with_account(url, role, self.credentials.role_password(role))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServers]:
    """PostgreSQL and Valkey on free ports, with the databases and roles of all services."""
    folder = tmp_path_factory.mktemp("servers")
    with (
        EmbeddedPostgres(folder / "postgres", settings=UNSYNCED) as postgres,
        EmbeddedValkey(folder / "valkey") as valkey,
    ):
        credentials = Credentials(folder / "secrets.json")
        prepare_databases(postgres.superuser_url, credentials)
        yield TestServers(postgres, valkey, credentials)


@pytest.fixture(scope="session")
async def locks(servers: TestServers) -> AsyncIterator[Locks]:
    """One process's locks."""
    async with Redis.from_url(servers.valkey.url) as redis:
        locks = Locks(redis, "test")
        yield locks
        await locks.close()


@pytest.fixture(scope="session")
async def no_locks() -> AsyncIterator[Locks]:
    """The locks of a process that cannot reach Redis: the database alone keeps order."""
    async with Redis(host="127.0.0.1", port=1) as redis:
        locks = Locks(redis, "test")
        yield locks
        await locks.close()


@pytest.fixture
def tenant() -> UUID:
    """A tenant that no other test has: nothing needs cleaning up."""
    return ids.new()


def as_user(
    tenant_id: UUID, *permissions: str, request_id: str = "test"
) -> AbstractContextManager[Caller]:
    """Do what is inside as a user of the tenant with these permissions, all when none is named."""
    return acting_as(
        Caller(tenant_id, "user:test", frozenset(permissions or {"*"}), (), request_id)
    )


def rows_of(url: str, query: str, *parameters: object) -> list[tuple[object, ...]]:
    """What an operator sees: the rows of a query over all tenants."""
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode(), parameters).fetchall()
