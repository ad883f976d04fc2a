"""The locks that the task at hand holds, so that a transaction can ask before it commits.

Without Redis' client, so that whoever only may come to need locks can name them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from common.errors import DomainError, StatusCode

__all__ = ["Lock", "LockLost", "LockTimeout", "OpenLocks", "holding", "refuse_if_lost"]


@dataclass(eq=False)
class LockTimeout(DomainError):
    """Others held what this needs for as long as it could wait; nothing was done: 409."""

    status = StatusCode.ABORTED
    detail = "Somebody else is working on {resource}. Try again."
    retry_after_seconds = 1.0

    resource: str


@dataclass(eq=False)
class LockLost(DomainError):
    """A lock ended before its work did, so the work was rolled back: 409, worth repeating."""

    status = StatusCode.ABORTED
    detail = "The lock on {resource} ended before the work was done. Try again."
    retry_after_seconds = 0.2

    resource: str


@dataclass(eq=False)
class Lock:
    """One or several resources under one token.

    Attributes:
        held: whether Redis said so; without Redis the database's own locks decide alone.
    """

    resources: tuple[str, ...]
    keys: tuple[str, ...]
    token: str
    ttl_seconds: float
    held: bool = False
    taken_away: bool = False
    # On the monotonic clock, counted from before the question, so never later than in Redis.
    expires: float = 0.0

    @property
    def lost(self) -> bool:
        """Whether somebody else may hold it by now."""
        return self.held and (self.taken_away or time.monotonic() >= self.expires)


class Holder(Protocol):
    """What holds locks: `common.locks.Locks`."""

    def hold(self, *resources: str) -> AbstractAsyncContextManager[Lock]:
        """Hold resources of the caller's tenant while what is inside goes on."""
        ...


# The locks of the process, connected when first asked for.
OpenLocks = Callable[[], Holder]

_held: ContextVar[tuple[Lock, ...]] = ContextVar("held_locks", default=())


@contextmanager
def holding(lock: Lock) -> Iterator[None]:
    """Let the transactions inside refuse to commit once the lock is lost."""
    _held.set((*_held.get(), lock))
    try:
        yield
    finally:
        _held.set(tuple(other for other in _held.get() if other is not lock))


def refuse_if_lost() -> None:
    """Return when every lock of this task is still its own.

    Raises:
        LockLost: one is not.
    """
    for lock in _held.get():
        if lock.lost:
            raise LockLost(", ".join(lock.resources))
