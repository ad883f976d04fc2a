"""The live feed as this process hears it: wakes those who wait for an event about one thing."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

CHANNELS = "events:*"
_RECONNECT_SECONDS = 0.5
# Longer than any call lasts, so that whoever asks right after its call still learns of it.
_REMEMBERED_SECONDS = 15.0

log = structlog.get_logger()

Topic = tuple[str, str]  # event type, subject


def _nobody(_channel: bytes, _data: bytes) -> None:
    """Nobody else listens."""


class Feed:
    """Hears the events of these types, from this process's own publisher and from Redis.

    It may lose any of them: a waiter looks for itself now and then.
    """

    def __init__(
        self,
        types: Iterable[str],
        redis: Redis | None,
        overhear: Callable[[bytes, bytes], None] = _nobody,
    ) -> None:
        """Listen to this Redis; `overhear` gets every doorbell, as channel and text."""
        self._types = frozenset(types)
        self._marks = tuple(f'"{name}"'.encode() for name in self._types)
        self._redis = redis
        self._overhear = overhear
        # When each topic was last heard of, oldest first.
        self._heard: OrderedDict[Topic, float] = OrderedDict()
        self._waiting: dict[Topic, set[asyncio.Future[None]]] = {}
        self.connected = False

    def ring(self, event_type: str, subject: str) -> None:
        """Wake those who wait for this event."""
        if event_type not in self._types:
            return
        now = time.monotonic()
        self._forget(now - _REMEMBERED_SECONDS)
        topic = (event_type, subject)
        self._heard[topic] = now
        self._heard.move_to_end(topic)
        for waiter in self._waiting.pop(topic, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def heard(self, event_type: str, subject: str, since: float, seconds: float) -> float:
        """Wait until the event is heard of, unless it has been since then, or the seconds are over.

        Returns:
            When it was last heard of, on the monotonic clock, or `since` when it was not.
        """
        topic = (event_type, subject)
        if self._heard.get(topic, since) > since:
            return self._heard[topic]
        with self._waiter(topic) as waiter, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await waiter
        return max(self._heard.get(topic, since), since)

    async def run(self) -> None:
        """Listen to Redis until cancelled."""
        if self._redis is None:
            return
        while True:
            try:
                await self._listen(self._redis)
            except (RedisError, OSError) as error:
                if self.connected:
                    log.warning("live feed away", error=str(error))
                self.connected = False
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self, redis: Redis) -> None:
        async with redis.pubsub(ignore_subscribe_messages=True) as channels:
            await channels.psubscribe(CHANNELS)
            self.connected = True
            async for message in channels.listen():
                self._hear(message["data"])
                self._overhear(message["channel"], message["data"])

    def _hear(self, data: bytes) -> None:
        # Nearly all are about something else: a look at the bytes is cheaper than reading them.
        if not any(mark in data for mark in self._marks):
            return
        try:
            event = orjson.loads(data)
            self.ring(event["type"], event["subject"])
        except (ValueError, KeyError, TypeError):
            log.warning("unreadable event", data=data[:200])

    @contextlib.contextmanager
    def _waiter(self, topic: Topic) -> Iterator[asyncio.Future[None]]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, set()).add(waiter)
        try:
            yield waiter
        finally:
            others = self._waiting.get(topic)
            if others is not None:
                others.discard(waiter)
                if not others:
                    del self._waiting[topic]

    def _forget(self, before: float) -> None:
        while self._heard and next(iter(self._heard.values())) < before:
            self._heard.popitem(last=False)
