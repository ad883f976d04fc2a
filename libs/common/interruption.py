"""Stopping a task from outside, but never while it holds a connection to the database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Interrupted", "Interruption", "holding"]

_current: ContextVar["Interruption | None"] = ContextVar("interruption", default=None)


class Interrupted(BaseException):
    """Somebody wants this task to end. Not an Exception: nobody catches it by the way."""


class Interruption:
    """One task that may be stopped, together with what it has started itself.

    Between transactions it is cancelled where it waits. In a transaction it is left alone, since
    the database keeps the time there; it stops at the end of that one, and never begins another.
    """

    def __init__(self) -> None:
        self.why: Interrupted | None = None
        self._task: asyncio.Task[object] | None = None
        self._holding = 0

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let the task at hand be stopped while it does what is inside."""
        token = _current.set(self)
        self._task = asyncio.current_task()
        try:
            self._stop_if_wanted()
            yield
        finally:
            self._task = None
            _current.reset(token)

    def interrupt(self, why: Interrupted) -> None:
        """Stop it as soon as it holds no connection. The first reason counts."""
        if self.why is not None:
            return
        self.why = why
        # Who holds a connection would be struck inside its transaction; it looks by itself.
        if self._task is not None and not self._holding:
            self._task.cancel()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold a connection meanwhile.

        Raises:
            Interrupted: before it begins or after it ended, where nothing is held.
        """
        self._stop_if_wanted()
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
        self._stop_if_wanted()

    def _stop_if_wanted(self) -> None:
        # Raised here and not by a cancellation, which would strike at the next wait: that may be
        # inside the next transaction.
        if self.why is not None:
            raise self.why


@contextmanager
def holding() -> Iterator[None]:
    """Let nobody stop this task while what is inside goes on."""
    current = _current.get()
    if current is None:
        yield
    else:
        with current.holding():
            yield
