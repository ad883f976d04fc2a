"""Workers, Redis and PostgreSQL die in the middle of jobs: each job is still done, and once."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from common import jobs, outbox
from common.database import Database, Transaction
from common.jobs.bell import JobBell
from common.jobs.enqueueing import store_jobs
from common.jobs_testing import eventually
from common.redis_clients import Role, connect
from common.testing import rows_of
from common.tests.job_faults import LEASE_SECONDS, PATIENCE_SECONDS, Site
from common.tests.job_process import AFTER_COMMIT, BEFORE_EFFECT, KILL, LONG
from common.tests.job_work import enqueued, states
from common.tests.scratch import make_scratch
from erp.sales.v1.events_pb2 import OrderCancelled, OrderSettled, OrderShipped
from ops.postgres import UNSYNCED, EmbeddedPostgres
from ops.valkey import EmbeddedValkey

pytestmark = pytest.mark.first

DAY_SECONDS = 86_400.0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with (
        EmbeddedPostgres(folder / "postgres", settings=UNSYNCED) as postgres,
        EmbeddedValkey(folder / "valkey") as valkey,
    ):
        yield Site(postgres, valkey, make_scratch(postgres.superuser_url), folder)


@pytest.fixture
def site(built: Site) -> Iterator[Site]:
    built.forget_jobs()
    yield built
    built.kill_workers()
    built.mend_redis()


@pytest.fixture
async def shop(site: Site) -> AsyncIterator[Database]:
    """The service's database in this process, where jobs are enqueued."""
    redis = connect(site.valkey.url, Role.EVENTS)
    bell = JobBell("notes", redis)
    ringing = asyncio.create_task(bell.run())
    database = Database(
        site.scratch.app,
        write_events=outbox.write_events("notes"),
        write_jobs=store_jobs({}),
        wake=bell.ring,
    )
    yield database
    ringing.cancel()
    await database.close()
    await redis.aclose()


def order(what: object) -> OrderSettled:
    return OrderSettled(order_id=str(what))


def done(count: int) -> dict[str, int]:
    return {"succeeded": count}


async def test_a_job_whose_worker_is_killed_before_its_effect_is_done_by_another(
    site: Site, shop: Database, tenant: UUID
) -> None:
    site.start_worker()
    site.start_worker()
    await enqueued(shop, tenant, lambda tx: jobs.enqueue(tx, order(BEFORE_EFFECT)))

    await site.struck(tenant, signal.SIGKILL)
    killed = time.monotonic()
    await eventually(lambda: states(site.scratch, tenant) == done(1))

    assert time.monotonic() - killed < LEASE_SECONDS + 1 + PATIENCE_SECONDS
    assert site.effects(tenant) == [(BEFORE_EFFECT, 2)]


async def test_a_job_whose_worker_is_killed_right_after_the_commit_is_not_done_again(
    site: Site, shop: Database, tenant: UUID
) -> None:
    victim = site.start_worker()
    await enqueued(shop, tenant, lambda tx: jobs.enqueue(tx, order(AFTER_COMMIT)))
    await eventually(lambda: site.effects(tenant) != [])

    victim.kill()
    # Taken over at the same time as what is left over of the dead worker, if it were.
    site.start_worker()
    await enqueued(shop, tenant, lambda tx: jobs.enqueue(tx, order(1), delay_seconds=LEASE_SECONDS))
    await eventually(lambda: states(site.scratch, tenant) == done(2))

    assert site.effects(tenant) == [(AFTER_COMMIT, 1), ("1", 1)]


async def test_a_job_that_kills_its_workers_is_parked_after_three_and_others_are_done(
    site: Site, shop: Database, tenant: UUID
) -> None:
    await enqueued(shop, tenant, lambda tx: jobs.enqueue(tx, order(KILL)))
    for _ in range(3):
        victim = site.start_worker()
        assert await asyncio.to_thread(victim.wait, 60) == -signal.SIGKILL

    await enqueued(shop, tenant, lambda tx: jobs.enqueue(tx, order(1)))
    survivor = site.start_worker()
    await eventually(lambda: states(site.scratch, tenant) == {"succeeded": 1, "parked": 1})

    assert survivor.poll() is None
    query = "SELECT attempts, deaths, error FROM failed_jobs WHERE tenant_id = %s"
    ((attempts, deaths, error),) = rows_of(site.scratch.operator, query, tenant)
    assert (attempts, deaths) == (3, 3)
    assert str(error).startswith("The worker died")


async def test_what_redis_loses_is_done_all_the_same(
    site: Site, shop: Database, tenant: UUID
) -> None:
    site.start_worker()
    for faults, fault in enumerate((site.flush_redis, site.hang_redis, site.kill_redis)):
        enqueuing = asyncio.create_task(enqueue_one_by_one(shop, tenant, faults * 40))
        await eventually(lambda at_least=faults * 20: len(site.effects(tenant)) > at_least)
        fault()
        await enqueuing
        await eventually(
            lambda count=(faults + 1) * 40: states(site.scratch, tenant) == done(count)
        )
        site.mend_redis()

    assert sorted(site.effects(tenant)) == sorted((str(number), 1) for number in range(0, 120, 2))


