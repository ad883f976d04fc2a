"""How fast and how fair locks are, beside those of redis-py: `python -m benchmarks.locks`."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from redis.asyncio import Redis

from benchmarks.figures import Figure, at_least, at_most, rounds, seen
from common import ids
from common.caller import acting_as, service_caller
from common.locks import Locks
from common.redis_clients import Role, connect
from ops.valkey import EmbeddedValkey

WAITERS = 50
PROCESSES = 5
SECONDS = 2.0
ROUNDS = 3
ALONE = 1_000

Hold = Callable[[int], AbstractAsyncContextManager[object]]


@dataclass(frozen=True)
class Contended:
    """What the waiters on one key saw."""

    per_second: float
    longest_wait_ms: float
    fewest_turns: int
    most_turns: int


@dataclass(frozen=True)
class Alone:
    """Taking and releasing a lock that nobody else wants."""

    microseconds: float
    cpu_microseconds: float


@dataclass(frozen=True)
class Comparison:
    """All rounds of ours and of redis-py's."""

    ours: list[Contended]
    theirs: list[Contended]
    ours_alone: list[Alone]
    theirs_alone: list[Alone]
    dead_waiter_ms: float


async def run(url: str) -> Comparison:
    """Measure in rounds that alternate."""
    found = Comparison([], [], [], [], await _dead_waiter(url))
    async with _ours(url) as ours, _theirs(url) as theirs:
        for _ in range(ROUNDS):
            found.ours.append(await _contend(ours))
            found.theirs.append(await _contend(theirs))
            found.ours_alone.append(await _alone(ours))
            found.theirs_alone.append(await _alone(theirs))
    return found


@asynccontextmanager
async def _ours(url: str) -> AsyncIterator[Hold]:
    """Our locks as so many processes have them."""
    # Nobody here is to work without a lock because the machine is busy.
    clients = [connect(url, Role.LOCKS) for _ in range(PROCESSES)]
    team = [Locks(client, "benchmark", answer_seconds=10) for client in clients]
    with acting_as(service_caller("benchmark", ids.new())):
        yield lambda number: team[number % PROCESSES].hold("key", wait_seconds=60)
    for locks, client in zip(team, clients, strict=True):
        await locks.close()
        await client.aclose()


@asynccontextmanager
async def _theirs(url: str) -> AsyncIterator[Hold]:
    """redis-py's locks on as many clients."""
    clients = [Redis.from_url(url) for _ in range(PROCESSES)]
    yield lambda number: clients[number % PROCESSES].lock("key", timeout=30, blocking_timeout=60)
    for client in clients:
        await client.aclose()


async def _contend(hold: Hold) -> Contended:
    turns, waits = [0] * WAITERS, [0.0]
    until = time.perf_counter() + SECONDS

    async def waiter(number: int) -> None:
        while (asked := time.perf_counter()) < until:
            async with hold(number):
                waits.append(time.perf_counter() - asked)
                turns[number] += time.perf_counter() < until

    await asyncio.gather(*map(waiter, range(WAITERS)))
    return Contended(sum(turns) / SECONDS, max(waits) * 1000, min(turns), max(turns))


async def _alone(hold: Hold) -> Alone:
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(ALONE):
        async with hold(0):
            pass
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return Alone(seconds / ALONE * 1e6, cpu_seconds / ALONE * 1e6)


async def _dead_waiter(url: str) -> float:
    """How long the next one waits after a waiter's process has vanished from the queue."""
    async with Redis.from_url(url) as redis:
        locks = Locks(redis, "benchmark")
        with acting_as(service_caller("benchmark", tenant := ids.new())):
            async with locks.hold("key"):
                await redis.zadd(f"lock_queue:{{lock:{tenant}:key}}", {"gone/1": 0})
                waiter = asyncio.create_task(_timed(lambda: locks.acquire("key")))
                while await redis.zcard(f"lock_queue:{{lock:{tenant}:key}}") < 2:
                    await asyncio.sleep(0.001)
                freed = time.perf_counter()
            taken = await waiter
        await locks.close()
    return (taken - freed) * 1000


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    await work()
    return time.perf_counter()


def figures() -> list[Figure]:
    """Measure on a server of its own."""
    with tempfile.TemporaryDirectory() as scratch, EmbeddedValkey(Path(scratch) / "v") as valkey:
        found = uvloop.run(run(valkey.url))
    ours, theirs = (
        (_median(one.per_second for one in loads), _median(one.longest_wait_ms for one in loads))
        for loads in (found.ours, found.theirs)
    )
    fair = _median(one.fewest_turns / one.most_turns for one in found.ours)
    unfair = _median(one.fewest_turns / one.most_turns for one in found.theirs)
    alone = [
        at_most(
            f"nobody waits: {name} of redis-py's",
            _median(getattr(one, field) for one in found.ours_alone)
            / _median(getattr(one, field) for one in found.theirs_alone),
            1,
        )
        for name, field in (("time", "microseconds"), ("CPU", "cpu_microseconds"))
    ]
    return [
        at_least(f"{WAITERS} wait: turns a second, of redis-py's", ours[0] / theirs[0], 1.5),
        at_most("longest wait, of redis-py's", ours[1] / theirs[1], 0.05),
        at_least("fewest turns of one, of the most", fair, 0.9, note=f", redis-py {unfair:.2f}"),
        *alone,
        at_most("a waiter's death delays the next by", found.dead_waiter_ms, 500, " ms"),
        seen("turns a second, by round", rounds(one.per_second for one in found.ours)),
        seen("redis-py's, by round", rounds(one.per_second for one in found.theirs)),
        seen("longest wait in ms, by round", rounds(one.longest_wait_ms for one in found.ours)),
        seen("redis-py's, by round", rounds(one.longest_wait_ms for one in found.theirs)),
        seen("nobody waits: µs, by round", rounds(one.microseconds for one in found.ours_alone)),
        seen("redis-py's, by round", rounds(one.microseconds for one in found.theirs_alone)),
    ]


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    for figure in figures():
        print(figure.row())
