"""What is kept is true, made once, and one's own tenant's; without Redis it is made each time."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from common import cache_entries, ids
from common.cache import Cache
from common.cache_testing import Source, running_cache, until, until_true
from common.caller import acting_as, service_caller
from common.errors import Unauthenticated
from common.testing import TestServers, as_user

TTL = 60


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of what happens while Redis works must not depend on how busy the machine is."""
    monkeypatch.setattr(cache_entries, "COMMAND_SECONDS", 5)


@pytest.fixture
def prefix() -> str:
    return f"test_{ids.new().hex}"


@pytest.fixture
async def pair(servers: TestServers, prefix: str, patient: None) -> AsyncIterator[list[Cache]]:
    """The caches of two processes."""
    url = servers.valkey.url
    async with running_cache(url, prefix) as one, running_cache(url, prefix) as other:
        yield [one, other]


@pytest.fixture(autouse=True)
def caller(tenant: UUID) -> Iterator[None]:
    with as_user(tenant):
        yield


async def test_a_value_is_made_once_and_found_by_every_process(pair):
    source = Source()

    values = [await cache.remember("a", TTL, source) for cache in (*pair, *pair)]

    assert values == [b"value"] * 4
    assert source.made == 1


async def test_a_hundred_who_miss_at_once_in_two_processes_make_it_once(pair):
    source = Source()

    values = await asyncio.gather(
        *(cache.remember("a", TTL, source, ("t",)) for cache in pair for _ in range(50))
    )

    assert set(values) == {b"value"}
    assert source.made == 1


async def test_a_flush_by_any_process_ends_a_value_in_all(pair):
    source = Source(b"old")
    for cache in pair:
        await cache.remember("a", TTL, source, ("t", "u"))
    source.value = b"new"

    await pair[0].flush("u")

    assert [await cache.remember("a", TTL, source, ("t", "u")) for cache in pair] == [b"new"] * 2
    assert source.made == 2


async def test_a_flush_of_another_tag_ends_nothing(pair):
    source = Source()
    await pair[0].remember("a", TTL, source, ("t",))

    await pair[0].flush("u")
    await pair[1].remember("a", TTL, source, ("t",))

    assert source.made == 1


async def test_what_was_begun_before_a_flush_is_not_kept_after_it(pair):
    source = Source(b"old")
    source.may_end.clear()
    slow = asyncio.create_task(pair[0].remember("a", TTL, source, ("t",)))
    await until(lambda: source.made)

    source.value = b"new"
    await pair[1].flush("t")
    after = asyncio.create_task(pair[1].remember("a", TTL, source, ("t",)))
    joined = asyncio.create_task(pair[0].remember("a", TTL, source, ("t",)))
    await until(lambda: source.made == 2)
    source.may_end.set()

    assert await slow == b"old"
    assert (await after, await joined) == (b"new", b"new")
    assert await pair[1].remember("a", TTL, source, ("t",)) == b"new"


async def test_a_late_maker_does_not_put_the_old_value_over_the_new_one(pair):
    late, new = Source(b"old"), Source(b"new")
    late.may_end.clear()
    making = asyncio.create_task(pair[0].remember("a", TTL, late, ("t",)))
    await until(lambda: late.made)
    await pair[1].flush("t")
    await pair[1].remember("a", TTL, new, ("t",))

    late.may_end.set()
    await making

    assert await pair[1].remember("a", TTL, late, ("t",)) == b"new"
    assert (late.made, new.made) == (1, 1)


async def test_nothing_is_kept_for_a_moment_and_less_long(pair):
    source = Source(None)

    for cache in pair:
        assert await cache.remember("a", TTL, source, empty_seconds=0.05) is None
    assert source.made == 1
    source.value = b"there"

    async def is_there() -> bool:
        return await pair[0].remember("a", TTL, source, empty_seconds=0.05) == b"there"

    await until_true(is_there)


async def test_an_error_is_not_kept_and_the_next_one_tries(pair):
    async def fail() -> bytes:
        raise LookupError

    with pytest.raises(LookupError):
        await pair[0].remember("a", TTL, fail)

    assert await pair[1].remember("a", TTL, Source()) == b"value"


async def test_a_caller_who_leaves_does_not_take_the_value_from_others(pair):
    source = Source()
    source.may_end.clear()
    leaving = asyncio.create_task(pair[0].remember("a", TTL, source))
    staying = asyncio.create_task(pair[0].remember("a", TTL, source))
    await until(lambda: source.made)

    leaving.cancel()
    source.may_end.set()

    assert await staying == b"value"
    assert source.made == 1


async def test_a_maker_that_died_delays_the_others_by_its_lease_only(pair, prefix, tenant, servers):
    place = cache_entries.Place.of(prefix, tenant, "a", ())
    entries = cache_entries.Entries(pair[0]._entries._redis, "nobody")
    dead = await entries.look(place, TTL)
    started = time.monotonic()

    value = await pair[1].remember("a", TTL, Source())

    assert isinstance(dead, cache_entries.Lease)
    assert value == b"value"
    assert time.monotonic() - started < cache_entries.LEASE_SECONDS + 1


