"""What is enqueued is done: once, in order of priority, in fair turns, and in time."""

import asyncio
from uuid import UUID

import pytest
from redis.asyncio import Redis

from common import ids, jobs
from common.database import Database
from common.jobs.attempts import Limits
from common.jobs.worker import Pace
from common.testing import ServiceDatabase, rows_of
from common.tests.job_work import (
    QUICK,
    enqueued,
    eventually,
    forget_jobs,
    note,
    notes,
    states,
    worker,
    working,
)
from erp.sales.v1.events_pb2 import OrderCancelled, OrderConfirmed, OrderSettled


@pytest.fixture(autouse=True)
def no_jobs(scratch: ServiceDatabase) -> None:
    forget_jobs(scratch)


def order(number: object) -> OrderSettled:
    return OrderSettled(order_id=str(number))


@jobs.handles(OrderSettled)
async def write_note(work: jobs.Work[OrderSettled]) -> None:
    async with work.completion() as tx:
        await note(tx, work.message.order_id)


@jobs.handles(OrderCancelled)
async def do_nothing(work: jobs.Work[OrderCancelled]) -> None:
    """Leaves its completion to the engine."""


async def test_every_job_is_done_once_by_workers_that_race(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    await enqueued(database, tenant, lambda tx: [jobs.enqueue(tx, order(n)) for n in range(200)])
    team = [worker(database, redis, write_note) for _ in range(3)]

    async with working(*team):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 200})

    assert sorted(await notes(database, tenant)) == sorted(map(str, range(200)))


async def test_a_job_without_an_effect_is_completed_by_the_engine(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    cancelled = OrderCancelled(order_id="1")
    await enqueued(database, tenant, lambda tx: [jobs.enqueue(tx, cancelled) for _ in range(50)])

    async with working(worker(database, redis, do_nothing)):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 50})


async def test_a_job_whose_transaction_rolled_back_does_not_exist(
    scratch: ServiceDatabase, database: Database, tenant: UUID
) -> None:
    def fail(tx) -> None:
        jobs.enqueue(tx, order(1))
        raise LookupError

    with pytest.raises(LookupError):
        await enqueued(database, tenant, fail)

    assert states(scratch, tenant) == {}


async def test_a_handler_knows_its_job(database: Database, redis: Redis, tenant: UUID) -> None:
    seen = []

    @jobs.handles(OrderSettled)
    async def look(work: jobs.Work[OrderSettled]) -> None:
        seen.append((work.id, work.tenant_id, work.attempt, work.request_id, work.message))

    made = []
    await enqueued(database, tenant, lambda tx: made.append(jobs.enqueue(tx, order(7))))
    async with working(worker(database, redis, look)):
        await eventually(lambda: len(seen) == 1)

    assert seen == [(made[0], tenant, 1, "request", order(7))]


async def test_the_first_queue_is_emptied_before_the_second(
    database: Database, redis: Redis, tenant: UUID
) -> None:
    for queue in ("low", "default", "high"):
        await enqueued(
            database,
            tenant,
            lambda tx, queue=queue: [
                jobs.enqueue(tx, order(f"{queue} {number}"), queue=queue) for number in range(3)
            ],
        )
    one_by_one = Pace(1, QUICK.lease_seconds, QUICK.heartbeat_seconds)

    async with working(worker(database, redis, write_note, pace=one_by_one)):
        await eventually(lambda: has(database, tenant, 9))

    expected = [f"{queue} {number}" for queue in ("high", "default", "low") for number in range(3)]
    assert await notes(database, tenant) == expected


async def has(database: Database, tenant: UUID, count: int) -> bool:
    return len(await notes(database, tenant)) >= count


async def test_a_worker_leaves_the_queues_that_it_was_not_given(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order("low"), queue="low"))
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order("high"), queue="high"))

    async with working(worker(database, redis, write_note, queues=["high", "default"])):
        await eventually(lambda: has(database, tenant, 1))

    assert states(scratch, tenant) == {"succeeded": 1, "ready": 1}


async def test_a_tenant_with_thousands_of_jobs_does_not_keep_another_waiting(
    database: Database, redis: Redis, tenant: UUID
) -> None:
    noisy, started = ids.new(), []

    @jobs.handles(OrderSettled, queue="low")
    async def record(work: jobs.Work[OrderSettled]) -> None:
        started.append(work.tenant_id)

    for _ in range(10):
        await enqueued(
            database,
            noisy,
            lambda tx: [jobs.enqueue(tx, order(n), queue="low") for n in range(1000)],
        )
    async with working(worker(database, redis, record)):
        await eventually(lambda: len(started) > 0)
        before = len(started)
        await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1), queue="low"))
        await eventually(lambda: tenant in started)
        waited = started.index(tenant) - before

    assert waited < 1000
    assert len(started) < 10_000


async def test_a_delayed_job_waits_by_the_clock_of_the_database(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1), delay_seconds=1.0))
    assert states(scratch, tenant) == {"delayed": 1}

    async with working(worker(database, redis, write_note)):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 1})

    (waited,) = rows_of(
        scratch.operator,
        "SELECT extract(epoch FROM started_at - created_at) FROM finished_jobs WHERE tenant_id=%s",
        tenant,
    )[0]
    assert float(str(waited)) >= 1.0


async def test_one_transaction_enqueues_for_now_and_for_later(
    scratch: ServiceDatabase, database: Database, tenant: UUID
) -> None:
    def add(tx) -> None:
        jobs.enqueue(tx, order(1))
        jobs.enqueue(tx, order(2), delay_seconds=0.5)
        jobs.enqueue(tx, order(3), delay_seconds=60)

    await enqueued(database, tenant, add)

    assert states(scratch, tenant) == {"ready": 1, "delayed": 2}


