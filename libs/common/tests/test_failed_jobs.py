"""What failed for good is kept, and operators decide about it."""

import asyncio
import types
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest
from redis.asyncio import Redis

from common import event_log, ids, jobs, outbox, parked_events, tracing
from common.database import Database, Transaction
from common.errors import NotFound
from common.event_log import EventLogServicer
from common.jobs import failures
from common.jobs.enqueueing import store_jobs
from common.jobs.servicer import JobServicer
from common.jobs.tables import SYSTEM_REASON
from common.listening import Heard, lanes_of, listens_to
from common.locks import Locks
from common.testing import ServiceDatabase, TestServers, as_user, rows_of
from common.tests.job_work import (
    SERVICE,
    enqueued,
    eventually,
    forget_jobs,
    note,
    notes,
    states,
    worker,
    working,
)
from common.worker import EventWorker
from erp.jobs.v1 import job_service_pb2 as pb
from erp.jobs.v1.jobs_pb2 import JOB_STATE_FAILED, JOB_STATE_SUCCEEDED, FailedJob
from erp.sales.v1.events_pb2 import OrderCancelled, OrderSettled


class Day:
    is_bad = True


def in_trace() -> str:
    """The trace of the work at hand, as a note has it."""
    trace = tracing.current()
    return f"trace {trace.trace_id[:1]}" if trace else "no trace"


def traced(digit: str) -> None:
    """Do the rest of the test in a client's trace."""
    tracing.follow(f"00-{digit * 32}-{'1' * 16}-01")


DAY = Day()


@jobs.handles(OrderCancelled, tries=1)
async def cancel(work: jobs.Work[OrderCancelled]) -> None:
    if DAY.is_bad:
        raise LookupError("bad day")
    async with work.completion() as tx:
        await note(tx, f"{work.message.order_id} at {work.attempt}, {in_trace()}")


@listens_to(OrderSettled, queue="high", tries=1)
async def note_settled(tx: Transaction, settled: Sequence[Heard[OrderSettled]]) -> None:
    for heard in settled:
        await note(tx, f"settled {heard.message.order_id}")
        if DAY.is_bad and heard.message.order_id == "bad":
            raise LookupError("bad order")
        if heard.message.order_id == "bad":
            await note(tx, f"in {in_trace()}")


@pytest.fixture(autouse=True)
def a_bad_day(scratch: ServiceDatabase) -> None:
    forget_jobs(scratch)
    DAY.is_bad = True


@pytest.fixture
async def redis(servers: TestServers) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.valkey.url) as client:
        yield client


@pytest.fixture
async def database(scratch: ServiceDatabase) -> AsyncIterator[Database]:
    reasons = {event_log.SYSTEM_REASON, SYSTEM_REASON, parked_events.SYSTEM_REASON}
    database = Database(
        scratch.app,
        scratch.system,
        system_reasons=frozenset(reasons),
        write_events=outbox.write_events(SERVICE),
        write_jobs=store_jobs({}),
    )
    yield database
    await database.close()


async def failures_of(database: Database, tenant: UUID) -> list[FailedJob]:
    with as_user(tenant):
        answer = await JobServicer(SERVICE, database).ListFailedJobs(
            pb.ListFailedJobsRequest(limit=10)
        )
        return list(answer.failed_jobs)


async def test_a_parked_job_is_retried_with_all_its_tries_and_the_same_id(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    made: list[UUID] = []
    order = OrderCancelled(order_id="1")
    traced("a")
    await enqueued(database, tenant, lambda tx: made.append(jobs.enqueue(tx, order)))
    traced("b")
    servicer = JobServicer(SERVICE, database)

    async with working(worker(database, redis, cancel)):
        await eventually(lambda: states(scratch, tenant) == {"parked": 1})
        (failure,) = await failures_of(database, tenant)
        with as_user(tenant):
            parked = await servicer.GetJob(pb.GetJobRequest(id=str(made[0])))
            DAY.is_bad = False
            await servicer.RetryFailedJob(pb.RetryFailedJobRequest(id=failure.id))
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 1})

    with as_user(tenant):
        done = await servicer.GetJob(pb.GetJobRequest(id=str(made[0])))
    assert (parked.state, parked.error) == (JOB_STATE_FAILED, "LookupError: bad day")
    assert (done.state, done.attempt) == (JOB_STATE_SUCCEEDED, 2)
    assert await notes(database, tenant) == ["1 at 2, trace a"]
    assert await failures_of(database, tenant) == []


