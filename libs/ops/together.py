"""Concurrent work that succeeds as a whole or fails as one."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Do all of `work` side by side; the first failure is raised as it is, once the rest has ended.

    A TaskGroup would wrap the failure in an ExceptionGroup, and `gather` leaves the rest running.
    """
    tasks = [asyncio.create_task(part) for part in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
