"""What a service listens to: functions that are marked, and the lanes that they share."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from common.transaction import Transaction
from erp.events.v1.events_pb2 import Event

# The lane of who listens to all events of those tenants that want it.
ALL_EVENTS = "all events"

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Heard(Generic[M]):
    """An event as its listener receives it."""

    message: M
    request_id: str
    sequence: int
    # When it happened, which may be long before it is heard.
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


Listener = Callable[[Transaction, Sequence[Heard[Any]]], Awaitable[None]]


@dataclass(frozen=True)
class Listening:
    """What a listener asked for."""

    message: type[Message]
    queue: str
    tries: int
    backoff_seconds: float
    listener: Listener

    @property
    def type(self) -> str:
        """Full name of the event."""
        return str(self.message.DESCRIPTOR.full_name)

    @property
    def source(self) -> str:
        """The service that publishes it: "sales" for erp.sales.v1.OrderConfirmed."""
        return self.type.split(".")[1]


def listens_to(
    message: type[M], *, queue: str = "default", tries: int = 3, backoff: float = 10
) -> Callable[[Callable[[Transaction, Sequence[Heard[M]]], Awaitable[None]]], Listener]:
    """Mark a function `(tx, events: Sequence[Heard[message]])` as a listener.

    It receives consecutive events of one tenant in order, up to 100 together, inside the
    transaction that also moves
    the position: each event takes effect exactly once. Listeners of one service with the same queue
    and source share
    a position and so keep the order across types.

    Args:
        message: the event.
        queue: "high", "default" or "low"; a worker may serve some of them.
        tries: how often an event is tried before it is parked in failed_jobs and the stream goes
            on.
        backoff: seconds before the second try; doubles with each further one.
    """

    def mark(listener: Callable[[Transaction, Sequence[Heard[M]]], Awaitable[None]]) -> Listener:
        listener.__listening__ = Listening(message, queue, tries, backoff, listener)  # type: ignore[attr-defined]
        return listener

    return mark


def hears_all(
    *sources: str, queue: str = "default", tries: int = 3, backoff: float = 10
) -> Callable[[Callable[[Transaction, Sequence[Heard[Event]]], Awaitable[None]]], Listener]:
    """Mark a function as the listener to all events of these services, of tenants that want it.

    It receives the events themselves, whatever their type, otherwise as `listens_to` says. It is
    called for a tenant from the moment at which the tenant has a row in `subscriptions` for
    ALL_EVENTS and the source: whoever makes the row says where to begin. A service has one such
    listener.

    Args:
        sources: the services.
        queue: "high", "default" or "low"; a worker may serve some of them.
        tries: how often an event is tried before it is parked.
        backoff: seconds before the second try; doubles with each further one.
    """

    def mark(
        listener: Callable[[Transaction, Sequence[Heard[Event]]], Awaitable[None]],
    ) -> Listener:
        all_of = Listening(Event, queue, tries, backoff, listener)
        listener.__hearing__ = [Lane(ALL_EVENTS, source, {}, all_of) for source in sources]  # type: ignore[attr-defined]
        return listener

    return mark


def heard_of(listening: Listening, event: Event) -> Heard[Any]:
    """An event as this listener receives it."""
    return Heard(
        _message_of(event, listening),
        event.request_id,
        event.sequence,
        event.time.ToDatetime(UTC),
    )


@dataclass(frozen=True)
class Lane:
    """The listeners of one service that share a position in one source's events."""

    name: str
    source: str
    listenings: dict[str, Listening] = field(default_factory=dict)
    # Of a lane for all events, in place of those by type.
    all_of: Listening | None = None

    @property
    def types(self) -> list[str]:
        """The types that are listened to; none when all are."""
        return list(self.listenings)

    def hears(self, kind: str) -> bool:
        """Whether events of this type are listened to."""
        return self.all_of is not None or kind in self.listenings

    def listening_to(self, kind: str) -> Listening:
        """Who listens to events of this type."""
        return self.all_of or self.listenings[kind]

    @property
    def queue(self) -> str:
        """The queue of its listeners."""
        return self.all_of.queue if self.all_of else self.name


def lanes_of(module: ModuleType) -> list[Lane]:
    """The lanes of a service, from the marked functions of its listeners module."""
    lanes: dict[tuple[str, str], Lane] = {}
    for item in vars(module).values():
        listening = getattr(item, "__listening__", None)
        if isinstance(listening, Listening):
            key = (listening.queue, listening.source)
            lanes.setdefault(key, Lane(*key)).listenings[listening.type] = listening
        for lane in getattr(item, "__hearing__", ()):
            lanes[lane.name, lane.source] = lane
    return list(lanes.values())


def _message_of(event: Event, listening: Listening) -> Message:
    return event if listening.message is Event else listening.message.FromString(event.data)
