"""The same for dramatiq: an actor that does nothing, and says when it began and ended."""

import itertools
import os
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

URL = os.environ["PEER_REDIS_URL"]
SPAN = "peer-span"

broker = RedisBroker(url=URL)
dramatiq.set_broker(broker)
_began: list[float] = []
_counted = itertools.count(1)
_redis = Redis.from_url(URL)


@dramatiq.actor
def nothing(last: int) -> None:
    """Count, and say how long it took when all are done."""
    if not _began:
        _began.append(time.monotonic())
    # Atomic, as the threads of the worker need it.
    if next(_counted) == last:
        _redis.set(SPAN, time.monotonic() - _began[0])
