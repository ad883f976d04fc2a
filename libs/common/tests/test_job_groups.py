"""Jobs that follow one another, that belong together, and that the clock enqueues."""

import asyncio
import types
from collections import Counter
from uuid import UUID

import psycopg
import pytest
from redis.asyncio import Redis

from common import ids, jobs
from common.database import Database
from common.jobs import batches, failures
from common.jobs.bell import JobBell
from common.jobs.schedules import SERVICE_WIDE, keep_schedules, schedules_of
from common.pagination import Page
from common.testing import ServiceDatabase, as_user, rows_of
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
from erp.sales.v1.events_pb2 import OrderCancelled, OrderConfirmed, OrderSettled, OrderShipped

pytestmark = pytest.mark.first


@pytest.fixture
def database(waking_database: Database) -> Database:
    return waking_database


@pytest.fixture(autouse=True)
def no_jobs(scratch: ServiceDatabase) -> None:
    forget_jobs(scratch)


class Day:
    """Whether orders can be worked on."""

    is_bad = False


def handlers_of(day: Day):
    @jobs.handles(OrderSettled, tries=1)
    async def settle(work: jobs.Work[OrderSettled]) -> None:
        if day.is_bad and work.message.order_id.startswith("bad"):
            raise LookupError("bad day")
        async with work.completion() as tx:
            await note(tx, work.message.order_id)

    @jobs.handles(OrderConfirmed)
    async def then(work: jobs.Work[OrderConfirmed]) -> None:
        async with work.completion() as tx:
            await note(tx, f"then {ids.new()}")

    @jobs.handles(OrderCancelled)
    async def catch(work: jobs.Work[OrderCancelled]) -> None:
        async with work.completion() as tx:
            await note(tx, f"catch {ids.new()}")

    @jobs.handles(OrderShipped)
    async def finally_(work: jobs.Work[OrderShipped]) -> None:
        async with work.completion() as tx:
            await note(tx, f"finally {ids.new()}")

    return settle, then, catch, finally_


FOLLOWING = {"then": OrderConfirmed(), "catch": OrderCancelled(), "finally_": OrderShipped()}


def order(number: object) -> OrderSettled:
    return OrderSettled(order_id=str(number))


async def batch_of(database: Database, tenant: UUID, *orders: str) -> UUID:
    made: list[UUID] = []

    def add(tx) -> None:
        made.append(jobs.batch(tx, [order(o) for o in orders], name="import", **FOLLOWING))

    await enqueued(database, tenant, add)
    return made[0]


async def state_of(database: Database, tenant: UUID, batch: UUID):
    with as_user(tenant):
        async with database.read_transaction() as tx:
            return await batches.get_batch(tx, batch)


async def followed(database: Database, tenant: UUID) -> list[str]:
    """What followed, in order."""
    words = {"then", "catch", "finally"}
    return [body.split()[0] for body in await notes(database, tenant) if body.split()[0] in words]


async def test_a_chain_is_done_in_its_order(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    first: list[UUID] = []
    links = [order(number) for number in range(5)]
    await enqueued(database, tenant, lambda tx: first.append(jobs.chain(tx, *links)))
    assert states(scratch, tenant) == {"ready": 1}

    team = [worker(database, redis, *handlers_of(Day())) for _ in range(2)]
    async with working(*team):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 5})

    assert await notes(database, tenant) == ["0", "1", "2", "3", "4"]
    query = "SELECT DISTINCT chain_id FROM finished_jobs WHERE tenant_id = %s"
    assert rows_of(scratch.operator, query, tenant) == [(first[0],)]


async def test_a_link_that_is_parked_stops_the_chain_until_it_is_retried(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    day = Day()
    day.is_bad = True
    links = [order("one"), order("bad"), order("three")]
    await enqueued(database, tenant, lambda tx: jobs.chain(tx, *links))

    async with working(worker(database, redis, *handlers_of(day))):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 1, "parked": 1})
        day.is_bad = False
        await retry_all(database, tenant)
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 3})

    assert await notes(database, tenant) == ["one", "bad", "three"]


async def retry_all(database: Database, tenant: UUID) -> None:
    with as_user(tenant):
        async with database.read_transaction() as tx:
            parked = await failures.list_failures(tx, Page(100, None))
        for row in parked:
            await database.run(lambda tx, row=row: failures.retry(tx, row.id))


async def test_a_batch_that_succeeds_is_followed_once(
    database: Database, redis: Redis, tenant: UUID
) -> None:
    batch = await batch_of(database, tenant, *map(str, range(40)))

    team = [worker(database, redis, *handlers_of(Day())) for _ in range(3)]
    async with working(*team):
        await eventually(lambda: has_followed(database, tenant, 2))

    row = await state_of(database, tenant, batch)
    assert (row.state, row.total, row.succeeded, row.failed) == ("succeeded", 40, 40, 0)
    assert sorted(await followed(database, tenant)) == ["finally", "then"]


async def has_followed(database: Database, tenant: UUID, count: int) -> bool:
    return len(await followed(database, tenant)) >= count


