"""Job workers in a test's own process, and how to wait for what they do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import ModuleType

from redis.asyncio import Redis

from common import event_log, outbox
from common.database import Database
from common.jobs.attempts import Limits
from common.jobs.bell import JobBell
from common.jobs.enqueueing import store_jobs
from common.jobs.handlers import handlings_of, queues_of
from common.jobs.tables import QUEUES, SYSTEM_REASON
from common.jobs.worker import JobWorker, Pace
from common.testing import ServiceDatabase, rows_of

# Deaths are noticed soon, and a loaded machine still finds time for a heartbeat.
QUICK = Pace(concurrency=4, lease_seconds=2.0, heartbeat_seconds=0.2, grace_seconds=5.0)


def open_job_database(
    service: str, app_url: str, system_url: str, *modules: ModuleType
) -> Database:
    """A service's database as its processes open it, with the handlers of these modules."""
    return Database(
        app_url,
        system_url,
        system_reasons=frozenset({event_log.SYSTEM_REASON, SYSTEM_REASON}),
        write_events=outbox.write_events(service),
        write_jobs=store_jobs(queues_of(handlings_of(modules))),
    )


def job_worker(
    service: str, database: Database, redis: Redis, *modules: ModuleType, tries: int = 3
) -> JobWorker:
    """A worker with the handlers of these modules."""
    bell = JobBell(service, redis)
    handlings = handlings_of(modules)
    limits = Limits(tries, 60)
    return JobWorker(service, database, handlings, QUEUES, redis, bell, limits, QUICK)


@asynccontextmanager
async def working(worker: JobWorker) -> AsyncIterator[None]:
    """Let a worker work while what is inside goes on."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


def job_states(urls: ServiceDatabase, tenant: object) -> dict[str, int]:
    """How many of a tenant's jobs are in each state."""
    rows = rows_of(
        urls.operator,
        """
        SELECT state, count(*) FROM (
            SELECT tenant_id, state FROM jobs
            UNION ALL SELECT tenant_id, state FROM finished_jobs
            UNION ALL SELECT tenant_id, 'parked' FROM failed_jobs WHERE kind = 'job'
        ) AS job WHERE tenant_id = %s GROUP BY state
        """,
        tenant,
    )
    return {str(state): int(str(count)) for state, count in rows}