async def test_a_unique_job_is_there_once_until_it_is_done(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    made = []

    def add(tx) -> None:
        made.append(jobs.enqueue(tx, order(len(made)), unique_key="report"))

    await asyncio.gather(*(enqueued(database, tenant, add) for _ in range(10)))
    assert states(scratch, tenant) == {"ready": 1}

    async with working(worker(database, redis, write_note)):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 1})
        await enqueued(database, tenant, add)
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 2})

    assert len(set(made)) == 1


async def test_a_job_that_fails_is_tried_again_and_then_kept(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    attempts = []

    @jobs.handles(OrderSettled, tries=3, backoff=0.01)
    async def fail(work: jobs.Work[OrderSettled]) -> None:
        attempts.append(work.attempt)
        raise LookupError("bad day")

    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1)))
    async with working(worker(database, redis, fail)):
        await eventually(lambda: states(scratch, tenant) == {"parked": 1})

    assert attempts == [1, 2, 3]
    assert rows_of(
        scratch.operator,
        "SELECT name, attempts, error FROM failed_jobs WHERE tenant_id = %s",
        tenant,
    ) == [("erp.sales.v1.OrderSettled", 3, "LookupError: bad day")]


@pytest.mark.parametrize(("own", "expected"), [(None, 2), (1, 1)])
async def test_the_command_line_says_how_often_to_try_unless_the_job_does(
    own: int | None,
    expected: int,
    scratch: ServiceDatabase,
    database: Database,
    redis: Redis,
    tenant: UUID,
) -> None:
    attempts = []

    @jobs.handles(OrderSettled, backoff=0.01)
    async def fail(work: jobs.Work[OrderSettled]) -> None:
        attempts.append(work.attempt)
        raise LookupError("bad day")

    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1), tries=own))
    async with working(worker(database, redis, fail, limits=Limits(2, 60))):
        await eventually(lambda: states(scratch, tenant) == {"parked": 1})

    assert len(attempts) == expected


async def test_an_attempt_that_takes_too_long_is_ended_and_has_failed(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    ended = []

    @jobs.handles(OrderSettled, tries=1, timeout=0.2)
    async def wait(work: jobs.Work[OrderSettled]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(work.id)

    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1)))
    async with working(worker(database, redis, wait)):
        await eventually(lambda: states(scratch, tenant) == {"parked": 1})

    assert len(ended) == 1
    errors = rows_of(scratch.operator, "SELECT error FROM failed_jobs WHERE tenant_id=%s", tenant)
    assert errors == [("It took longer than 0.2 seconds.",)]


async def test_time_that_is_over_in_a_transaction_lets_it_end(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    @jobs.handles(OrderSettled, tries=1, timeout=0.3)
    async def twice(work: jobs.Work[OrderSettled]) -> None:
        async with work.transaction() as tx:
            await note(tx, "first")
            await asyncio.sleep(0.6)
        async with work.transaction() as tx:
            await note(tx, "second")

    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1)))
    async with working(worker(database, redis, twice)):
        await eventually(lambda: states(scratch, tenant) == {"parked": 1})

    assert await notes(database, tenant) == ["first"]


async def test_progress_is_stored(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    @jobs.handles(OrderSettled)
    async def count(work: jobs.Work[OrderSettled]) -> None:
        for number in range(1, 101):
            await work.report(number, 100)

    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1)))
    async with working(worker(database, redis, count)):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 1})

    query = "SELECT done, total FROM finished_jobs WHERE tenant_id = %s"
    assert rows_of(scratch.operator, query, tenant) == [(100, 100)]


async def test_without_redis_jobs_are_found_by_polling(
    scratch: ServiceDatabase, database: Database, tenant: UUID
) -> None:
    async with (
        Redis.from_url("redis://127.0.0.1:1/0") as nobody,
        working(worker(database, nobody, write_note)),
    ):
        await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1)))
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 1})


def test_one_message_has_one_handler_in_a_worker(database: Database, redis: Redis) -> None:
    @jobs.handles(OrderSettled, queue="high")
    async def another(work: jobs.Work[OrderSettled]) -> None: ...

    worker(database, redis, another)
    with pytest.raises(ValueError, match="two functions handle"):
        worker(database, redis, another, write_note)


def test_a_lease_is_more_than_three_heartbeats() -> None:
    with pytest.raises(ValueError, match="three heartbeats"):
        Pace(lease_seconds=6, heartbeat_seconds=2)


async def test_a_worker_that_ends_finishes_or_gives_back_at_once(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    started: list[str] = []

    @jobs.handles(OrderSettled)
    async def patient(work: jobs.Work[OrderSettled]) -> None:
        started.append(work.message.order_id)
        await asyncio.sleep(0.3 if work.message.order_id == "short" else 600)

    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order("short")))
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order("long")))
    pace = Pace(4, lease_seconds=600, heartbeat_seconds=100, grace_seconds=1)
    async with working(worker(database, redis, patient, pace=pace)):
        await eventually(lambda: sorted(started) == ["long", "short"])

    assert states(scratch, tenant) == {"succeeded": 1, "ready": 1}
    query = "SELECT attempt, deaths FROM jobs WHERE tenant_id = %s"
    assert rows_of(scratch.operator, query, tenant) == [(0, 0)]


async def test_jobs_without_a_handler_here_are_left_to_others(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, OrderConfirmed(order_id="1")))
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, order(1)))

    async with working(worker(database, redis, write_note)):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 1, "ready": 1})
