import asyncio
import itertools
import os
import random
import signal
import time
from contextlib import asynccontextmanager, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from common import ids, rate_limit
from common.breaker import Breaker
from common.rate_limit import Bucket, RateLimiter
from common.redis_clients import Role, open_redis
from common.settings import load_settings
from common.sliding_window import LocalWindows
from ops.valkey import EmbeddedValkey

SECOND = 1_000_000


class IdealWindow:
    """A sliding window as the word says: every unit with its time."""

    def __init__(self, limit, seconds):
        self.limit, self.seconds, self.units = limit, seconds, []

    def used(self, now):
        return sum(now - moment < self.seconds for moment in self.units)

    def fits(self, now, cost=1):
        return self.used(now) + min(cost, self.limit) <= self.limit

    def take(self, now, cost=1):
        if fits := self.fits(now, cost):
            self.units += [now] * min(cost, self.limit)
        return fits


@pytest.fixture
async def redis(servers):
    async with Redis.from_url(servers.valkey.url) as redis:
        yield redis


@pytest.fixture
def patient(monkeypatch):
    """Redis may take its time, and must have decided whatever was not refused by memory."""
    monkeypatch.setattr(rate_limit, "ANSWER_SECONDS", 10.0)
    before = decided_locally()
    yield
    assert decided_locally() == before


@pytest.fixture
def limiter(redis, patient):
    return RateLimiter(redis)


@pytest.fixture
def key():
    return f"rate_limit:tenant:{ids.new()}"


def bucket(key, limit=5, seconds=60.0, name="tenant"):
    return Bucket(name, key, limit, seconds)


async def uniform():
    for _ in range(150):
        await asyncio.sleep(0.004)
        yield 1


async def bursts_at_the_edge():
    for _ in range(6):
        # Just before a window of the first burst ends, and just after.
        for pause in (0.092, 0.012):
            await asyncio.sleep(pause)
            for _ in range(15):
                yield 1


async def poisson():
    chance = random.Random(7)
    for _ in range(150):
        await asyncio.sleep(chance.expovariate(250))
        yield chance.choice((1, 1, 1, 2, 3, 12))


@pytest.mark.parametrize("arrivals", [uniform, bursts_at_the_edge, poisson])
async def test_what_is_let_in_is_what_an_ideal_window_lets_in(redis, patient, key, arrivals):
    ideal, narrow = IdealWindow(10, 0.1), bucket(key, limit=10, seconds=0.1)
    processes = itertools.cycle([RateLimiter(redis), RateLimiter(redis)])
    taken = refused = 0

    async for cost in arrivals():
        verdict = await next(processes).take([narrow], cost)
        if verdict.taken:
            assert ideal.take(verdict.time, cost)
            assert verdict.remaining == 10 - ideal.used(verdict.time)
            taken += 1
        else:
            # A process that refuses by what it remembers reads its own clock a moment later.
            assert not ideal.fits(verdict.time - 0.001, cost)
            refused += 1

    # Both happened; how often each did, a busy machine decides.
    assert taken > 20
    assert refused > 0


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 7)), max_size=60), st.integers(1, 6))
def test_so_is_what_a_process_lets_in_by_itself(arrivals, limit):
    now = 0
    windows, ideal = LocalWindows(lambda: now), IdealWindow(limit, 60)
    only = [bucket("k", limit)]

    for pause, cost in arrivals:
        now += pause
        verdict = windows.look(only, cost)
        assert verdict.taken == ideal.take(now, cost)
        if verdict.taken:
            windows.record(only, cost, now)
        else:
            assert ideal.fits(now + verdict.retry_after_seconds, cost)
            assert not ideal.fits(now + verdict.retry_after_seconds - 1, cost)
        assert verdict.remaining == limit - ideal.used(now)


async def test_all_buckets_are_charged_or_none(redis, patient, key):
    user, tenant = bucket(f"{key}:user", 5, name="user"), bucket(key, 3)

    # A process each: none refuses by what it remembers.
    verdicts = [await RateLimiter(redis).take([user, tenant]) for _ in range(5)]

    assert [verdict.taken for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.bucket.name for verdict in verdicts] == ["tenant"] * 5
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert (await redis.llen(user.key), await redis.llen(tenant.key)) == (3, 3)


