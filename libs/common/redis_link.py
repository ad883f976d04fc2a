"""Messages between processes over one Redis channel, and whether they get through at this time."""

import asyncio
import time
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

__all__ = ["AWAY", "RedisLink"]

# What it looks like when Redis is away, hung or out of memory.
AWAY = (TimeoutError, RedisError, OSError)

# After so long without a message one is provoked, and after as long again the link counts as
# broken: a server that hangs is noticed within a second.
BEAT_SECONDS = 0.5
_RECONNECT_SECONDS = 0.05
_LONGEST_RECONNECT_SECONDS = 1.0

log = structlog.get_logger()


class RedisLink:
    """Hears one channel for as long as it is run.

    While `stands` is true, every message that others publish arrives. When it turns false some may
    have been missed, and whoever relies on them has to start afresh.

    Args:
        redis: where the channel is.
        channel: its name.
        hear: is given each message.
        lost: is told once whenever the link breaks, or cannot be made.
    """

    def __init__(
        self,
        redis: Redis,
        channel: str,
        hear: Callable[[bytes], None] = lambda _: None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.channel = channel
        self.stands = False
        # Wall clock; when it last began to stand.
        self.stands_since = 0.0
        self._redis = redis
        self._hear = hear
        self._lost = lost
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled; a link that breaks is made anew."""
        pause = _RECONNECT_SECONDS
        while True:
            try:
                await self._listen()
            except AWAY as error:
                if self.stands:
                    log.warning("redis link broken", channel=self.channel, error=repr(error))
                    pause = _RECONNECT_SECONDS
            finally:
                self._fall()
            # What broke one connection broke them all: the next command is to have a new one.
            # (A Cluster's client minds its connections itself.)
            if pool := getattr(self._redis, "connection_pool", None):
                await pool.disconnect(inuse_connections=False)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RECONNECT_SECONDS)

    async def standing(self) -> None:
        """Return as soon as the link stands."""
        while not self.stands:
            await self._changed.wait()

    async def _listen(self) -> None:
        async with self._redis.pubsub() as messages:
            async with asyncio.timeout(2 * BEAT_SECONDS):
                await messages.subscribe(self.channel)
                while (await messages.get_message(timeout=BEAT_SECONDS)) is None:
                    pass
            self._stand()
            await self._follow(messages)

    async def _follow(self, messages: PubSub) -> None:
        provoked = False
        while True:
            message = await messages.get_message(timeout=BEAT_SECONDS)
            if message is None and provoked:
                raise TimeoutError("no answer to a ping")
            provoked = message is None
            if message is None:
                await messages.ping()
            elif message["type"] == "message":
                self._hear(message["data"])

    def _stand(self) -> None:
        self.stands, self.stands_since = True, time.time()
        self._changed.set()

    def _fall(self) -> None:
        self.stands = False
        self._changed.clear()
        self._lost()
