"""A request waits for Redis in vain once at most: whatever else would ask it goes without.

Each role has a time of its own to answer in. A server that hangs would take all of them, one after
another, from a request that needs a session, a budget and a kept value.
"""

from contextvars import ContextVar

__all__ = ["begin", "is_over", "lose"]


class _Patience:
    """What the tasks of one request know together."""

    over = False


_current: ContextVar[_Patience | None] = ContextVar("patience with Redis", default=None)


def begin() -> None:
    """Have patience again: here a request begins."""
    _current.set(_Patience())


def is_over() -> bool:
    """Whether the request at hand has waited for Redis in vain; never outside of one."""
    patience = _current.get()
    return patience is not None and patience.over


def lose() -> None:
    """Note that the request at hand has waited in vain."""
    patience = _current.get()
    if patience is not None:
        patience.over = True
