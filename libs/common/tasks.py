"""Ending tasks that run until they are told to end."""

import asyncio
from typing import Any

__all__ = ["end"]

_AGAIN_SECONDS = 0.1


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks until they have ended. What they raise concerns nobody any more.

    Once is not enough: until Python 3.12 `asyncio.wait_for`, which redis-py waits by, forgets a
    cancellation that meets the end of what it waits for (python/cpython#86296), and the task goes
    on for ever.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
