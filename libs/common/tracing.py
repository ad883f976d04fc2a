"""W3C trace context: which trace the work at hand belongs to."""

import random
import re
from contextvars import ContextVar
from typing import NamedTuple

_HEADER = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


class Trace(NamedTuple):
    """Our place in a trace, as https://www.w3.org/TR/trace-context/ defines it."""

    trace_id: str
    span_id: str
    flags: str = "00"

    @property
    def header(self) -> str:
        """The `traceparent` for what we call."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace | None:
    """The trace of the request at hand, None outside one."""
    return _current.get()


def follow(traceparent: str | None) -> Trace:
    """Continue the caller's trace with a span of ours, or begin one, for the rest of this task."""
    known = _HEADER.fullmatch(traceparent) if traceparent else None
    trace_id, flags = known.group(1, 3) if known else (f"{random.getrandbits(128) or 1:032x}", "00")
    trace = Trace(trace_id, f"{random.getrandbits(64) or 1:016x}", flags)
    _current.set(trace)
    return trace
