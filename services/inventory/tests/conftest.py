"""A migrated database, a company that keeps stock in it, and a look at the books afterwards."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from common import event_log, ids, outbox
from common.database import Database
from common.testing import ServiceDatabase, TestServers, rows_of
from inventory.app import SYSTEM_REASONS
from inventory.tests.stockroom import Stockroom


@pytest.fixture(scope="session")
def urls(servers: TestServers) -> ServiceDatabase:
    """The migrated database by role."""
    return servers.database("inventory")


def open_database(urls: ServiceDatabase) -> Database:
    """The database as a process of the service opens it."""
    return Database(
        urls.app,
        urls.system,
        system_reasons=SYSTEM_REASONS | {event_log.SYSTEM_REASON},
        write_events=outbox.write_events("inventory"),
    )


@pytest.fixture(scope="session")
async def database(urls: ServiceDatabase) -> AsyncIterator[Database]:
    """One process's database."""
    opened = open_database(urls)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def other_database(urls: ServiceDatabase) -> AsyncIterator[Database]:
    """Another process's database."""
    opened = open_database(urls)
    yield opened
    await opened.close()


def deadlocks_of(urls: ServiceDatabase) -> object:
    """How often Postgres had to break a deadlock in this database so far."""
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    [(count,)] = rows_of(urls.operator, query)
    return count


@pytest.fixture
async def inventory(
    database: Database, urls: ServiceDatabase, tenant: UUID
) -> AsyncIterator[Stockroom]:
    """A company's stock, whose records prove each other and whose transactions never deadlocked."""
    stockroom = Stockroom(database, urls.operator, tenant)
    await stockroom.open()
    deadlocks = deadlocks_of(urls)
    yield stockroom
    assert await stockroom.violations() == []
    assert deadlocks_of(urls) == deadlocks


@pytest.fixture
async def stranger(database: Database, urls: ServiceDatabase) -> Stockroom:
    """Another company."""
    stockroom = Stockroom(database, urls.operator, ids.new())
    await stockroom.open()
    return stockroom
