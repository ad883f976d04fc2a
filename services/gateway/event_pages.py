"""The events of all services as one list, read a page at a time."""

import asyncio
import heapq
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from common.caller import Caller
from common.errors import InvalidRequest
from erp.events.v1.events_pb2 import Event, ReadRequest, ReadResponse
from gateway.cloud_events import known_types
from gateway.event_cursor import NOW, Cursor
from gateway.service_desk import ServiceDesk

__all__ = ["EventLog", "EventPages", "Page", "Wanted", "parse_types"]

_MOST_TYPES = 100


class EventLog(Protocol):
    """The events of one service."""

    def Read(self, request: ReadRequest) -> Awaitable[ReadResponse]: ...  # noqa: N802, D102 (named by gRPC)


@dataclass(frozen=True)
class Wanted:
    """Which events: of these types, all when there are none, for which the filter is true."""

    types: Sequence[str] = ()
    filter: str = ""

    @classmethod
    def from_wire(cls, request: Any) -> Self:
        """Read the request.

        Raises:
            InvalidRequest: there is no such event, or there are too many.
        """
        return cls(parse_types(request.types), request.filter)


@dataclass(frozen=True)
class Page:
    """Some events, and for each of them the cursor to go on from after it."""

    events: Sequence[tuple[Event, Cursor]]
    # Where to go on; beyond the last event where what follows it is of no interest.
    after: Cursor
    has_more: bool


class EventPages:
    """Reads for one caller at a time what the caller may see.

    Args:
        logs: the events of each service, by its name.
    """

    def __init__(self, logs: Mapping[str, EventLog]) -> None:
        self._desk = ServiceDesk(logs)

    def sources_of(self, reader: Caller, wanted: Wanted) -> frozenset[str]:
        """The services whose events the reader may see, and of which some are wanted."""
        asked = {source_of(kind) for kind in wanted.types} or set(self._desk.names)
        return frozenset(
            source
            for source in self._desk.names
            if source in asked and reader.may(f"{source}.events.read")
        )

    async def start(self, after: str) -> Cursor:
        """The cursor that a request names, for the caller at hand.

        Raises:
            InvalidRequest: it is none.
            Unavailable: it is "now", and a service cannot say how far its events go.
        """
        if after != NOW:
            return Cursor.parse(after)
        head = ReadRequest(head_only=True)
        answers = await self._ask(dict.fromkeys(self._desk.names, head))
        return Cursor({source: answer.position for source, answer in answers.items()})

    async def read(
        self, cursor: Cursor, sources: Collection[str], wanted: Wanted, limit: int
    ) -> Page:
        """The next events of these services for the caller at hand.

        Raises:
            InvalidRequest: the filter is wrong, or what followed the cursor is no longer kept.
            Unavailable: one of them is away; a page never leaves out what belongs on it.
        """
        requests = {}
        for source in sources:
            requests[source] = ReadRequest(
                after=cursor.of(source),
                types=[kind for kind in wanted.types if source_of(kind) == source],
                filter=wanted.filter,
                limit=limit,
                without_gap=True,
            )
        answers = await self._ask(requests)
        return _merged(cursor, answers, limit)

    async def _ask(self, requests: Mapping[str, ReadRequest]) -> dict[str, ReadResponse]:
        asked = (self._desk.call(source, request) for source, request in requests.items())
        return dict(zip(requests, await asyncio.gather(*asked), strict=True))


def parse_types(text: str) -> list[str]:
    """The event types that a list with commas names; empty for all.

    Raises:
        InvalidRequest: there is no such event, or there are too many.
    """
    types = list(filter(None, (part.strip() for part in text.split(","))))
    known = known_types()
    for kind in types:
        if kind not in known:
            rule = f"must name events such as erp.sales.v1.OrderConfirmed; there is no {kind[:100]}"
            raise InvalidRequest.of("/types", rule)
    if len(types) > _MOST_TYPES:
        raise InvalidRequest.of("/types", f"must not name more than {_MOST_TYPES} events")
    return types


def source_of(kind: str) -> str:
    """The service that publishes events of a type: "sales" for erp.sales.v1.OrderConfirmed."""
    return kind.split(".")[1]


def _merged(cursor: Cursor, answers: Mapping[str, ReadResponse], limit: int) -> Page:
    """The oldest of all services' events; the order within a service stays as it is."""
    streams = [answer.events for answer in answers.values()]
    # Stable for each stream, also where a transaction that began first ended last.
    ordered = list(heapq.merge(*streams, key=_moment))
    page = []
    for event in ordered[:limit]:
        cursor = cursor.moved(event.source, event.sequence)
        page.append((event, cursor))
    left = {event.source for event in ordered[limit:]}
    for source, answer in answers.items():
        if source not in left:
            cursor = cursor.moved(source, max(answer.position, cursor.of(source)))
    full = any(len(answer.events) == limit for answer in answers.values())
    return Page(page, cursor, bool(left) or full)


def _moment(event: Event) -> tuple[int, int]:
    return event.time.seconds, event.time.nanos
