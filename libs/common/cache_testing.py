"""What tests of the cache need: sources that count, and the cache of one process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common.cache import Cache
from common.tasks import end

__all__ = ["Source", "running_cache", "until", "until_true"]


class Source:
    """Makes a value, counts how often, and takes as long as it is told to."""

    def __init__(self, value: bytes | None = b"value") -> None:
        self.value = value
        self.made = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> bytes | None:
        """Make the value."""
        self.made += 1
        value = self.value
        await self.may_end.wait()
        return value


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Return when the condition holds."""

    async def holds() -> object:
        return condition()

    await until_true(holds, seconds)


async def until_true(condition: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 (other processes set no event)
            await asyncio.sleep(0.002)


@asynccontextmanager
async def running_cache(url: str, prefix: str) -> AsyncIterator[Cache]:
    """A cache as one process has it."""
    async with Redis.from_url(url, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as redis:
        cache = Cache(redis, prefix)
        running = asyncio.create_task(cache.run())
        await cache.link.standing()
        yield cache
        await end(running)
