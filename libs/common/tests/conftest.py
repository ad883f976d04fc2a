"""A small database of its own, so that these tests need no service."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from common import audit_seals, event_log, figures, outbox, partitions
from common.database import Database
from common.jobs.enqueueing import store_jobs
from common.jobs.tables import SYSTEM_REASON as JOBS
from common.testing import ServiceDatabase, TestServers
from common.tests.scratch import make_scratch


@pytest.fixture(scope="session")
def scratch(servers: TestServers) -> ServiceDatabase:
    """The database "scratch" with the tables that services share and those of tests."""
    return make_scratch(servers.postgres.superuser_url)


@pytest.fixture(scope="session")
async def database(scratch: ServiceDatabase) -> AsyncIterator[Database]:
    """The scratch database as a service called "notes" would open it."""
    database = Database(
        scratch.app,
        scratch.system,
        system_reasons=frozenset(
            {
                event_log.SYSTEM_REASON,
                partitions.SYSTEM_REASON,
                audit_seals.SYSTEM_REASON,
                JOBS,
                figures.SYSTEM_REASON,
            }
        ),
        write_events=outbox.write_events("notes"),
        write_jobs=store_jobs({}),
    )
    yield database
    await database.close()


@pytest.fixture
async def redis(servers: TestServers) -> AsyncIterator[Redis]:
    """The server's client, as a process has one."""
    async with Redis.from_url(servers.valkey.url) as client:
        yield client
