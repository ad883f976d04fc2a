"""Sliding windows: how much was taken lately, and when there is room for more."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

__all__ = ["Bucket", "LocalWindows", "Refusals", "Verdict"]

# The least recently used go first; under a flood of strangers these are the strangers.
_MOST_KEYS = 10_000
# So that a flushed Redis, or a clock that was set, is noticed soon.
_BELIEVED_SECONDS = 1.0


class Bucket(NamedTuple):
    """At most `limit` units within any `window_seconds`, counted under one key."""

    name: str
    key: str
    limit: int
    window_seconds: float


class Verdict(NamedTuple):
    """Whether units were taken, and how the narrowest of their buckets is afterwards."""

    taken: bool
    bucket: Bucket
    remaining: int
    # Epoch seconds, by the clock that decided.
    time: float
    # Seconds until the bucket has more, and until this request would be let in (0 when it was).
    more_after_seconds: float
    retry_after_seconds: float

    @property
    def reset(self) -> float:
        """When the bucket has more, in epoch seconds."""
        return self.time + self.more_after_seconds


_WAIT, _REMAINING = attrgetter("retry_after_seconds"), attrgetter("remaining")


class LocalWindows:
    """What this process has let in: for each key, a log with the time of every unit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logs: OrderedDict[str, deque[float]] = OrderedDict()

    def look(self, buckets: Sequence[Bucket], cost: int, share: int = 1) -> Verdict:
        """What taking would come to, when this process may have 1/`share` of each limit."""
        now = self._clock()
        verdicts = [self._look(bucket, cost, share, now) for bucket in buckets]
        refusal = max(verdicts, key=_WAIT)
        return refusal if not refusal.taken else min(verdicts, key=_REMAINING)

    def record(self, buckets: Sequence[Bucket], cost: int, moment: float) -> None:
        """Remember what was taken at this moment of the clock."""
        for bucket in buckets:
            log = self._logs.get(bucket.key)
            if log is None or log.maxlen != bucket.limit:
                log = self._logs[bucket.key] = deque(log or (), maxlen=bucket.limit)
                if len(self._logs) > _MOST_KEYS:
                    self._logs.popitem(last=False)
            log.extend([moment] * min(cost, bucket.limit))

    def give_back(self, bucket: Bucket) -> None:
        """Forget the unit taken last."""
        if log := self._logs.get(bucket.key):
            log.pop()

    def _look(self, bucket: Bucket, cost: int, share: int, now: float) -> Verdict:
        log, span = self._log(bucket, now), bucket.window_seconds
        limit = max(bucket.limit // share, 1)
        units = min(cost, limit)
        left = max(limit - len(log), 0)
        missing = len(log) + units - limit
        more = log[0] + span - now if log else span
        if missing > 0:
            wait = log[missing - 1] + span - now
            return Verdict(False, bucket, left, time.time(), more, wait)
        return Verdict(True, bucket, left - units, time.time(), more, 0.0)

    def _log(self, bucket: Bucket, now: float) -> Sequence[float]:
        log = self._logs.get(bucket.key)
        if log is None:
            return ()
        self._logs.move_to_end(bucket.key)
        while log and log[0] <= now - bucket.window_seconds:
            log.popleft()
        return log


class _Refusal(NamedTuple):
    """What was refused, and when."""

    verdict: Verdict
    cost: int
    moment: float


class Refusals:
    """What others' units left no room for: who asks again is refused without looking again.

    Units leave a window by time alone, so a refusal holds until there is room; it is believed for a
    second at most.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, _Refusal] = OrderedDict()

    def look(self, buckets: Sequence[Bucket], cost: int) -> Verdict | None:
        """The refusal that still holds for these buckets, if there is one."""
        now = self._clock()
        for bucket in buckets:
            known = self._known.get(bucket.key)
            if known is None or known.cost > cost or known.verdict.bucket != bucket:
                continue
            past, refused = now - known.moment, known.verdict
            if past < min(refused.retry_after_seconds, _BELIEVED_SECONDS):
                more = max(refused.more_after_seconds - past, 0.0)
                wait = refused.retry_after_seconds - past
                return refused._replace(
                    time=refused.time + past, more_after_seconds=more, retry_after_seconds=wait
                )
        return None

    def record(self, verdict: Verdict, cost: int, moment: float) -> None:
        """Remember a refusal of what was asked for at this moment of the clock."""
        self._known[verdict.bucket.key] = _Refusal(verdict, cost, moment)
        self._known.move_to_end(verdict.bucket.key)
        if len(self._known) > _MOST_KEYS:
            self._known.popitem(last=False)
