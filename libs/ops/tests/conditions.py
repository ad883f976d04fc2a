"""Waiting for a condition, never for a time."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 20.0


async def until(condition: Callable[[], object]) -> None:
    """Return as soon as `condition` holds; fail after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def until_blocking(condition: Callable[[], object]) -> None:
    """`until`, without an event loop."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended (a zombie has)."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
