"""Commands that are only rehearsed (`validate_only`): every check, the answer, and no effect.

A rehearsed command runs as any other does, up to the end of each of its transactions: there it is
rolled back, constraints checked. Whatever it took, numbers too, is given back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from common.errors import BrokenRule
from common.transaction import PendingEvent

__all__ = ["VALIDATE_ONLY", "NotRehearsable", "Rehearsal", "current", "demand_real", "rehearsing"]

# Travels as metadata of every call that a rehearsed command makes.
VALIDATE_ONLY = "validate-only"

M = TypeVar("M", bound=Message)


@dataclass(eq=False)
class NotRehearsable(BrokenRule):
    """The command has effects that no rollback takes back, so it cannot be rehearsed."""

    detail = "This command cannot be tried with validate_only."


@dataclass
class Rehearsal:
    """One command that is rehearsed."""

    # What its transactions would have told the world.
    events: list[PendingEvent] = field(default_factory=list)

    def told(self, kind: type[M]) -> list[M]:
        """The events of this kind."""
        return [event.message for event in self.events if isinstance(event.message, kind)]


_current: ContextVar[Rehearsal | None] = ContextVar("rehearsal", default=None)


def current() -> Rehearsal | None:
    """The rehearsal that the task at hand is part of, None in earnest."""
    return _current.get()


@contextmanager
def rehearsing() -> Iterator[Rehearsal]:
    """Rehearse what is inside."""
    rehearsal = Rehearsal()
    token = _current.set(rehearsal)
    try:
        yield rehearsal
    finally:
        _current.reset(token)


def demand_real() -> None:
    """Say, before an effect that no rollback takes back, that it cannot be rehearsed.

    Raises:
        NotRehearsable: the command at hand is.
    """
    if _current.get() is not None:
        raise NotRehearsable