async def enqueue_one_by_one(shop: Database, tenant: UUID, first: int) -> None:
    for number in range(first, first + 40):
        await enqueued(shop, tenant, lambda tx, number=number: either(tx, number))


def either(tx: Transaction, number: int) -> None:
    """Every second job has an effect, the others are completed by the engine."""
    jobs.enqueue(tx, OrderCancelled(order_id="") if number % 2 else order(number))


async def test_postgres_is_restarted_in_the_middle(
    site: Site, shop: Database, tenant: UUID
) -> None:
    await enqueued(shop, tenant, lambda tx: [either(tx, number) for number in range(400)])
    site.start_worker()
    await eventually(lambda: site.effects(tenant) != [])

    await asyncio.to_thread(site.postgres.stop)
    await asyncio.to_thread(site.postgres.start)
    await eventually(lambda: states(site.scratch, tenant) == done(400))

    assert sorted(name for name, _ in site.effects(tenant)) == sorted(
        str(number) for number in range(0, 400, 2)
    )


async def test_a_worker_with_a_wrong_clock_neither_hurries_nor_takes_what_is_alive(
    site: Site, shop: Database, tenant: UUID
) -> None:
    def add(tx: Transaction) -> None:
        jobs.enqueue(tx, order(f"{LONG} 1"))
        jobs.enqueue(tx, order("delayed"), delay_seconds=2 * LEASE_SECONDS)

    await enqueued(shop, tenant, add)
    site.start_worker(clock=DAY_SECONDS)
    site.start_worker(clock=-DAY_SECONDS)
    await eventually(lambda: ("delayed", 1) in site.effects(tenant))

    # Its lease has been over twice, had its worker not lived: nobody took it over.
    assert states(site.scratch, tenant) == {"succeeded": 1, "running": 1}
    assert site.effects(tenant) == [("delayed", 1)]
    query = """
        SELECT extract(epoch FROM started_at - created_at) FROM finished_jobs WHERE tenant_id = %s
    """
    ((waited,),) = rows_of(site.scratch.operator, query, tenant)
    assert float(str(waited)) >= 2 * LEASE_SECONDS

    await site.struck(tenant, signal.SIGKILL)
    killed = time.monotonic()
    await eventually(lambda: states(site.scratch, tenant) == done(2))

    assert time.monotonic() - killed < LEASE_SECONDS + 1 + PATIENCE_SECONDS
    assert site.effects(tenant) == [("delayed", 1), (f"{LONG} 1", 2)]


async def test_a_batch_whose_worker_is_killed_ends_once(
    site: Site, shop: Database, tenant: UUID
) -> None:
    await enqueued(shop, tenant, batch_of_twenty)
    site.start_worker()
    await site.struck(tenant, signal.SIGKILL)
    site.start_worker()
    await eventually(lambda: states(site.scratch, tenant) == done(21))

    assert_batch_is_done_once(site, tenant)


async def test_a_batch_whose_worker_slept_and_was_replaced_ends_once(
    site: Site, shop: Database, tenant: UUID
) -> None:
    await enqueued(shop, tenant, batch_of_twenty)
    site.start_worker()
    worker = await site.put_to_sleep(tenant)
    site.start_worker()
    await eventually(lambda: states(site.scratch, tenant) == done(21))

    # It wakes up with jobs at hand that others have done meanwhile, and goes on to the end.
    worker.send_signal(signal.SIGCONT)
    await eventually(lambda: "job superseded" in site.log())
    worker.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 30) == 0

    assert states(site.scratch, tenant) == done(21)
    assert_batch_is_done_once(site, tenant)


def batch_of_twenty(tx: Transaction) -> None:
    members = [order(f"{BEFORE_EFFECT} {number}") for number in range(5)]
    members += [order(number) for number in range(15)]
    jobs.batch(tx, members, name="batch", finally_=OrderShipped(order_id="finally"))


def assert_batch_is_done_once(site: Site, tenant: UUID) -> None:
    names = [name for name, _ in site.effects(tenant)]
    assert len(names) == len(set(names)) == 21
    assert names[-1] == "finally"
    query = "SELECT total, succeeded, failed FROM job_batches WHERE tenant_id = %s"
    assert rows_of(site.scratch.operator, query, tenant) == [(20, 20, 0)]


async def test_at_sigterm_what_is_not_done_is_given_back_at_once(
    site: Site, shop: Database, tenant: UUID
) -> None:
    lease = 600
    site.start_worker(KV_ERP_JOB_LEASE_SECONDS=lease)
    await enqueued(shop, tenant, lambda tx: jobs.enqueue(tx, order(f"{LONG} 1")))

    worker = await site.struck(tenant, signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 30) == 0

    assert states(site.scratch, tenant) == {"ready": 1}
    query = "SELECT attempt, failures, deaths FROM jobs WHERE tenant_id = %s"
    assert rows_of(site.scratch.operator, query, tenant) == [(0, 0, 0)]