async def test_a_slow_maker_keeps_its_lease(pair, monkeypatch):
    monkeypatch.setattr("common.cache.LEASE_SECONDS", 0.15)
    monkeypatch.setattr(cache_entries, "LEASE_SECONDS", 0.15)
    source = Source()
    source.may_end.clear()
    asking = [asyncio.create_task(cache.remember("a", TTL, source)) for cache in pair]
    started = time.monotonic()

    await until(lambda: time.monotonic() - started > 0.5)
    source.may_end.set()

    assert await asyncio.gather(*asking) == [b"value"] * 2
    assert source.made == 1


async def test_no_tenant_sees_another_s_value(pair, tenant):
    await pair[0].remember("a", TTL, Source(b"mine"), ("t",))

    with as_user(ids.new()):
        theirs = await pair[0].remember("a", TTL, Source(b"theirs"), ("t",))
        await pair[0].flush("t")

    source = Source()
    assert theirs == b"theirs"
    assert await pair[0].remember("a", TTL, source, ("t",)) == b"mine"


async def test_a_value_that_another_tenant_owns_is_a_miss(pair, prefix, tenant):
    redis = pair[0]._entries._redis
    await pair[0].remember("a", TTL, Source(b"mine"))
    place = cache_entries.Place.of(prefix, tenant, "a", ())
    entry = bytearray(await redis.get(place.key))
    entry[16:32] = ids.new().bytes
    await redis.set(place.key, bytes(entry))

    assert await pair[0].remember("a", TTL, Source(b"made anew")) == b"made anew"
    assert await pair[0].remember("a", TTL, Source(b"kept")) == b"kept"


async def test_every_key_ends_by_itself(pair, prefix):
    redis = pair[0]._entries._redis
    await pair[0].remember("a", TTL, Source(), ("t",))
    await pair[0].remember_all(["b"], TTL, values_of({"b": b"1"}), lambda name: (name,))

    keys = [key async for key in redis.scan_iter(f"{prefix}:*")]

    assert len(keys) == 5  # two entries, the tags t and b, and the tag of all
    assert all([0 < await redis.ttl(key) <= TTL + 60 for key in keys])


async def test_a_flushed_redis_forgets_all_and_revives_nothing(pair):
    redis = pair[0]._entries._redis
    source = Source(b"old")
    source.may_end.clear()
    making = asyncio.create_task(pair[0].remember("a", TTL, source, ("t",)))
    await until(lambda: source.made)

    await redis.flushdb()
    source.may_end.set()
    await making
    source.value = b"new"

    assert await pair[1].remember("a", TTL, source, ("t",)) == b"new"


def values_of(values: dict[str, bytes], asked: list[object] | None = None):
    async def make(names):
        if asked is not None:
            asked.append(sorted(names))
        return {name: values[name] for name in names if name in values}

    return make


async def test_many_are_found_together_and_the_missing_made_together(pair):
    asked: list[object] = []
    make = values_of({"a": b"1", "b": b"2", "c": b"3"}, asked)
    tags = lambda name: (f"tag-{name}",)  # noqa: E731

    await pair[0].remember_all(["a", "b"], TTL, make, tags)
    await pair[1].flush("tag-a")
    found = await pair[1].remember_all(["a", "b", "c", "unknown"], TTL, make, tags)

    assert found == {"a": b"1", "b": b"2", "c": b"3"}
    assert asked == [["a", "b"], ["a", "c", "unknown"]]


async def test_a_near_value_costs_nothing_and_hears_of_a_flush(pair):
    source = Source(b"old")
    for cache in pair:
        await cache.remember("a", TTL, source, ("t",), near=True)
    slots = [next(iter(cache._near._slots.values())) for cache in pair]
    source.value = b"new"

    await pair[0].flush("t")

    assert slots[0].key not in pair[0]._near._slots
    await until(lambda: slots[1].key not in pair[1]._near._slots)
    assert await pair[1].remember("a", TTL, source, ("t",), near=True) == b"new"


async def test_a_near_value_that_is_being_read_while_its_tag_is_flushed_is_not_kept(pair):
    source = Source(b"old")
    source.may_end.clear()
    reading = asyncio.create_task(pair[0].remember("a", TTL, source, ("t",), near=True))
    await until(lambda: source.made)
    heard: list[object] = []
    pair[0].on_flush(heard.append)

    source.value = b"new"
    await pair[1].flush("t")
    await until(lambda: heard)
    source.may_end.set()
    await reading

    assert await pair[0].remember("a", TTL, source, ("t",), near=True) == b"new"


async def test_a_near_value_is_not_asked_for_in_redis(pair):
    source = Source()
    await pair[0].remember("a", TTL, source, near=True)
    pair[0]._entries = None  # type: ignore[assignment]

    assert await pair[0].remember("a", TTL, source, near=True) == b"value"


async def test_the_near_layer_is_bounded(pair):
    pair[0]._near._most = 3
    for number in range(10):
        await pair[0].remember(f"a{number}", TTL, Source(), ("t",), near=True)

    assert len(pair[0]._near._slots) == 3
    assert all(len(keys) == 3 for keys in pair[0]._near._by_tag.values())


async def test_without_a_caller_nothing_is_kept(pair):
    with acting_as(service_caller("sales", None)), pytest.raises(Unauthenticated):
        await pair[0].remember("a", TTL, Source())