async def test_the_narrowest_bucket_is_the_one_with_least_left(limiter, key):
    user, tenant = bucket(f"{key}:user", 5, name="user"), bucket(key, 7)

    first = await limiter.take([user, tenant])
    others = [await limiter.take([tenant]) for _ in range(3)]
    last = await limiter.take([user, tenant])

    assert (first.bucket, first.remaining) == (user, 4)
    assert [verdict.remaining for verdict in others] == [5, 4, 3]
    assert (last.bucket, last.remaining) == (tenant, 2)


async def test_all_who_come_at_once_share_one_limit(redis, patient, key):
    processes = [RateLimiter(redis) for _ in range(4)]
    narrow = bucket(key, 50)

    verdicts = await asyncio.gather(*(processes[n % 4].take([narrow]) for n in range(500)))

    assert sum(verdict.taken for verdict in verdicts) == 50
    assert await redis.llen(key) == 50


async def test_a_request_weighs_what_it_costs_and_at_most_everything(redis, patient, key):
    wide, narrow = bucket(key, 50), bucket(f"{key}:user", 10)

    heavy = await RateLimiter(redis).take([wide], 20)
    heavier = await RateLimiter(redis).take([wide], 31)
    exact = await RateLimiter(redis).take([wide], 30)
    heaviest = await RateLimiter(redis).take([narrow], 11)

    assert [heavy.remaining, exact.remaining, heaviest.remaining] == [30, 0, 0]
    assert (heavier.taken, heavier.remaining) == (False, 30)
    assert heaviest.taken


async def test_the_time_to_come_back_is_the_moment_when_there_is_room(limiter, key):
    short = bucket(key, 2, seconds=0.3)
    first = await limiter.take([short])
    await asyncio.sleep(0.1)
    await limiter.take([short])

    one, both = await limiter.take([short], 1), await limiter.take([short], 2)
    admitted = await until_taken(limiter, short)

    assert one.retry_after_seconds < both.retry_after_seconds <= 0.3
    assert one.reset == pytest.approx(first.time + 0.3, abs=0.02)
    assert admitted.time >= first.time + 0.3
    assert admitted.reset == pytest.approx(first.time + 0.4, abs=0.05)


async def until_taken(limiter, only):
    async with asyncio.timeout(5):
        while not (verdict := await limiter.take([only])).taken:
            await asyncio.sleep(0.002)
        return verdict


async def test_no_key_outlives_its_window_or_outgrows_its_limit(redis, patient, key):
    narrow = bucket(key, 600)
    for _ in range(3):
        process = RateLimiter(redis)
        await asyncio.gather(*(process.take([narrow]) for _ in range(700)))

    assert await redis.llen(key) == 600
    assert 0 < await redis.pttl(key) <= 60_000
    assert await redis.memory_usage(key) < 20 * 600

    brief = bucket(f"{key}:brief", 5, seconds=0.05)
    await RateLimiter(redis).take([brief])
    async with asyncio.timeout(5):
        while await redis.exists(brief.key):
            await asyncio.sleep(0.01)


async def test_units_leave_the_log_one_by_one_as_their_time_comes(redis, patient, key):
    now = int(time.time() * SECOND)
    ages = [1, 20, 59, 61, 70, 100]
    await redis.rpush(key, *(now - age * SECOND for age in ages))

    verdict = await RateLimiter(redis).take([bucket(key, 10)])

    assert verdict.remaining == 10 - 3 - 1
    assert verdict.more_after_seconds == pytest.approx(1, abs=0.5)
    assert await redis.llen(key) == 4


@pytest.mark.parametrize(("ahead", "left"), [(30, 1), (3600, 4)])
async def test_a_clock_that_was_put_back_locks_nobody_out(redis, patient, key, ahead, left):
    await redis.rpush(key, *[int((time.time() + ahead) * SECOND)] * 3)

    verdict = await RateLimiter(redis).take([bucket(key, 5)])

    # By less than the window the old units count still; after more they mean nothing.
    assert (verdict.taken, verdict.remaining) == (True, left)
    assert await redis.llen(key) == 5 - left


