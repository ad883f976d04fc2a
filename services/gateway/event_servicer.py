"""Wire in, wire out: the feed of events as pages."""

from typing import Any

from common import caller
from erp.gateway.v1 import event_service_pb2 as pb
from erp.gateway.v1 import event_service_pb2_grpc as rpc
from gateway.event_pages import EventPages, Wanted

_DEFAULT_LIMIT = 100


class EventServicer(rpc.EventServiceServicer):
    """The events of all services."""

    def __init__(self, pages: EventPages) -> None:
        self._pages = pages

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: Any
    ) -> pb.ListEventsResponse:
        """A page of events."""
        wanted = Wanted.from_wire(request)
        cursor = await self._pages.start(request.after)
        sources = self._pages.sources_of(caller.current(), wanted)
        page = await self._pages.read(cursor, sources, wanted, request.limit or _DEFAULT_LIMIT)
        return pb.ListEventsResponse(
            events=[event for event, _ in page.events],
            next_after=str(page.after),
            has_more=page.has_more,
        )