async def test_what_is_discarded_is_gone(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, OrderCancelled(order_id="1")))
    async with working(worker(database, redis, cancel)):
        await eventually(lambda: states(scratch, tenant) == {"parked": 1})
    (failure,) = await failures_of(database, tenant)

    with as_user(tenant):
        await database.run(lambda tx: failures.discard(tx, UUID(failure.id)))
        with pytest.raises(NotFound):
            await database.run(lambda tx: failures.retry(tx, UUID(failure.id)))

    assert states(scratch, tenant) == {}


async def test_a_unique_job_is_not_retried_beside_its_successor(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    def add(tx: Transaction) -> None:
        jobs.enqueue(tx, OrderCancelled(order_id="1"), unique_key="one")

    await enqueued(database, tenant, add)
    async with working(worker(database, redis, cancel)):
        await eventually(lambda: states(scratch, tenant) == {"parked": 1})
    (failure,) = await failures_of(database, tenant)
    await enqueued(database, tenant, add)

    with as_user(tenant), pytest.raises(failures.SameJobWaiting):
        await database.run(lambda tx: failures.retry(tx, UUID(failure.id)))

    assert states(scratch, tenant) == {"parked": 1, "ready": 1}


async def test_nobody_sees_or_retries_anothers_failures(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, OrderCancelled(order_id="1")))
    async with working(worker(database, redis, cancel)):
        await eventually(lambda: states(scratch, tenant) == {"parked": 1})
    (failure,) = await failures_of(database, tenant)
    stranger = ids.new()

    assert await failures_of(database, stranger) == []
    with as_user(stranger), pytest.raises(NotFound):
        await database.run(lambda tx: failures.retry(tx, UUID(failure.id)))
    with as_user(stranger), pytest.raises(NotFound):
        await JobServicer(SERVICE, database).GetJob(pb.GetJobRequest(id=failure.job_id))


class LocalLog:
    def __init__(self, database: Database) -> None:
        self._log = EventLogServicer("sales", database)

    async def Read(self, request):
        return await self._log.Read(request, None)

    async def Heads(self, request):
        return await self._log.Heads(request, None)


async def test_a_parked_event_is_applied_again_exactly_once(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    module = types.ModuleType("listeners")
    vars(module)["note_settled"] = note_settled
    lanes = lanes_of(module)
    traced("c")
    for order in ("1", "bad", "2"):
        with as_user(tenant):
            async with database.tenant_transaction() as tx:
                outbox.publish(tx, OrderSettled(order_id=order))
    traced("d")
    locks = Locks(redis, "notes-worker")
    logs = {"sales": LocalLog(database)}
    follower = EventWorker(SERVICE, database, lanes, logs, redis, locks)
    task = asyncio.create_task(follower.run())
    await eventually(lambda: has(database, tenant, 2))
    follower.stop()
    await task
    duties = [parked_events.retry_parked_events(SERVICE, database, lanes) for _ in range(4)]

    # While the day is bad it fails again, and says so.
    failure = await retry_event(database, tenant)
    await duties[0].work()
    (again,) = await failures_of(database, tenant)
    DAY.is_bad = False
    await retry_event(database, tenant)
    await asyncio.gather(*(duty.work() for duty in duties))
    await duties[0].work()

    assert (failure.attempts, again.attempts, again.HasField("retry_time")) == (1, 2, False)
    assert await notes(database, tenant) == [
        *("settled 1", "settled 2", "settled bad", "in trace c")
    ]
    assert rows_of(scratch.operator, "SELECT FROM failed_jobs WHERE tenant_id = %s", tenant) == []
    await locks.close()


async def retry_event(database: Database, tenant: UUID) -> FailedJob:
    (failure,) = await failures_of(database, tenant)
    with as_user(tenant):
        wanted = await JobServicer(SERVICE, database).RetryFailedJob(
            pb.RetryFailedJobRequest(id=failure.id)
        )
    assert wanted.HasField("retry_time")
    return failure


async def has(database: Database, tenant: UUID, count: int) -> bool:
    return len(await notes(database, tenant)) >= count
