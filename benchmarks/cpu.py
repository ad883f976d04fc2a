"""The CPU that a process uses, in the nanoseconds of Linux' scheduler: ticks are too coarse."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

_IDLE_SECONDS = 1.0


def used_ms(pid: int) -> float:
    """What all threads of a process have used since they began."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e6


async def cost_ms(pid: int, work: Callable[[], Awaitable[None]], count: int) -> float:
    """What one piece of work costs a process, beyond what it uses while there is none."""
    before, began = used_ms(pid), time.perf_counter()
    await asyncio.sleep(_IDLE_SECONDS)
    idle = (used_ms(pid) - before) / (time.perf_counter() - began)
    before, began = used_ms(pid), time.perf_counter()
    for _ in range(count):
        await work()
    spent = used_ms(pid) - before
    return (spent - idle * (time.perf_counter() - began)) / count
