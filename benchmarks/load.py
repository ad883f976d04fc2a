"""Many clients at once, and what they measured."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
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
    seconds = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return Load(len(times), seconds, cuts[49] * 1000, cuts[98] * 1000)
