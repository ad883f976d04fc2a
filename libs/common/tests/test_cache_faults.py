"""The cache while Redis is killed, hung, or full."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from common import ids
from common.cache import Cache
from common.cache_testing import Source, running_cache, until, until_true
from common.testing import as_user
from ops.valkey import EmbeddedValkey

TTL = 60


@pytest.fixture
def prefix() -> str:
    return f"test_{ids.new().hex}"


@pytest.fixture
async def breakable(tmp_path) -> AsyncIterator[EmbeddedValkey]:
    """A server that the test may break."""
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        yield valkey


@pytest.fixture(autouse=True)
def caller(tenant: UUID) -> Iterator[None]:
    with as_user(tenant):
        yield


async def test_a_broken_link_empties_the_near_layer_until_it_stands_again(breakable, prefix):
    async with running_cache(breakable.url, prefix) as cache:
        source = Source(b"old")
        await until_true(lambda: kept_near(cache, source))
        source.value = b"new"

        os.kill(breakable.pid, signal.SIGKILL)
        breakable._process.wait()
        await until(lambda: not cache.link.stands)

        assert not cache._near._slots
        assert await cache.remember("a", TTL, source, near=True) == b"new"


async def kept_near(cache: Cache, source: Source) -> bool:
    await cache.remember("a", TTL, source, near=True)
    return any(slot.ends for slot in cache._near._slots.values())


async def test_without_redis_a_crowd_makes_it_at_most_twice(breakable, prefix):
    async with running_cache(breakable.url, prefix) as cache:
        breakable.stop()
        source = Source()

        values = await asyncio.gather(*(cache.remember("a", TTL, source) for _ in range(100)))

        assert set(values) == {b"value"}
        assert source.made <= 2


async def test_what_was_written_while_redis_was_killed_is_seen_when_it_is_back(breakable, prefix):
    url = breakable.url
    async with running_cache(url, prefix) as writer, running_cache(url, prefix) as reader:
        source = Source(b"old")
        await until_true(lambda: kept(reader, source))

        os.kill(breakable.pid, signal.SIGKILL)
        breakable._process.wait()
        source.value = b"new"
        await writer.flush("t")
        breakable.start()
        await reader.link.standing()

        assert await reader.remember("a", TTL, source, ("t",)) == b"new"
        await until(lambda: not writer._late)


async def test_a_flush_that_died_with_its_process_while_redis_was_away_is_made_up_for(
    breakable, prefix
):
    url = breakable.url
    async with running_cache(url, prefix) as reader:
        source = Source(b"old")
        async with running_cache(url, prefix) as writer:
            await until_true(lambda: kept(reader, source))
            os.kill(breakable.pid, signal.SIGKILL)
            breakable._process.wait()
            source.value = b"new"
            await writer.flush("t")

        breakable.start()
        await reader.link.standing()

        values = [await reader.remember("a", TTL, source, ("t",)) for _ in range(3)]

        assert values == [b"new"] * 3


async def test_without_redis_those_who_come_meanwhile_share_the_next_value(breakable, prefix):
    async with running_cache(breakable.url, prefix) as cache:
        breakable.stop()
        source = Source(b"old")
        source.may_end.clear()
        first = asyncio.create_task(cache.remember("a", TTL, source))
        await until(lambda: source.made)

        source.value = b"new"
        others = [asyncio.create_task(cache.remember("a", TTL, source)) for _ in range(50)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert source.made == 1
        source.may_end.set()

        assert await first == b"old"
        assert set(await asyncio.gather(*others)) == {b"new"}
        assert source.made == 2


async def kept(cache: Cache, source: Source) -> bool:
    before = source.made
    await cache.remember("a", TTL, source, ("t",))
    await cache.remember("a", TTL, source, ("t",))
    return source.made == before + 1


async def test_a_hung_redis_costs_little_and_its_values_are_not_believed_afterwards(
    breakable, prefix
):
    url = breakable.url
    async with running_cache(url, prefix) as writer, running_cache(url, prefix) as reader:
        source = Source(b"old")
        await until_true(lambda: kept(reader, source))

        os.kill(breakable.pid, signal.SIGSTOP)
        started = time.monotonic()
        source.value = b"new"
        await writer.flush("t")
        values = [await cache.remember("a", TTL, source, ("t",)) for cache in (writer, reader)]
        spent = time.monotonic() - started
        await until(lambda: not writer.link.stands and not reader.link.stands)
        os.kill(breakable.pid, signal.SIGCONT)
        await reader.link.standing()

        assert values == [b"new", b"new"]
        assert spent < 1
        assert await reader.remember("a", TTL, source, ("t",)) == b"new"


async def test_a_full_redis_still_flushes_and_serves_what_it_has(breakable, prefix):
    async with running_cache(breakable.url, prefix) as cache:
        source = Source(b"old")
        await until_true(lambda: kept(cache, source))
        await cache._entries._redis.config_set("maxmemory", 1)

        await cache.remember("a", TTL, source, ("t",))
        source.value = b"new"
        await cache.flush("t")

        assert await cache.remember("a", TTL, source, ("t",)) == b"new"
        assert not cache._late
