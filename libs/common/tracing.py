"""W3C trace context: which trace the work at hand belongs to, and what it causes."""

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

_HEADER = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 0x01


class Trace(NamedTuple):
    """Our place in a trace, as https://www.w3.org/TR/trace-context/ defines it."""

    trace_id: str
    span_id: str
    flags: str = "00"
    # Whose span ours is part of; empty in the first one of a trace.
    parent_id: str = ""

    @property
    def header(self) -> str:
        """The `traceparent` for what we call."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @property
    def is_sampled(self) -> bool:
        """Whether its spans are to be recorded: its first caller has decided, for all of them."""
        return bool(int(self.flags, 16) & _SAMPLED)


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)
# Of several requests that are worked on together: the `traceparent` of each, by request id.
_shared: ContextVar[Mapping[str, str]] = ContextVar("traces", default={})  # noqa: B039 (never written to)


class _Sampling:
    ratio = 0.0


def sample(ratio: float) -> None:
    """Record this share of the traces that begin here; none as long as nobody says so."""
    _Sampling.ratio = ratio


def current() -> Trace | None:
    """The trace of the request at hand, None outside one."""
    return _current.get()


def continued(traceparent: str | None) -> Trace:
    """A span of ours in the caller's trace, or the first one of a new trace."""
    span_id = f"{random.getrandbits(64) or 1:016x}"
    known = _HEADER.fullmatch(traceparent) if traceparent else None
    if known:
        trace_id, parent_id, flags = known.groups()
        return Trace(trace_id, span_id, flags, parent_id)
    flags = "01" if random.random() < _Sampling.ratio else "00"  # noqa: S311 (a choice, not a secret)
    return Trace(f"{random.getrandbits(128) or 1:032x}", span_id, flags)


def follow(traceparent: str | None) -> Trace:
    """Continue the caller's trace with a span of ours, or begin one, for the rest of this task."""
    trace = continued(traceparent)
    _current.set(trace)
    return trace


def traceparent_for(request_id: str) -> str:
    """What is caused by a request goes on in its trace; empty when it has none."""
    known = _shared.get().get(request_id)
    if known is not None:
        return known
    trace = _current.get()
    return trace.header if trace else ""


@contextmanager
def working_for(traces: Mapping[str, str], only: Trace | None = None) -> Iterator[None]:
    """Work on several requests together.

    Args:
        traces: the `traceparent` of each by its request id.
        only: the span at hand, when it is one request's alone.
    """
    shared, mine = _shared.set(traces), _current.set(only)
    try:
        yield
    finally:
        _shared.reset(shared)
        _current.reset(mine)
