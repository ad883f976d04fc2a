"""Jobs of a tenant complete together, and are claimed from all queues in fair turns."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import psycopg
import pytest
from redis.asyncio import Redis

from common import ids, jobs
from common.database import Database, Transaction
from common.jobs.claims import Claims
from common.jobs.worker import Pace
from common.testing import ServiceDatabase, rows_of
from common.tests.job_work import (
    enqueued,
    eventually,
    forget_jobs,
    note,
    notes,
    states,
    worker,
    working,
)
from erp.sales.v1.events_pb2 import OrderConfirmed, OrderSettled


@pytest.fixture(autouse=True)
def no_jobs(scratch: ServiceDatabase) -> None:
    forget_jobs(scratch)


def order(number: object) -> OrderSettled:
    return OrderSettled(order_id=str(number))


async def write_notes(tx: Transaction, bodies: Sequence[str]) -> None:
    """What several jobs write; one bad day fails all of them."""
    for body in bodies:
        await note(tx, body)
    if "bad" in bodies:
        raise LookupError("bad day")


@jobs.handles(OrderConfirmed, tries=1)
async def write_together(work: jobs.Work[OrderConfirmed]) -> None:
    await work.complete(write_notes, work.message.order_id)


async def test_jobs_that_complete_together_share_a_commit_and_no_failure(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    names = [*map(str, range(20)), "bad", *map(str, range(20, 40))]
    await enqueued(
        database, tenant, lambda tx: [jobs.enqueue(tx, OrderConfirmed(order_id=n)) for n in names]
    )

    async with working(worker(database, redis, write_together, pace=Pace(16))):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 40, "parked": 1})

    assert sorted(await notes(database, tenant)) == sorted(map(str, range(40)))
    # The commit of a row and that of its effect are one, and were fewer than the rows.
    shared = """
        SELECT count(DISTINCT notes.xmin::text), count(DISTINCT finished_jobs.xmin::text)
        FROM notes, finished_jobs
        WHERE notes.tenant_id = %s AND finished_jobs.tenant_id = notes.tenant_id
    """
    ((effects, completions),) = rows_of(scratch.operator, shared, tenant)
    assert effects == completions
    assert int(str(effects)) < 40


async def test_what_another_attempt_has_taken_over_is_left_out_of_the_shared_commit(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    superseded: list[str] = []

    @jobs.handles(OrderConfirmed)
    async def robbed(work: jobs.Work[OrderConfirmed]) -> None:
        name = work.message.order_id
        if name == "robbed" and work.attempt == 1:
            with psycopg.connect(scratch.operator) as connection:
                connection.execute(
                    "UPDATE jobs SET state = 'ready', claim = NULL, lease_until = NULL"
                    " WHERE id = %s",
                    [work.id],
                )
        try:
            await work.complete(write_notes, f"{name} by {work.attempt}")
        except jobs.Superseded:
            superseded.append(name)
            raise

    names = ["1", "robbed", "2"]
    await enqueued(
        database, tenant, lambda tx: [jobs.enqueue(tx, OrderConfirmed(order_id=n)) for n in names]
    )
    async with working(worker(database, redis, robbed)):
        await eventually(lambda: states(scratch, tenant) == {"succeeded": 3})

    assert superseded == ["robbed"]
    assert sorted(await notes(database, tenant)) == ["1 by 1", "2 by 1", "robbed by 2"]


async def test_every_queue_gives_what_those_before_it_have_left(
    database: Database, tenant: UUID
) -> None:
    tenants = sorted([tenant, *(ids.new() for _ in range(2))])
    for each in tenants:
        for queue, count in (("high", 2), ("low", 20)):
            await enqueued(
                database,
                each,
                lambda tx, queue=queue, count=count: [
                    jobs.enqueue(tx, order(n), queue=queue) for n in range(count)
                ],
            )
    claims = Claims(database, [OrderSettled.DESCRIPTOR.full_name], 8)

    taken = [await claims.take(["high", "default", "low"], 10) for _ in range(3)]

    turns = [Counter((job.queue, tenants.index(job.tenant_id)) for job in some) for some in taken]
    assert turns[0] == {**{("high", n): 2 for n in range(3)}, **{("low", n): 1 for n in range(3)}}
    # Ten places for three tenants: each gets its share, beginning where the last turn ended.
    assert turns[1] == turns[2] == {("low", n): 3 for n in range(3)}


async def test_turns_go_round(database: Database, tenant: UUID) -> None:
    tenants = sorted([tenant, *(ids.new() for _ in range(2))])
    for each in tenants:
        await enqueued(database, each, lambda tx: [jobs.enqueue(tx, order(n)) for n in range(2)])
    claims = Claims(database, [OrderSettled.DESCRIPTOR.full_name], 8)

    taken = [await claims.take(["default"], 1) for _ in range(7)]

    assert [tenants.index(job.tenant_id) for some in taken for job in some] == [0, 1, 2, 0, 1, 2]
