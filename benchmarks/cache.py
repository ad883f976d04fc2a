"""The cache: a hit in the process beside a Redis GET, how long others show what was, one maker."""

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from benchmarks.figures import Figure, at_least, at_most, seen
from common import ids
from common.cache import Cache
from common.caller import become, service_caller
from ops.valkey import EmbeddedValkey

ROUNDS = 5
HITS, GETS = 20_000, 1_000
FLUSHES = 1_000
PROCESSES, TASKS, STAMPEDES = 4, 25, 20
MAKING_SECONDS = 0.02
TTL = 60


@dataclass(frozen=True)
class CacheFigures:
    """What was measured; microseconds and milliseconds by name."""

    near_hit_us: list[float]
    redis_get_us: list[float]
    shared_hit_us: list[float]
    stale_p50_ms: float
    stale_p99_ms: float
    callers: int
    stampedes: int
    made: int

    @property
    def ratio(self) -> float:
        """A Redis GET in times of a hit in the process: the median round."""
        pairs = zip(self.redis_get_us, self.near_hit_us, strict=True)
        return statistics.median(get / hit for get, hit in pairs)


async def run(redis_url: str) -> CacheFigures:
    """Measure on this Redis."""
    tenant, prefix = ids.new(), f"bench_{ids.new().hex}"
    become(service_caller("bench", tenant))
    near, shared, gets = [], [], []
    async with _cache(redis_url, prefix) as (cache, redis):
        await redis.set(f"{prefix}:plain", b"x" * 200)
        for _ in range(ROUNDS):
            near.append(await _us(HITS, lambda: cache.remember("n", TTL, _make, near=True)))
            gets.append(await _us(GETS, lambda: redis.get(f"{prefix}:plain")))
            shared.append(await _us(GETS, lambda: cache.remember("s", TTL, _make, ["t"])))
        stale = await _stale_ms(cache, redis_url, prefix, tenant)
    made = await asyncio.to_thread(_stampedes, redis_url, prefix, tenant)
    return CacheFigures(
        near_hit_us=near,
        redis_get_us=gets,
        shared_hit_us=shared,
        stale_p50_ms=statistics.median(stale),
        stale_p99_ms=stale[int(len(stale) * 0.99)],
        callers=PROCESSES * TASKS,
        stampedes=STAMPEDES,
        made=made,
    )


async def _make() -> bytes:
    return b"x" * 200


@asynccontextmanager
async def _cache(url: str, prefix: str) -> AsyncIterator[tuple[Cache, Redis]]:
    async with Redis.from_url(url) as redis:
        cache = Cache(redis, prefix)
        running = asyncio.create_task(cache.run())
        await cache.link.standing()
        yield cache, redis
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _us(times: int, call: Any) -> float:
    started = time.perf_counter()
    for _ in range(times):
        await call()
    return (time.perf_counter() - started) / times * 1e6


async def _stale_ms(cache: Cache, url: str, prefix: str, tenant: UUID) -> list[float]:
    """From the moment a flush is sent until another process drops what it has, sorted."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    reader = context.Process(target=_read, args=(there, url, prefix, tenant))
    reader.start()
    await asyncio.to_thread(here.recv)
    sent = []
    for number in range(FLUSHES):
        sent.append(time.monotonic())
        await cache.flush(f"tag-{number}")
        await asyncio.sleep(0.002)
    heard = await asyncio.to_thread(here.recv)
    reader.join()
    return sorted((heard[f"tag-{number}"] - at) * 1e3 for number, at in enumerate(sent))


def _read(pipe: Connection, url: str, prefix: str, tenant: UUID) -> None:
    asyncio.run(_read_on(pipe, url, prefix, tenant))


async def _read_on(pipe: Connection, url: str, prefix: str, tenant: UUID) -> None:
    become(service_caller("bench", tenant))
    heard: dict[str, float] = {}
    async with _cache(url, prefix) as (cache, _):

        def hear(keys: Sequence[str]) -> None:
            heard.setdefault(keys[0].rpartition(":")[2], time.monotonic())

        cache.on_flush(hear)
        pipe.send("ready")
        while len(heard) < FLUSHES:
            await cache.remember("n", TTL, _make, near=True)
            await asyncio.sleep(0.001)
    pipe.send(heard)


def _stampedes(url: str, prefix: str, tenant: UUID) -> int:
    """How often the value was made when all processes missed it together, over all rounds."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(PROCESSES)
    made = context.Value("i", 0)
    arguments = (url, prefix, tenant, together, made)
    crowd = [context.Process(target=_rush, args=arguments) for _ in range(PROCESSES)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    return int(made.value)


def _rush(url: str, prefix: str, tenant: UUID, together: Any, made: Any) -> None:
    asyncio.run(_rush_on(url, prefix, tenant, together, made))


async def _rush_on(url: str, prefix: str, tenant: UUID, together: Any, made: Any) -> None:
    become(service_caller("bench", tenant))

    async def make() -> bytes:
        with made.get_lock():
            made.value += 1
        await asyncio.sleep(MAKING_SECONDS)
        return b"value"

    async with _cache(url, prefix) as (cache, _):
        for number in range(STAMPEDES):
            await asyncio.to_thread(together.wait)
            name = f"stampede-{number}"
            await asyncio.gather(*(cache.remember(name, TTL, make) for _ in range(TASKS)))


def figures() -> list[Figure]:
    """Measure on a Redis of our own."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        EmbeddedValkey(Path(scratch) / "valkey") as valkey,
    ):
        found = asyncio.run(run(valkey.url))
    hit, get = statistics.median(found.near_hit_us), statistics.median(found.redis_get_us)
    calls = found.made / found.stampedes
    return [
        at_least("a Redis GET in times of a hit in the process", found.ratio, 50),
        at_most("stale after a write in another process, p99", found.stale_p99_ms, 10, " ms"),
        at_most(f"{found.callers} miss together: calls of the maker", calls, 1),
        seen("a hit in the process", f"{hit:.2f} µs"),
        seen("a Redis GET", f"{get:.0f} µs"),
        seen("a hit in Redis", f"{statistics.median(found.shared_hit_us):.0f} µs"),
        seen("stale, p50", f"{found.stale_p50_ms:.2f} ms"),
    ]


if __name__ == "__main__":
    for figure in figures():
        print(figure.row())
