"""A migrated database, a company that keeps stock in it, and a look at the books afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from common import event_log, ids, outbox
from common.database import Database
from common.locks import Locks
from common.testing import ServiceDatabase, TestServers, rows_of
from inventory.app import SYSTEM_REASONS
from inventory.tests.stockroom import Stockroom


@pytest.fixture(scope="session")
def urls(servers: TestServers) -> ServiceDatabase:
    """The migrated database by role."""
    return servers.database("inventory")


@asynccontextmanager
async def opened(urls: ServiceDatabase) -> AsyncIterator[Database]:
    """The database as a process of the service has it open, with connections that are ready."""
    database = Database(
        urls.app,
        urls.system,
        system_reasons=SYSTEM_REASONS | {event_log.SYSTEM_REASON},
        write_events=outbox.write_events("inventory"),
    )
    await asyncio.gather(*(database.ping() for _ in range(4)))
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def database(urls: ServiceDatabase) -> AsyncIterator[Database]:
    """One process's database."""
    async with opened(urls) as database:
        yield database


@pytest.fixture(scope="session")
async def other_database(urls: ServiceDatabase) -> AsyncIterator[Database]:
    """Another process's database."""
    async with opened(urls) as database:
        yield database


def deadlocks_of(urls: ServiceDatabase) -> object:
    """How often Postgres had to break a deadlock in this database so far."""
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    [(count,)] = rows_of(urls.operator, query)
    return count


@pytest.fixture
async def inventory(
    database: Database, urls: ServiceDatabase, locks: Locks, tenant: UUID
) -> AsyncIterator[Stockroom]:
    """A company's stock, whose records prove each other and whose transactions never deadlocked."""
    stockroom = Stockroom(database, urls.operator, tenant, locks)
    await stockroom.open()
    deadlocks = deadlocks_of(urls)
    yield stockroom
    assert await stockroom.violations() == []
    assert deadlocks_of(urls) == deadlocks


@pytest.fixture
async def stranger(database: Database, urls: ServiceDatabase, locks: Locks) -> Stockroom:
    """Another company."""
    stockroom = Stockroom(database, urls.operator, ids.new(), locks)
    await stockroom.open()
    return stockroom


@pytest.fixture
def desks(
    inventory: Stockroom, database: Database, other_database: Database, no_locks: Locks
) -> list[Stockroom]:
    """The same company at four servers, none of which knows what the others are doing."""
    return [inventory.elsewhere(one, no_locks) for one in (database, other_database) * 2]
