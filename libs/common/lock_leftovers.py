"""Locks that Redis may hold for us although we never heard so: given up once it answers again."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from common.held_locks import Lock
from common.tasks import end

__all__ = ["Leftovers"]

_RETRY_SECONDS = 0.1
# Beyond this the oldest are left to expire.
_MOST = 1_000


class Leftovers:
    """Releases what an unheard answer may have left behind, until it would have expired anyway."""

    def __init__(self, release: Callable[[Lock], Awaitable[None]]) -> None:
        self._release = release
        self._waiting: deque[tuple[float, Lock]] = deque(maxlen=_MOST)
        self._task: asyncio.Task[None] | None = None

    def add(self, lock: Lock) -> None:
        """Release this one in the background."""
        self._waiting.append((time.monotonic() + lock.ttl_seconds, lock))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stop; what is left expires."""
        if self._task is not None:
            await end(self._task)

    async def _sweep(self) -> None:
        while self._waiting:
            until, lock = self._waiting[0]
            try:
                await self._release(lock)
            except (RedisError, OSError, TimeoutError):
                if time.monotonic() < until:
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
            # The oldest may have been dropped meanwhile.
            if self._waiting and self._waiting[0][1] is lock:
                self._waiting.popleft()
