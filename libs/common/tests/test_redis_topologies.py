"""The same clients and locks work over a Sentinel set, across a failover, and over a Cluster."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from redis.asyncio import Redis

from common.held_locks import LockTimeout
from common.locks import Locks
from common.redis_clients import Role, connect
from common.testing import as_user
from ops.valkey_sets import SentinelSet, ValkeyCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    with ValkeyCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def sentinels(tmp_path) -> Iterator[SentinelSet]:
    with SentinelSet(tmp_path) as sentinels:
        yield sentinels


@pytest.fixture(autouse=True)
def as_tenant(tenant: UUID):
    with as_user(tenant):
        yield


@asynccontextmanager
async def client(url: str, role: Role) -> AsyncIterator[Redis]:
    redis = connect(url, role)
    yield redis
    await redis.aclose()


@asynccontextmanager
async def process(url: str, answer_seconds: float = 10.0) -> AsyncIterator[Locks]:
    # Machines under test are slow now and then; only the failover is about giving up early.
    role = Role.LOCKS if answer_seconds < 1 else Role.QUEUE
    async with client(url, role) as redis:
        locks = Locks(redis, "test", answer_seconds)
        yield locks
        await locks.close()


async def test_in_a_cluster_locks_keep_others_out_and_are_handed_over(cluster):
    resources = [f"r{number}" for number in range(6)]
    inside = 0
    async with process(cluster.url) as ours, process(cluster.url) as theirs:

        async def work(locks: Locks) -> None:
            nonlocal inside
            for _ in range(10):
                async with locks.hold(*resources, wait_seconds=20) as lock:
                    inside += 1
                    assert (lock.held, inside) == (True, 1)
                    await asyncio.sleep(0)
                    inside -= 1

        await asyncio.gather(work(ours), work(theirs), work(ours))

        async with ours.hold("r1"):
            with pytest.raises(LockTimeout):
                await theirs.acquire("r0", "r1", "r2", wait_seconds=0)


async def test_a_cluster_carries_doorbells_pipelines_and_scripts(cluster):
    async with (
        client(cluster.url, Role.QUEUE) as queue,
        client(cluster.url, Role.EVENTS) as events,
        queue.pubsub(ignore_subscribe_messages=True) as bells,
    ):
        await bells.psubscribe("events:*")
        await bells.get_message(timeout=5)
        async with events.pipeline(transaction=False) as pipe:
            for tenant in range(3):
                pipe.publish(f"events:{tenant}", "rung")
            await pipe.execute()

        heard = {(await bells.get_message(timeout=5))["channel"] for _ in range(3)}

        assert heard == {b"events:0", b"events:1", b"events:2"}
        assert await events.eval("return redis.call('INCR', KEYS[1])", 1, "count") == 1
        assert await events.ping()


async def master_changes(sentinels: SentinelSet, old: int) -> None:
    while await asyncio.to_thread(sentinels.master_port) == old:
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "fault", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)]
)
async def test_a_failover_under_load_stops_no_work_and_ends_in_full_service(sentinels, fault):
    slowest = 0.0
    without_redis = 0
    enough = asyncio.Event()

    async def work(locks: Locks, number: int) -> None:
        nonlocal slowest, without_redis
        while not enough.is_set():
            started = time.monotonic()
            async with locks.hold(f"r{number}", ttl_seconds=30) as lock:
                without_redis += not lock.held
            slowest = max(slowest, time.monotonic() - started)
            await asyncio.sleep(0.01)

    async with process(sentinels.url, answer_seconds=0.1) as locks:
        workers = [asyncio.create_task(work(locks, number)) for number in range(4)]
        await asyncio.sleep(0)
        os.kill(sentinels.master.pid, fault)
        async with asyncio.timeout(20):
            await master_changes(sentinels, sentinels.master.port)
        elected = time.monotonic()
        while not await is_held(locks):
            assert time.monotonic() - elected < 5
        enough.set()
        await asyncio.gather(*workers)

    os.kill(sentinels.master.pid, signal.SIGCONT if fault == signal.SIGSTOP else 0)
    assert without_redis
    assert slowest < 2


async def is_held(locks: Locks) -> bool:
    async with locks.hold("probe") as lock:
        return lock.held
