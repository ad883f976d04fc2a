"""When the request at hand must be answered."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from common.errors import DomainError, StatusCode

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@dataclass(eq=False)
class DeadlineExceeded(DomainError):
    """The time for the request was over before the work was done: 504."""

    status = StatusCode.DEADLINE_EXCEEDED
    detail = "{what} did not answer in time."

    what: str


def current_deadline() -> float | None:
    """When to answer, in seconds on the monotonic clock; None when there is no hurry."""
    return _deadline.get()


def remaining(default: float) -> float:
    """Seconds left for the request, at least 0; the default when there is no deadline."""
    deadline = _deadline.get()
    return default if deadline is None else max(deadline - time.monotonic(), 0.0)


def start(seconds: float) -> None:
    """Give the rest of this task so many seconds."""
    _deadline.set(time.monotonic() + seconds)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Do what is inside with so many seconds to go."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)
