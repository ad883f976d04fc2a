"""Ids of jobs that are ready, in Redis: they wake workers, and may be lost at any time."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis

from common.jobs.enqueueing import Woken
from common.redis_link import AWAY

__all__ = ["JobBell", "next_woken", "queue_key"]

# Workers sleep only when the database has nothing for them: more ids than this wake nobody.
MOST_IDS = 1_000
_MOST_WAITING = 10_000

log = structlog.get_logger()


def queue_key(service: str, queue: str) -> str:
    """Where the ids of a queue are."""
    return f"queue:{service}:{queue}"


class JobBell:
    """Tells workers of jobs after the commit, in the background.

    Args:
        service: whose workers.
        redis: where they wait; one that gives up quickly.
    """

    def __init__(self, service: str, redis: Redis) -> None:
        self._service = service
        self._redis = redis
        self._waiting: deque[Woken] = deque(maxlen=_MOST_WAITING)
        self._rung = asyncio.Event()

    def ring(self, jobs: Iterable[Woken]) -> None:
        """Tell workers of these. Never blocks and never fails."""
        self._waiting.extend(jobs)
        self._rung.set()

    async def run(self) -> None:
        """Pass on what is rung until cancelled."""
        while True:
            await self._rung.wait()
            self._rung.clear()
            await self.flush()

    async def flush(self) -> None:
        """Pass on what is waiting now."""
        jobs = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            await self._push(jobs)
        except AWAY as error:
            log.info("workers not woken, they will look", jobs=len(jobs), error=repr(error))

    async def _push(self, jobs: Iterable[Woken]) -> None:
        ids: dict[str, list[str]] = defaultdict(list)
        for job in jobs:
            ids[queue_key(self._service, job.queue)].append(str(job.id))
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, values in ids.items():
                pipe.rpush(key, *values[:MOST_IDS])
                pipe.ltrim(key, 0, MOST_IDS - 1)
            await pipe.execute()


async def next_woken(
    redis: Redis, service: str, queues: Sequence[str], most: int, seconds: float
) -> int:
    """Wait for ids in the first of the queues that has any, and take them; how many they were.

    Raises:
        RedisError, OSError, TimeoutError: Redis is away, or a Cluster, which cannot wait for
            several lists at once.
    """
    keys = [queue_key(service, queue) for queue in queues]
    # A server that hangs would not say that time is up.
    async with asyncio.timeout(seconds + 1):
        found: Any = await redis.blmpop(seconds, len(keys), *keys, direction="LEFT", count=most)
    return len(found[1]) if found else 0
