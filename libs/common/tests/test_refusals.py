"""Whom Redis refused a moment ago."""

import pytest
from redis.asyncio import Redis

from common import ids, rate_limit, sliding_window
from common.rate_limit import Bucket, RateLimiter
from common.sliding_window import Refusals, Verdict


@pytest.fixture
async def redis(servers):
    async with Redis.from_url(servers.valkey.url) as redis:
        yield redis


def bucket(key):
    return Bucket("tenant", key, 5, 60.0)


async def test_whom_redis_refused_costs_it_nothing(redis, monkeypatch):
    # Redis may take its time, and so may we.
    monkeypatch.setattr(rate_limit, "ANSWER_SECONDS", 10.0)
    monkeypatch.setattr(sliding_window, "_BELIEVED_SECONDS", 60.0)
    other, limiter = RateLimiter(redis), RateLimiter(redis)
    narrow = [bucket(f"rate_limit:{ids.new()}")]
    await other.take(narrow, 5)
    await limiter.take(narrow)

    async def scripts():
        return (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]

    before = await scripts()
    refusals = [await limiter.take(narrow) for _ in range(50)]

    assert not any(verdict.taken for verdict in refusals)
    assert await scripts() == before


def test_a_refusal_is_believed_until_there_is_room_and_for_a_second_at_most():
    now = 100.0
    refusals, soon, late = Refusals(lambda: now), bucket("soon"), bucket("late")
    refusals.record(Verdict(False, soon, 1, 5000.0, 0.5, 0.8), cost=2, moment=now)
    refusals.record(Verdict(False, late, 0, 5000.0, 9.0, 9.0), cost=1, moment=now)

    now = 100.6
    assert refusals.look([soon], cost=1) is None
    assert refusals.look([soon], cost=2).retry_after_seconds == pytest.approx(0.2)

    now = 100.9
    assert refusals.look([soon], cost=2) is None
    assert refusals.look([bucket("free"), late], cost=1).retry_after_seconds == pytest.approx(8.1)

    now = 101.1
    assert refusals.look([late], cost=1) is None
