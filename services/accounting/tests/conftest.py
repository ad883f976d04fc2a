"""A running accounting service, and a company with open books for each test."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event

from accounting.tests.company import Company
from common import event_log, outbox, tenant_rows
from common.database import Database
from common.locks import Locks
from common.testing import ServiceDatabase, TestServers


@pytest.fixture(scope="session")
def urls(servers: TestServers) -> ServiceDatabase:
    """The migrated database by role."""
    return servers.database("accounting")


@pytest.fixture(scope="session")
async def database(urls: ServiceDatabase) -> AsyncIterator[Database]:
    """The database as the service opens it."""
    opened = Database(
        urls.app,
        urls.system,
        system_reasons=frozenset({event_log.SYSTEM_REASON, tenant_rows.SYSTEM_REASON}),
        write_events=outbox.write_events("accounting"),
    )
    yield opened
    await opened.close()


@pytest.fixture
async def company(database: Database, urls: ServiceDatabase, locks: Locks, tenant: UUID) -> Company:
    """A company whose books are open."""
    made = Company(database, urls.operator, tenant, locks)
    await made.found()
    return made


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The statements that were run since, besides BEGIN and COMMIT."""
    run: list[str] = []

    def note(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        # A gateway of tests before may still be looking at its own.
        if connection.engine.url.database == "accounting":
            run.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield run
    event.remove(Engine, "before_cursor_execute", note)
