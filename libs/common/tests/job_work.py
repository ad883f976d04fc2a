"""A worker in this process, for tests of jobs."""

import asyncio
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import psycopg
from redis.asyncio import Redis
from sqlalchemy import text

from common import ids
from common.database import Database, Transaction
from common.jobs.attempts import Limits
from common.jobs.bell import JobBell
from common.jobs.handlers import Handler, handlings_of
from common.jobs.worker import JobWorker, Pace
from common.testing import ServiceDatabase, as_user, rows_of

SERVICE = "notes"
NOTE = text("INSERT INTO notes (id, body) VALUES (:id, :body)")
# Deaths are noticed soon, and a loaded machine still finds time for a heartbeat.
QUICK = Pace(concurrency=4, lease_seconds=2.0, heartbeat_seconds=0.2, grace_seconds=5.0)


async def note(tx: Transaction, body: str) -> None:
    """The effect of a job: a second time it would break a unique key."""
    await tx.execute(NOTE, {"id": ids.new(), "body": body})


async def notes(database: Database, tenant: UUID) -> list[str]:
    with as_user(tenant):
        async with database.read_transaction() as tx:
            return [row.body for row in await tx.rows(text("SELECT body FROM notes ORDER BY id"))]


async def enqueued(database: Database, tenant: UUID, add: Callable[[Transaction], object]) -> None:
    with as_user(tenant, request_id="request"):
        async with database.tenant_transaction() as tx:
            add(tx)


def forget_jobs(scratch: ServiceDatabase) -> None:
    with psycopg.connect(scratch.operator) as connection:
        connection.execute("DELETE FROM jobs; DELETE FROM failed_jobs")


def states(scratch: ServiceDatabase, tenant: UUID) -> dict[str, int]:
    """How many of the tenant's jobs are in each state."""
    rows = rows_of(
        scratch.operator,
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


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


def worker(
    database: Database,
    redis: Redis,
    *handlers: Handler,
    queues: Sequence[str] = ("high", "default", "low"),
    limits: Limits = Limits(3, 60),  # noqa: B008 (a constant)
    pace: Pace = QUICK,
) -> JobWorker:
    module = types.ModuleType("handlers")
    vars(module).update({str(number): handler for number, handler in enumerate(handlers)})
    bell = JobBell(SERVICE, redis)
    handlings = handlings_of([module])
    return JobWorker(SERVICE, database, handlings, queues, redis, bell, limits, pace)


@asynccontextmanager
async def working(*workers: JobWorker) -> AsyncIterator[None]:
    async with AsyncExitStack() as opened:
        tasks = [asyncio.create_task(each.run()) for each in workers]
        opened.push_async_callback(asyncio.gather, *tasks)
        for each in workers:
            opened.callback(each.stop)
        yield
