"""A small database of its own, so that these tests need no service."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from common import audit_seals, event_log, figures, outbox, partitions
from common.database import Database, RingDoorbell
from common.jobs.bell import JobBell
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
    """The scratch database as a service called "notes" would open it, but that nobody is woken."""
    database = opened(scratch)
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def waking_database(
    scratch: ServiceDatabase, servers: TestServers
) -> AsyncIterator[Database]:
    """The same, and workers are told of their jobs: else they look every two seconds."""
    async with Redis.from_url(servers.valkey.url) as redis:
        bell = JobBell("notes", redis)
        ringing = asyncio.create_task(bell.run())
        database = opened(scratch, bell.ring)
        yield database
        await database.close()
        ringing.cancel()
        await asyncio.wait([ringing])


def opened(scratch: ServiceDatabase, wake: RingDoorbell | None = None) -> Database:
    reasons = (event_log, partitions, audit_seals, figures)
    return Database(
        scratch.app,
        scratch.system,
        system_reasons=frozenset({JOBS, *(module.SYSTEM_REASON for module in reasons)}),
        write_events=outbox.write_events("notes"),
        write_jobs=store_jobs({}),
        wake=wake,
    )


@pytest.fixture
async def redis(servers: TestServers) -> AsyncIterator[Redis]:
    """The server's client, as a process has one."""
    async with Redis.from_url(servers.valkey.url) as client:
        yield client
