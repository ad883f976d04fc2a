"""Wakes those in this process who follow a tenant's events, by doorbells and by polling."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

import structlog

from common.caller import acting_as, service_caller
from common.database import LONGEST_TRANSACTION_SECONDS
from common.errors import DomainError
from erp.events.v1.events_pb2 import Event, HeadsRequest, HeadsResponse

__all__ = ["Bell", "Bells"]

POLL_SECONDS = 2.0
# Without doorbells polling is all there is.
POLL_SECONDS_WITHOUT_REDIS = 0.25
_LOOK_BACK = timedelta(seconds=2 * LONGEST_TRANSACTION_SECONDS)
_CHANNEL = "events:"

log = structlog.get_logger()


class EventHeads(Protocol):
    """Says how far the events of a service go."""

    def Heads(self, request: HeadsRequest) -> Awaitable[HeadsResponse]: ...  # noqa: N802 (named by gRPC)


class Bell:
    """Rings for one follower. It remembers which services have news, and nothing else."""

    def __init__(self, sources: Collection[str]) -> None:
        self._sources = frozenset(sources)
        self._rung: set[str] = set()
        self._event = asyncio.Event()
        # How far the follower has seen each service's events.
        self.seen: Mapping[str, int] = {}

    def ring(self, source: str) -> None:
        """There may be news of this service."""
        if source in self._sources:
            self._rung.add(source)
            self._event.set()

    def wake(self) -> None:
        """Let the follower look around, whatever there is."""
        self._event.set()

    async def heard(self, seconds: float) -> frozenset[str]:
        """The services with news; none when the seconds pass without."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()
        rung, self._rung = frozenset(self._rung), set()
        return rung


class Bells:
    """The bells of all followers of this process.

    Args:
        logs: the services whose events are followed.
        hears: whether doorbells arrive at all.
    """

    def __init__(self, logs: Mapping[str, EventHeads], hears: Callable[[], bool]) -> None:
        self._logs = logs
        self._hears = hears
        self._bells: dict[str, set[Bell]] = {}

    @contextlib.contextmanager
    def hung_for(self, tenant_id: UUID, sources: Collection[str]) -> Iterator[Bell]:
        """A bell for the events of these services to this tenant."""
        key, bell = str(tenant_id), Bell(sources)
        self._bells.setdefault(key, set()).add(bell)
        try:
            yield bell
        finally:
            self._bells[key].discard(bell)
            if not self._bells[key]:
                del self._bells[key]

    def published(self, events: Sequence[Event]) -> None:
        """Ring for events that this process publishes itself."""
        for event in events:
            self._ring(event.tenant_id, event.source)

    def hear(self, channel: bytes, data: bytes) -> None:
        """Ring for a doorbell as it came over Redis."""
        tenant_id = channel.decode("ascii", "replace").removeprefix(_CHANNEL)
        if tenant_id in self._bells:
            for source in self._logs:
                if f'"source":"/{source}"'.encode() in data:
                    self._ring(tenant_id, source)

    def wake_all(self) -> None:
        """Let all followers look around."""
        for bells in self._bells.values():
            for bell in bells:
                bell.wake()

    async def run(self) -> None:
        """Find what the doorbells missed, until cancelled."""
        since = dict.fromkeys(self._logs, datetime.now(UTC) - _LOOK_BACK)
        while True:
            await asyncio.sleep(POLL_SECONDS if self._hears() else POLL_SECONDS_WITHOUT_REDIS)
            for source in self._logs:
                started = datetime.now(UTC) - _LOOK_BACK
                # Whoever comes first reads everything by himself: nothing before is of interest.
                if not self._bells or await self._look(source, since[source]):
                    since[source] = started

    async def _look(self, source: str, since: datetime) -> bool:
        request = HeadsRequest()
        request.changed_since.FromDatetime(since)
        try:
            with acting_as(service_caller("gateway", None)):
                heads = (await self._logs[source].Heads(request)).heads
        except DomainError as error:
            log.info("heads not read", source=source, error=str(error))
            return False
        for head in heads:
            for bell in self._bells.get(head.tenant_id, ()):
                if bell.seen.get(source, 0) < head.sequence:
                    bell.ring(source)
        return True

    def _ring(self, tenant_id: str, source: str) -> None:
        for bell in self._bells.get(tenant_id, ()):
            bell.ring(source)
