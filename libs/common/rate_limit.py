"""Limits on how often something is done: exact sliding windows that all processes share."""

import asyncio
import hashlib
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from common import patience
from common.breaker import Breaker
from common.errors import DomainError, StatusCode, Unavailable
from common.sliding_window import Bucket, LocalWindows, Refusals, Verdict

__all__ = ["Bucket", "RateLimited", "RateLimiter", "Verdict"]

# Redis that takes longer has no say.
ANSWER_SECONDS = 0.05
# So that no script holds up Redis for longer than a millisecond or so.
_LARGEST_BATCH = 100
_MICRO = 1_000_000
# Numbers that the script returns for each question.
_ANSWER = 5

_SCRIPT = Path(__file__).with_suffix(".lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode()).hexdigest()  # noqa: S324 (Redis names scripts by it)

_REFUSED = Counter("kv_erp_rate_limit_refused_total", "Requests over a limit.", ["bucket"])
_TAKEN = Counter("kv_erp_rate_limit_taken_total", "Requests within all their limits.")
_LOCAL = Counter(
    "kv_erp_rate_limit_local_total", "Limits decided without Redis, which was away or slow."
)

log = structlog.get_logger()


@dataclass(eq=False)
class RateLimited(DomainError):
    """There have been too many requests lately; nothing was done: 429."""

    status = StatusCode.RESOURCE_EXHAUSTED
    detail = (
        "The limit is {limit} in {window_seconds} seconds for one {bucket}. "
        "Try again in {wait_seconds} seconds."
    )

    bucket: str
    limit: int
    window_seconds: int
    wait_seconds: int

    def __post_init__(self) -> None:
        # Past the class variable of DomainError: here it is that of one error.
        vars(self)["retry_after_seconds"] = float(self.wait_seconds)

    @classmethod
    def by(cls, verdict: Verdict) -> "RateLimited":
        """The error for units that were not taken."""
        bucket = verdict.bucket
        wait = max(math.ceil(verdict.retry_after_seconds), 1)
        return cls(bucket.name, bucket.limit, math.ceil(bucket.window_seconds), wait)


class RateLimiter:
    """Takes units from buckets in Redis; while Redis is away, from this process' share of them.

    Redis keeps a log for each bucket: within any span of the window at most `limit` units are
    taken, by its clock. Every key expires a window after its last unit.

    What this process took is remembered here as well. Whoever is over the limit by that alone is
    refused without asking Redis, and when Redis goes away or is flushed nobody starts afresh. Whom
    Redis refused is refused here until there is room, for a second at most, so that a flood costs
    Redis nothing.

    Args:
        redis: a client that gives up in time and repeats nothing (Role.LIMITS).
        replicas: how many processes share the limits while Redis is away.
        answer_seconds: how long Redis may take, 50 ms when absent.
    """

    def __init__(
        self, redis: Redis, *, replicas: int = 1, answer_seconds: float | None = None
    ) -> None:
        self._redis = redis
        self._answer_seconds = answer_seconds
        self._replicas = replicas
        self._own = LocalWindows()
        self._refusals = Refusals()
        self._breaker = Breaker("rate limits")
        self._waiting: list[_Question] = []
        self._asking: set[asyncio.Task[None]] = set()

    async def take(self, buckets: Sequence[Bucket], cost: int = 1) -> Verdict:
        """Take so many units from every bucket, or none from any: one round trip, in short time.

        What costs more than a whole limit takes all of it.
        """
        asked = time.monotonic()
        verdict = self._refusals.look(buckets, cost) or self._own.look(buckets, cost)
        if verdict.taken:
            shared = await self._shared(buckets, cost) if self._may_ask() else None
            verdict = shared or self._local(buckets, cost)
            if shared and not shared.taken:
                self._refusals.record(shared, cost, asked)
        if verdict.taken:
            # From before Redis was asked, so that nothing is refused here which it would let in.
            self._own.record(buckets, cost, asked)
            _TAKEN.inc()
        else:
            _REFUSED.labels(verdict.bucket.name).inc()
        return verdict

    async def take_shared(self, buckets: Sequence[Bucket], cost: int = 1) -> Verdict:
        """`take`, where a process's own share is not enough to go by.

        Raises:
            Unavailable: Redis has no say.
        """
        verdict = self._own.look(buckets, cost)
        if verdict.taken:
            asked = time.monotonic()
            shared = await self._shared(buckets, cost) if self._breaker.lets_through() else None
            if shared is None:
                raise Unavailable("What counts attempts")
            verdict = shared
        if verdict.taken:
            self._own.record(buckets, cost, asked)
        else:
            _REFUSED.labels(verdict.bucket.name).inc()
        return verdict

    async def give_back(self, buckets: Sequence[Bucket]) -> None:
        """Return the unit taken last from each of these buckets; not while Redis is away."""
        for bucket in buckets:
            self._own.give_back(bucket)
        try:
            async with (
                asyncio.timeout(self._answer_seconds or ANSWER_SECONDS),
                self._redis.pipeline(False) as pipe,
            ):
                for bucket in buckets:
                    pipe.lpop(bucket.key)
                await pipe.execute()
        except (RedisError, OSError) as error:
            log.warning("limits without Redis", error=repr(error))

    async def _shared(self, buckets: Sequence[Bucket], cost: int) -> Verdict | None:
        """What Redis says; None when it says nothing in time."""
        loop = asyncio.get_running_loop()
        question = _Question(buckets, cost, loop.create_future())
        if not self._waiting:
            # Whoever else asks in this turn of the event loop shares the round trip.
            loop.call_soon(self._send)
        self._waiting.append(question)
        verdict = await question.verdict
        if verdict is None:
            patience.lose()
        return verdict

    def _may_ask(self) -> bool:
        return not patience.is_over() and self._breaker.lets_through()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), _LARGEST_BATCH):
            task = asyncio.create_task(self._answer(waiting[start : start + _LARGEST_BATCH]))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _answer(self, questions: "list[_Question]") -> None:
        verdicts: Iterable[Verdict] = ()
        try:
            async with asyncio.timeout(self._answer_seconds or ANSWER_SECONDS):
                verdicts = _verdicts(questions, await self._ask(questions))
        except (RedisError, OSError) as error:
            self._breaker.failed()
            log.warning("limits without Redis", error=repr(error))
        else:
            self._breaker.succeeded()
        finally:
            # Whatever happened, nobody is left waiting.
            for question, verdict in zip_longest(questions, verdicts):
                if not question.verdict.done():
                    question.verdict.set_result(verdict)

    async def _ask(self, questions: "list[_Question]") -> Any:
        keys: list[Any] = []
        arguments: list[Any] = []
        for buckets, cost, _ in questions:
            arguments += (cost, len(buckets))
            for bucket in buckets:
                keys.append(bucket.key)
                arguments += (bucket.limit, round(bucket.window_seconds * _MICRO))
        try:
            return await self._redis.evalsha(_SHA, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self._redis.eval(_SCRIPT, len(keys), *keys, *arguments)

    def _local(self, buckets: Sequence[Bucket], cost: int) -> Verdict:
        _LOCAL.inc()
        return self._own.look(buckets, cost, self._replicas)


class _Question(NamedTuple):
    """What one caller wants to take."""

    buckets: Sequence[Bucket]
    cost: int
    verdict: asyncio.Future[Verdict | None]


def _verdicts(questions: Sequence[_Question], answers: Sequence[int]) -> list[Verdict]:
    """What the script's answer means for each question."""
    now, verdicts = answers[0] / _MICRO, []
    for start, question in zip(range(1, len(answers), _ANSWER), questions, strict=True):
        taken, index, left, more, wait = answers[start : start + _ANSWER]
        bucket = question.buckets[index - 1]
        verdicts.append(Verdict(bool(taken), bucket, left, now, more / _MICRO, wait / _MICRO))
    return verdicts