async def test_a_flushed_redis_gives_nobody_a_second_budget(limiter, redis, key):
    narrow = bucket(key)
    for _ in range(5):
        assert (await limiter.take([narrow])).taken

    await redis.delete(key)

    assert not (await limiter.take([narrow])).taken


async def test_a_restarted_redis_is_taught_again(limiter, redis, key):
    await limiter.take([bucket(key)])

    await redis.script_flush()

    assert (await limiter.take([bucket(key)])).remaining == 3
    assert await redis.llen(key) == 2


@pytest.fixture
def valkey(tmp_path):
    with EmbeddedValkey(tmp_path) as server:
        yield server


@pytest.fixture
async def client(valkey):
    async with open_redis(load_settings({"REDIS_URL": valkey.url}), Role.LIMITS) as client:
        yield client


@contextmanager
def paused(valkey):
    pid = valkey.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def gone(valkey, client):
    with paused(valkey):
        yield


@asynccontextmanager
async def dead(valkey, client):
    os.kill(valkey.pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def out_of_memory(valkey, client):
    async with Redis.from_url(valkey.url) as operator:
        await operator.config_set("maxmemory", "1")
        yield
        await operator.config_set("maxmemory", "0")


@asynccontextmanager
async def demoted(valkey, client):
    async with Redis.from_url(valkey.url) as operator:
        await operator.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        await operator.execute_command("REPLICAOF", "NO", "ONE")


def decided_locally():
    return REGISTRY.get_sample_value("kv_erp_rate_limit_local_total") or 0


@pytest.mark.parametrize("trouble", [gone, dead, out_of_memory, demoted])
async def test_without_redis_each_process_lets_in_its_share(valkey, client, key, trouble):
    limiter, before = RateLimiter(client, replicas=3), decided_locally()
    shared = bucket(key, 30)

    async with trouble(valkey, client):
        began = time.monotonic()
        verdicts = [await limiter.take([shared]) for _ in range(40)]
        seconds = time.monotonic() - began

    assert [verdict.taken for verdict in verdicts] == [True] * 10 + [False] * 30
    assert verdicts[9].remaining == 0
    assert decided_locally() - before == 40
    # Three wait for Redis in vain and, once a second, one that looks whether it is back.
    assert seconds < 1


async def test_who_used_up_the_limit_with_redis_gets_nothing_without(valkey, client, key, patient):
    limiter, shared = RateLimiter(client), bucket(key, 5)
    for _ in range(5):
        await limiter.take([shared])

    async with dead(valkey, client):
        assert not (await limiter.take([shared])).taken


async def test_redis_that_is_back_is_asked_again(valkey, client, key):
    limiter = RateLimiter(client)
    limiter._breaker = Breaker("rate limits", probe_seconds=0.05)
    wide = bucket(key, 1_000_000)
    async with gone(valkey, client):
        for _ in range(5):
            await limiter.take([wide])
    before = await client.llen(key)

    async with asyncio.timeout(10):
        while await client.llen(key) < before + 2:
            await limiter.take([wide])
            await asyncio.sleep(0.01)

    assert not limiter._breaker.is_open


async def test_who_is_over_the_limit_costs_redis_nothing(limiter, redis, key):
    narrow = bucket(key)
    for _ in range(5):
        await limiter.take([narrow])

    async def scripts():
        return (await redis.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0)

    before = await scripts()
    refusals = [await limiter.take([narrow]) for _ in range(50)]

    assert not any(verdict.taken for verdict in refusals)
    assert await scripts() == before


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_through_in_a_while(monkeypatch):
    now = 100.0
    monkeypatch.setattr("common.breaker.time.monotonic", lambda: now)
    breaker = Breaker("a test", failures=2, probe_seconds=5)

    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.lets_through()
    breaker.failed()

    assert not breaker.lets_through()
    now += 5
    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert breaker.lets_through()
