"""How Redis wakes who waits for a lock: one channel for all waiters of a process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.redis_line import Line
from common.tasks import end

__all__ = ["Waiter", "Wakeups", "is_set_within"]

_RECONNECT_SECONDS = 0.1
# A silent connection is asked for a sign of life, and given up when none comes in the same time.
_SILENCE_SECONDS = 2.0

log = structlog.get_logger()


class Waiter(asyncio.Event):
    """Set when it is time to look again; `is_served` when Redis has handed the lock over."""

    is_served = False


class Wakeups:
    """Listens on this process's channel from the first wait on.

    A lost message costs its waiter time, nothing else: who waits looks for itself now and then.
    """

    def __init__(self, redis: Redis, channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._waiting: dict[str, Waiter] = {}
        self._connected = asyncio.Event()
        self._is_silent = False
        self._task: asyncio.Task[None] | None = None

    @property
    def are_heard(self) -> bool:
        """Whether a message would arrive now."""
        return self._connected.is_set()

    @contextmanager
    def expected(self, token: str) -> Iterator[Waiter]:
        """An event that is set when the token's lock may have been handed over."""
        woken = self._waiting[token] = Waiter()
        try:
            yield woken
        finally:
            del self._waiting[token]

    async def connect(self, seconds: float) -> None:
        """Listen from now on.

        Raises:
            TimeoutError: not within these seconds.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        async with asyncio.timeout(seconds):
            await self._connected.wait()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await end(self._task)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    if await channel.get_message(timeout=_SILENCE_SECONDS) is not None:
                        await self._hear_on(channel.connection)
            except (RedisError, OSError) as error:
                log.info("wakeups away", error=str(error))
            finally:
                self._connected.clear()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _hear_on(self, connection: Any) -> None:
        """Return when the connection is lost, or says nothing although it was asked to."""
        lost = asyncio.Event()
        line = Line(connection, self._hear, lambda _reason: lost.set())
        self._connected.set()
        # Whatever was said meanwhile went unheard.
        for woken in self._waiting.values():
            woken.set()
        try:
            while line.stands and not self._is_silent:
                self._is_silent = True
                if not await is_set_within(lost, _SILENCE_SECONDS) and self._is_silent:
                    line.say("PING")
                    await is_set_within(lost, _SILENCE_SECONDS)
        finally:
            self._is_silent = False
            await line.close()

    def _hear(self, said: Any) -> None:
        self._is_silent = False
        if isinstance(said, list) and said[0] == b"message":
            waiter = self._waiting.get(said[2].decode())
            if waiter is not None:
                waiter.is_served = True
                waiter.set()


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Return when an event is set, or the seconds are over; whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
