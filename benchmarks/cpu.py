"""The CPU that a process uses, in the nanoseconds of Linux' scheduler: ticks are too coarse."""

import asyncio
import time
from pathlib import Path

from benchmarks.load import Work, measure

# Long enough for what a process does now and then to count as often as it happens.
_IDLE_SECONDS = 10.0


def used_ms(pid: int) -> float:
    """What all threads of a process have used since they began."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e6


async def idle_ms(pid: int) -> float:
    """What a process uses in a second in which nobody asks it for anything."""
    before, began = used_ms(pid), time.perf_counter()
    await asyncio.sleep(_IDLE_SECONDS)
    return (used_ms(pid) - before) / (time.perf_counter() - began)


async def cost_ms(pid: int, clients: int, work: Work, count: int, idle: float) -> float:
    """What one piece of work costs a process, beyond what it uses in that time when idle."""
    before = used_ms(pid)
    load = await measure(clients, work, count)
    return (used_ms(pid) - before - idle * load.seconds) / count
