"""Many clients at once, and what they measured."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

Work = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Load:
    """What a number of clients saw."""

    done: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Pieces of work done a second."""
        return self.done / self.seconds


async def measure(clients: int, work: Work, count: int) -> Load:
    """Let the clients do `count` pieces of work among them, each one after another.

    Args:
        clients: how many work at the same time.
        work: does one piece; receives the client's number.
        count: how many pieces in all.
    """
    left = iter(range(count))
    times: list[float] = []

    async def client(number: int) -> None:
        for _ in left:
            began = time.perf_counter()
            await work(number)
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return _load(times, time.perf_counter() - began)


async def pace(
    clients: int,
    work: Work,
    per_second: float,
    until: Callable[[], bool] | None = None,
    *,
    count: int = 0,
) -> Load:
    """Let the clients begin so many pieces of work a second among them, however long each takes.

    A piece's time counts from when it was due, so that whoever is kept waiting says so.

    Args:
        clients: how many work at the same time.
        work: does one piece; receives the client's number.
        per_second: how many pieces; 0 for as many as there can be.
        until: tells when to end; without it, after `count` pieces.
        count: how many pieces in all.
    """
    times: list[float] = []
    began = time.perf_counter()
    due = _moments(began, per_second, until, count)

    async def client(number: int) -> None:
        for moment in due:
            await asyncio.sleep(max(moment - time.perf_counter(), 0))
            await work(number)
            times.append(time.perf_counter() - moment)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return _load(times, time.perf_counter() - began)


def _moments(
    began: float, per_second: float, until: Callable[[], bool] | None, count: int
) -> Iterator[float]:
    for number in itertools.count():
        if until() if until else number == count:
            return
        yield began + number / per_second if per_second else time.perf_counter()


def _load(times: list[float], seconds: float) -> Load:
    cuts = statistics.quantiles(times, n=100)
    return Load(len(times), seconds, cuts[49] * 1000, cuts[98] * 1000)
