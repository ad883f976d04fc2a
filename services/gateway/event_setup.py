"""The feed of events put together: its pages, its streams, and who is told of news."""

from collections.abc import Awaitable, Callable, Sequence

from common.server import Service
from common.settings import Settings
from erp.events.v1.events_pb2 import Event
from erp.gateway.v1 import event_service_pb2, event_service_pb2_grpc
from gateway.event_bells import Bells
from gateway.event_pages import EventPages
from gateway.event_servicer import EventServicer
from gateway.event_stream import EventStreams
from gateway.kept_records import KeptRecords

__all__ = ["LIST_EVENTS", "feed_service", "streams_of", "told"]

_FEED = event_service_pb2.DESCRIPTOR.services_by_name["EventService"]
# Answers with a stream when it is asked for one.
LIST_EVENTS = f"/{_FEED.full_name}/ListEvents"


def feed_service(pages: EventPages) -> Service:
    """The gRPC service for pages."""
    add = event_service_pb2_grpc.add_EventServiceServicer_to_server
    return Service(_FEED, add, EventServicer(pages))


def streams_of(settings: Settings, pages: EventPages, bells: Bells) -> EventStreams:
    """The streams that a process has room for."""
    most, most_of_tenant = settings.event_streams, settings.tenant_event_streams
    return EventStreams(pages, bells, most=most, most_of_tenant=most_of_tenant)


def told(bells: Bells, kept: KeptRecords) -> Callable[[Sequence[Event]], Awaitable[None]]:
    """Who is told of published events before they are on Redis."""

    async def hear(events: Sequence[Event]) -> None:
        bells.published(events)
        await kept.hear(events)

    return hear
