"""Committed events on their way to whoever listens on Redis."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common import caller
from common.errors import NotPermitted
from erp.events.v1.events_pb2 import Event
from gateway.cloud_events import to_cloud_event
from gateway.feed import Feed

# Subscribers lose nothing by a lost event but time, so nobody is kept waiting for Redis.
PUBLISH_SECONDS = 0.05

_EVENTS = Counter(
    "kv_erp_events_published_total",
    "Committed events for Redis: sent, or dropped because it did not take them in time.",
    ["source", "outcome"],
)
log = structlog.get_logger()


def channel_of(tenant_id: str) -> str:
    """The Redis channel of one tenant's events."""
    return f"events:{tenant_id}"


async def _nobody(_: Sequence[Event]) -> None:
    """Nobody else is told."""


class Publisher:
    """Publishes events on Redis and to those who wait in this process. Best effort.

    Args:
        redis: where to.
        feed: those who wait in this process.
        hear: is told before anybody else.
    """

    def __init__(
        self,
        redis: Redis,
        feed: Feed,
        hear: Callable[[Sequence[Event]], Awaitable[None]] = _nobody,
    ) -> None:
        self._redis = redis
        self._feed = feed
        self._hear = hear
        self._away = False

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish events of the calling service; what Redis does not take within 50 ms is dropped.

        Raises:
            NotPermitted: an event is said to come from another service.
        """
        source = caller.current().subject.removeprefix("service:")
        if any(event.source != source for event in events):
            raise NotPermitted(f"events.publish for others than {source}")
        await self._hear(events)
        for event in events:
            self._feed.ring(event.type, event.subject)
        sent = await self._send(events)
        _EVENTS.labels(source, "sent" if sent else "dropped").inc(len(events))

    async def _send(self, events: Sequence[Event]) -> bool:
        try:
            async with asyncio.timeout(PUBLISH_SECONDS), self._redis.pipeline(False) as pipe:
                for event in events:
                    pipe.publish(channel_of(event.tenant_id), to_cloud_event(event))
                await pipe.execute()
        except (TimeoutError, RedisError, OSError) as error:
            if not self._away:
                log.warning("events are not published", error=str(error) or repr(error))
            self._away = True
            return False
        self._away = False
        return True