async def test_a_duplicate_counts_nothing_in_its_batch(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    twice = asyncio.Event()
    attempts: Counter[str] = Counter()

    @jobs.handles(OrderSettled)
    async def slow(work: jobs.Work[OrderSettled]) -> None:
        name = work.message.order_id
        attempts[name] += 1
        if name == "1" and work.attempt == 1:
            # Somebody takes it over, as if this worker were dead, and is done with it.
            with psycopg.connect(scratch.operator) as connection:
                connection.execute(
                    "UPDATE jobs SET state = 'ready', claim = NULL, lease_until = NULL"
                    " WHERE id = %s",
                    [work.id],
                )
            await twice.wait()
        if work.attempt == 2:
            twice.set()
        async with work.completion() as tx:
            await note(tx, f"{name} by {work.attempt}")

    _, *following = handlers_of(Day())
    batch = await batch_of(database, tenant, "1", "2", "3")
    async with working(worker(database, redis, slow, *following)):
        await eventually(lambda: has_followed(database, tenant, 2))

    row = await state_of(database, tenant, batch)
    assert (row.state, row.succeeded, attempts["1"]) == ("succeeded", 3, 2)
    assert sum(body.startswith("1 by") for body in await notes(database, tenant)) == 1


async def test_a_batch_that_fails_is_caught_once_and_mended_by_retries(
    database: Database, redis: Redis, tenant: UUID
) -> None:
    day = Day()
    day.is_bad = True
    batch = await batch_of(database, tenant, "good", "bad 1", "bad 2")

    async with working(worker(database, redis, *handlers_of(day))):
        await eventually(lambda: has_followed(database, tenant, 2))
        row = await state_of(database, tenant, batch)
        assert (row.state, row.succeeded, row.failed) == ("failed", 1, 2)
        assert sorted(await followed(database, tenant)) == ["catch", "finally"]

        day.is_bad = False
        await retry_all(database, tenant)
        await eventually(lambda: has_followed(database, tenant, 3))

    row = await state_of(database, tenant, batch)
    assert (row.state, row.succeeded, row.failed) == ("succeeded", 3, 0)
    assert sorted(await followed(database, tenant)) == ["catch", "finally", "then"]


async def test_a_batch_that_is_called_off_does_no_more(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    batch = await batch_of(database, tenant, "1", "2", "3")

    with as_user(tenant):
        cancelled = await database.run(lambda tx: batches.cancel(tx, batch))
        again = await database.run(lambda tx: batches.cancel(tx, batch))

    assert (cancelled.state, cancelled.cancelled) == ("cancelled", 3)
    assert again == cancelled
    async with working(worker(database, redis, *handlers_of(Day()))):
        await eventually(lambda: has_followed(database, tenant, 1))
    assert await followed(database, tenant) == ["finally"]
    assert states(scratch, tenant) == {"cancelled": 3, "succeeded": 1}


async def test_what_has_ended_cannot_be_called_off(
    database: Database, redis: Redis, tenant: UUID
) -> None:
    batch = await batch_of(database, tenant, "1")
    async with working(worker(database, redis, *handlers_of(Day()))):
        await eventually(lambda: has_followed(database, tenant, 2))

    with as_user(tenant), pytest.raises(batches.BatchHasEnded):
        await database.run(lambda tx: batches.cancel(tx, batch))


async def test_a_tick_is_enqueued_once_however_many_workers_there_are(
    scratch: ServiceDatabase, database: Database, redis: Redis
) -> None:
    others = [ids.new() for _ in range(3)]
    module = types.ModuleType("handlers")
    module.REPORT = jobs.Schedule(  # type: ignore[attr-defined]
        f"report {ids.new()}",
        OrderSettled(order_id="report"),
        every_seconds=1,
        tenants=f"SELECT unnest('{{{','.join(map(str, others))}}}'::uuid[]) AS tenant_id",
    )
    module.SWEEP = jobs.Schedule(  # type: ignore[attr-defined]
        f"sweep {ids.new()}", OrderCancelled(order_id="sweep"), every_seconds=1, queue="low"
    )
    schedules = schedules_of([module])
    bell = JobBell(SERVICE, redis)
    duties = [keep_schedules(database, schedules, {}, bell) for _ in range(3)]

    async def tick_until_all_have_one() -> bool:
        await asyncio.gather(*(duty.work() for duty in duties))
        found = rows_of(scratch.operator, "SELECT tenant_id, queue FROM jobs")
        return len(found) >= 4

    await eventually(tick_until_all_have_one)
    # Further ticks find the last one's jobs not done.
    await asyncio.sleep(1.1)
    await tick_until_all_have_one()

    found = sorted(map(str, rows_of(scratch.operator, "SELECT tenant_id, queue FROM jobs")))
    expected = [(other, "default") for other in others] + [(SERVICE_WIDE, "low")]
    assert found == sorted(map(str, expected))


def test_a_daily_schedule_counts_from_midnight() -> None:
    nightly = jobs.Schedule("nightly", OrderSettled(), daily_at="03:30")

    assert (nightly.period, nightly.shift) == (86_400, 12_600)
    with pytest.raises(ValueError, match="every_seconds or daily_at"):
        jobs.Schedule("never", OrderSettled())
