"""Asking again when an answer was lost, for requests that may be repeated under their key."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prometheus_client import Counter

from common.errors import DomainError, StatusCode
from common.idempotency import IdempotencyKeyInProgress

Answer = TypeVar("Answer")

# A killed service is back within this time.
PATIENCE_SECONDS = 4.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5

_REPEATED = Counter(
    "kv_erp_gateway_repeats_total",
    "Calls with an idempotency key that the gateway sent again, for want of an answer.",
)


async def until_answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer to a request that has effect once however often it is asked.

    Asked again, with exponential backoff and full jitter, while nobody answers or the answer is
    lost, and while the service is still busy with what was asked before. Not for longer than
    PATIENCE_SECONDS.

    Raises:
        DomainError: the service's own, or why there was no answer in the end.
    """
    last, pause, lost = time.monotonic() + PATIENCE_SECONDS, _FIRST_PAUSE_SECONDS, False
    while True:
        try:
            return await ask()
        except DomainError as error:
            lost = lost or error.status is StatusCode.UNAVAILABLE
            if not (lost and _may_pass(error)) or time.monotonic() + pause > last:
                raise
        _REPEATED.inc()
        await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 (jitter, not a secret)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _may_pass(error: DomainError) -> bool:
    # That it is in progress is our own former attempt's doing only if one was lost.
    return error.status is StatusCode.UNAVAILABLE or error.reason == IdempotencyKeyInProgress.reason
