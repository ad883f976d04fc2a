"""Locks keep everybody else out, in order of arrival, and never hold up the work for long."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from fault_proxy import FaultProxy
from redis.asyncio import Redis
from sqlalchemy import text

from common import deadline, ids, lock_scripts
from common.database import Database
from common.held_locks import LockLost, LockTimeout
from common.locks import Lock, Locks
from common.testing import TestServers, as_user

# Machines under test are slow now and then; only the tests about slowness give up early.
PATIENT_SECONDS = 10.0


@asynccontextmanager
async def process(url: str, answer_seconds: float = PATIENT_SECONDS) -> AsyncIterator[Locks]:
    """Locks as one process has them."""
    async with Redis.from_url(url) as redis:
        locks = Locks(redis, "test", answer_seconds)
        yield locks
        await locks.close()


@pytest.fixture
async def locks(servers: TestServers) -> AsyncIterator[Locks]:
    async with process(servers.valkey.url) as locks:
        yield locks


@pytest.fixture
async def others(servers: TestServers) -> AsyncIterator[Locks]:
    async with process(servers.valkey.url) as locks:
        yield locks


@pytest.fixture
async def redis(servers: TestServers) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.valkey.url) as client:
        yield client


@pytest.fixture
async def proxy(servers: TestServers) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(servers.valkey.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def as_tenant(tenant: UUID):
    with as_user(tenant):
        yield


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.005)


async def waiting(redis: Redis, tenant: UUID, resource: str) -> int:
    return await redis.zcard(f"lock_queue:{{lock:{tenant}:{resource}}}")


async def test_one_at_a_time_in_order_of_arrival(locks, others, redis, tenant):
    turns = []
    inside = 0

    async def work(number: int) -> None:
        nonlocal inside
        async with (locks, others)[number % 2].hold("till"):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            turns.append(number)
            inside -= 1

    async with locks.hold("till"):
        tasks = []
        for number in range(20):
            tasks.append(asyncio.create_task(work(number)))
            await until(lambda queued=number: _is(waiting(redis, tenant, "till"), queued + 1))
    await asyncio.gather(*tasks)

    assert turns == list(range(20))
    assert await redis.keys(f"*{tenant}*") == []


async def _is(found: Awaitable[object], wanted: object) -> bool:
    return await found == wanted


async def test_a_lock_is_named_by_tenant_and_resource_and_never_without_an_end(
    locks, redis, tenant
):
    product, warehouse = ids.new(), ids.new()

    async with locks.stock_lock(product, warehouse), locks.account_lock(product):
        stock = f"lock:{tenant}:stock:{product}:{warehouse}"
        account = f"lock:{tenant}:account:{product}"

        assert await redis.exists(stock, account) == 2
        assert 9_000 < await redis.pttl(stock) <= 10_000
        assert 29_000 < await redis.pttl(account) <= 30_000


async def test_tenants_do_not_wait_for_each_other(locks):
    async with locks.hold("period"):
        with as_user(ids.new()):
            async with locks.hold("period", wait_seconds=0) as lock:
                assert lock.held
        async with locks.hold("period", wait_seconds=0, system_wide=True) as lock:
            assert lock.held


async def test_who_names_the_same_resources_in_another_order_does_not_deadlock(locks, others):
    async def work(who: Locks, *resources: str) -> None:
        for _ in range(30):
            async with who.hold(*resources, wait_seconds=20) as lock:
                assert lock.held

    await asyncio.gather(
        work(locks, "a", "b", "c"), work(others, "c", "b", "a"), work(others, "b", "a")
    )


async def test_who_waits_in_vain_is_told_what_is_busy_and_leaves_no_trace(
    locks, others, redis, tenant
):
    async with locks.hold("b"):
        with pytest.raises(LockTimeout, match="working on b"):
            async with others.hold("a", "b", wait_seconds=0.05):
                pytest.fail("entered")

        assert await redis.keys(f"*{tenant}*") == [f"lock:{tenant}:b".encode()]


async def test_nobody_waits_past_the_deadline_of_the_request(locks, others):
    started = time.monotonic()

    async with locks.hold("till"):
        with deadline.within(0.1), pytest.raises(LockTimeout):
            async with others.hold("till", wait_seconds=30):
                pytest.fail("entered")

    assert time.monotonic() - started < 5


async def test_a_dead_waiter_is_passed_over_at_once(locks, others, servers, redis, tenant):
    async with process(servers.valkey.url) as dying:
        async with locks.hold("till"):
            dead = asyncio.create_task(dying.acquire("till"))
            await until(lambda: _is(waiting(redis, tenant, "till"), 1))
            alive = asyncio.create_task(others.acquire("till"))
            await until(lambda: _is(waiting(redis, tenant, "till"), 2))
            # Its connections end as those of a killed process do; its place remains.
            await dying._wakeups.close()
            dying._scripts = None
            await until(
                lambda: _is(redis.pubsub_numsub(dying._channel), [(dying._channel.encode(), 0)])
            )
        started = time.monotonic()

        await others.release(await alive)

        assert time.monotonic() - started < lock_scripts.CLAIM_SECONDS
        dead.cancel()
        await asyncio.gather(dead, return_exceptions=True)
        dying._leftovers._waiting.clear()


async def test_a_frozen_waiter_delays_the_next_by_its_claim_only(
    locks, others, redis, tenant, servers
):
    frozen = Redis.from_url(servers.valkey.url)
    channel = frozen.pubsub()
    await channel.subscribe("frozen")
    async with locks.hold("till", ttl_seconds=30):
        await redis.zadd(f"lock_queue:{{lock:{tenant}:till}}", {"frozen/1": 0})
        alive = asyncio.create_task(others.acquire("till"))
        await until(lambda: _is(waiting(redis, tenant, "till"), 2))
    started = time.monotonic()

    await others.release(await alive)

    assert lock_scripts.CLAIM_SECONDS * 0.9 < time.monotonic() - started < 3
    await channel.aclose()
    await frozen.aclose()


async def test_a_lock_outlives_its_ttl_while_its_holder_works(locks, others):
    async with locks.hold("till", ttl_seconds=0.6) as lock:
        first_end = lock.expires
        await until(lambda: _after(first_end + 0.2))

        assert not lock.lost
        with pytest.raises(LockTimeout):
            await others.acquire("till", wait_seconds=0)


async def _after(moment: float) -> bool:
    return time.monotonic() > moment


async def test_a_dead_holder_bars_others_for_its_ttl_only(locks, others, redis, tenant):
    await redis.set(f"lock:{tenant}:till", "dead/1", px=300)

    async with others.hold("till", wait_seconds=10) as lock:
        assert lock.held


async def test_only_the_owner_releases(locks, others):
    async with locks.hold("till"):
        mine = await others.acquire("tills")
        theirs = Lock(("till",), (mine.keys[0].removesuffix("s"),), mine.token, 30.0, held=True)

        await others.release(theirs)
        await others.release(mine)

        with pytest.raises(LockTimeout):
            await others.acquire("till", wait_seconds=0)


async def test_a_transaction_refuses_to_commit_once_a_lock_is_lost(
    locks, redis, database: Database, tenant
):
    insert = text("INSERT INTO notes (id, body) VALUES (:id, 'late')")

    with pytest.raises(LockLost):
        async with locks.hold("till", ttl_seconds=0.3) as lock, database.tenant_transaction() as tx:
            await tx.execute(insert, {"id": ids.new()})
            await redis.set(f"lock:{tenant}:till", "somebody else")
            await until(lambda: _true(lock.lost))

    async with database.tenant_transaction() as tx:
        assert await tx.scalar(text("SELECT count(*) FROM notes")) == 0
    await redis.delete(f"lock:{tenant}:till")


async def _true(found: object) -> object:
    return found


async def test_a_flush_loses_the_lock_and_keeps_nobody_waiting(locks, others, redis, tenant):
    async with locks.hold("till", ttl_seconds=0.6) as lock:
        waiter = asyncio.create_task(others.acquire("till"))
        await until(lambda: _is(waiting(redis, tenant, "till"), 1))
        await redis.delete(f"lock:{tenant}:till", f"lock_queue:{{lock:{tenant}:till}}")

        taken = await asyncio.wait_for(waiter, 5)
        await until(lambda: _true(lock.lost))

    assert taken.held
    await others.release(taken)


async def test_a_lock_taken_by_a_lost_answer_is_taken_once_and_freed(proxy, others):
    async with process(f"redis://127.0.0.1:{proxy.port}/0") as locks:
        async with locks.hold("warm"):
            pass
        proxy.cut_reply(b"EVALSHA")

        async with locks.hold("till") as lock:
            assert lock.held
            with pytest.raises(LockTimeout):
                await others.acquire("till", wait_seconds=0)

    assert proxy.cuts_done == 1
    await others.release(await others.acquire("till", wait_seconds=0))


async def test_a_lost_answer_to_a_release_holds_up_nobody(proxy, others):
    async with process(f"redis://127.0.0.1:{proxy.port}/0") as locks:
        lock = await locks.acquire("till")
        proxy.cut_request(b"EVALSHA")

        await locks.release(lock)

        await others.release(await others.acquire("till", wait_seconds=10))


async def test_work_goes_on_when_redis_refuses(proxy):
    async with process(f"redis://127.0.0.1:{proxy.port}/0") as locks:
        await proxy.refuse()

        async with locks.hold("till") as lock:
            assert not lock.held
            assert not lock.lost


async def test_a_half_open_redis_costs_a_tenth_of_a_second_and_leaves_no_ghost(proxy, others):
    async with process(f"redis://127.0.0.1:{proxy.port}/0", answer_seconds=0.1) as locks:
        async with locks.hold("warm"):
            pass
        proxy.stall()
        started = time.monotonic()

        async with locks.hold("till") as lock:
            assert not lock.held
        seconds = time.monotonic() - started
        await proxy.pass_all()

        assert 0.1 <= seconds < 0.5
        await others.release(await others.acquire("till", wait_seconds=10))


async def test_without_memory_work_goes_on_and_what_is_held_is_freed(locks, others, redis):
    lock = await locks.acquire("till")
    await redis.config_set("maxmemory", "1")
    try:
        async with others.hold("other") as unprotected:
            assert not unprotected.held
        assert await locks.renew(lock)
        await locks.release(lock)
    finally:
        await redis.config_set("maxmemory", "0")

    await others.release(await others.acquire("till", wait_seconds=0))


async def test_connections_that_break_at_random_leave_every_lock_free(proxy, others, redis, tenant):
    async with process(f"redis://127.0.0.1:{proxy.port}/0") as locks:
        proxy.cut_at_random(0.2)

        async def work(number: int) -> None:
            for turn in range(20):
                async with locks.hold(f"r{(number + turn) % 3}", f"r{turn % 3}"):
                    pass

        await asyncio.gather(*map(work, range(5)))

        assert proxy.cuts_done
        await proxy.pass_all()
        await until(lambda: _is(redis.keys(f"lock:{tenant}:*"), []))
