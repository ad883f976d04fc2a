"""How far a client's own writes have come in each service's log, so that its reads can be as fresh.

A token names, for each service, a position (LSN) of its database's write-ahead log that is not
before the commit. Whoever has replayed the log up to there sees the write.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = [
    "Positions",
    "Reading",
    "collect",
    "collecting",
    "current_reading",
    "fold_in",
    "merge",
    "merge_tokens",
    "parse_token",
    "reading",
    "strictest",
    "write_token",
    "wrote",
]

# By service.
Positions = Mapping[str, int]

_LONGEST = 1024
_MOST_SERVICES = 16
_POSITION = re.compile(r"([a-z][a-z0-9-]{0,30})=([0-9a-f]{1,16})")


@dataclass
class Reading:
    """A read that a replica may answer, if it is as fresh as this."""

    positions: Positions
    # Whether a replica did.
    from_replica: bool = False
    # The readings that this one is done for.
    parts: tuple["Reading", ...] = ()

    def answered_by_replica(self) -> None:
        """Note that a replica answers."""
        self.from_replica = True
        for part in self.parts:
            part.answered_by_replica()


_written: ContextVar[dict[str, int] | None] = ContextVar("written", default=None)
_reading: ContextVar[Reading | None] = ContextVar("reading", default=None)


def write_token(positions: Positions) -> str:
    """The token for these positions, opaque to clients; "" for none."""
    if not positions:
        return ""
    text = ",".join(f"{service}={position:x}" for service, position in sorted(positions.items()))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_token(token: str) -> dict[str, int]:
    """The positions in a token.

    Raises:
        ValueError: nobody of ours has made it.
    """
    if not token:
        return {}
    if len(token) > _LONGEST:
        raise ValueError("is too long for a token")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found = [_POSITION.fullmatch(part) for part in raw.decode("ascii").split(",")]
    except ValueError:
        found = [None]
    if None in found or len(found) > _MOST_SERVICES:
        raise ValueError("is not a token that an answer carried")
    return {match[1]: int(match[2], 16) for match in found if match}


def merge(*many: Positions) -> dict[str, int]:
    """The newest position of each service."""
    newest: dict[str, int] = {}
    for positions in many:
        for service, position in positions.items():
            newest[service] = max(newest.get(service, 0), position)
    return newest


def merge_tokens(*tokens: str) -> str:
    """The token that demands what all of these demand."""
    return write_token(merge(*map(parse_token, tokens)))


def collect() -> dict[str, int]:
    """Begin to remember what the rest of this task writes: what `wrote` notes shows up here."""
    written: dict[str, int] = {}
    _written.set(written)
    return written


def collecting() -> bool:
    """Whether anybody wants to know what is written."""
    return _written.get() is not None


def wrote(positions: Positions) -> None:
    """Note what was written on the way to the answer at hand."""
    written = _written.get()
    if written is not None:
        written.update(merge(written, positions))


def fold_in(token: str) -> None:
    """Note what another service says it has written for the answer at hand."""
    wrote(parse_token(token))


def current_reading() -> Reading | None:
    """How fresh the reads at hand must be; None: as fresh as the primary."""
    return _reading.get()


@contextmanager
def reading(wanted: Reading | None) -> Iterator[None]:
    """Let replicas answer the reads inside, or (None) only the primary."""
    token = _reading.set(wanted)
    try:
        yield
    finally:
        _reading.reset(token)


def strictest(readings: Iterable[Reading | None]) -> Reading | None:
    """What satisfies all of these at once; None if one of them needs the primary."""
    parts = []
    for one in readings:
        if one is None:
            return None
        parts.append(one)
    return Reading(merge(*(one.positions for one in parts)), parts=tuple(parts)) if parts else None
