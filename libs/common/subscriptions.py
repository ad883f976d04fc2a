"""Following another service's events: one row is lock, position and exactly-once effect."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog
from google.protobuf.message import Message
from prometheus_client import Counter, Histogram
from sqlalchemy import Row, text

from common import caller, ids, origin, spans, tracing
from common.database import Database, TooBusy, Transaction
from common.errors import OutcomeUnknown, Unavailable
from common.listening import Heard, Lane, Listening, heard_of
from common.spans import Kind
from common.tracing import Trace
from erp.events.v1.events_pb2 import Event

LARGEST_BATCH = 100
# An event whose worker cannot reach its database has not failed; it is tried again after this,
# uncounted.
AWAY_SECONDS = 0.5
# How long a tenant that does not want it is not asked again.
_UNWANTED_SECONDS = 1.0

_LABELS = ["service", "lane", "source"]
_APPLIED = Counter("kv_erp_events_applied_total", "Events that had their effect.", _LABELS)
_FAILED = Counter(
    "kv_erp_events_failed_total",
    "Failed attempts to apply an event: tried again later (retried) or given up (parked).",
    [*_LABELS, "outcome"],
)
_DELAY = Histogram(
    "kv_erp_event_delay_seconds",
    "Time from an event to its effect, of the oldest event of each transaction.",
    _LABELS,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)

log = structlog.get_logger()


_ENSURE = text("""
    INSERT INTO subscriptions (tenant_id, listener, source) VALUES (:tenant_id, :listener, :source)
    ON CONFLICT DO NOTHING
""")
_STATE = text("""
    SELECT position, attempts, retry_at FROM subscriptions
    WHERE tenant_id = :tenant_id AND listener = :listener AND source = :source
""")
_LOCK = text(f"{_STATE.text} FOR UPDATE SKIP LOCKED")
_MOVE = text("""
    UPDATE subscriptions SET position = :position, attempts = 0, retry_at = NULL, updated_at = now()
    WHERE tenant_id = :tenant_id AND listener = :listener AND source = :source
""")
_POSTPONE = text("""
    UPDATE subscriptions SET attempts = :attempts, retry_at = :retry_at, updated_at = now()
    WHERE tenant_id = :tenant_id AND listener = :listener AND source = :source
""")
_PARK = text("""
    INSERT INTO failed_jobs (id, kind, name, source, sequence, payload, error, attempts, request_id)
    VALUES (:id, 'event', :name, :source, :sequence, :payload, :error, :attempts, :request_id)
""")


class Moved(Exception):
    """Another worker is at this row or has moved it; the batch was dropped."""


@dataclass(eq=False)
class Postponed(Exception):
    """The next event has failed before and is not to be tried again yet."""

    seconds: float


@dataclass
class Subscription:
    """One tenant's place in one lane. Not shared between tasks."""

    service: str
    database: Database
    lane: Lane
    tenant_id: UUID
    # The last position known to be stored; None before the first look.
    position: int | None = None
    # How far this process has looked: past `position` where nothing was for this lane.
    seen: int = 0
    # Until when this process takes it that nobody wants it.
    unwanted_until: float = 0.0

    async def load(self) -> int | None:
        """Read the stored position anew, creating the row the first time.

        None where the tenant has to want it, and does not.
        """
        if self.lane.all_of is not None:
            return await self._load_if_wanted()
        async with self.database.tenant_transaction() as tx:
            row = await tx.row(_STATE, self._key())
            if row is None:
                await tx.execute(_ENSURE, self._key())
        self.position = row.position if row else 0
        return self.position

    async def _load_if_wanted(self) -> int | None:
        if time.monotonic() < self.unwanted_until:
            return None
        async with self.database.read_transaction(fresh=True) as tx:
            row = await tx.row(_STATE, self._key())
        if row is None:
            self.unwanted_until = time.monotonic() + _UNWANTED_SECONDS
            return None
        self.position = row.position
        return self.position

    async def apply(self, events: Sequence[Event], position: int) -> float:
        """Apply events that follow the known position, and move it to `position`.

        Returns:
            Seconds to wait before going on: 0 when all were applied or parked.

        Raises:
            Moved: the stored position is another by now.
        """
        try:
            await self._apply_together(events, position)
        except (Moved, Unavailable, OutcomeUnknown):
            self.position = None
            raise
        except Postponed as wait:
            return wait.seconds
        except Exception:  # noqa: BLE001 (told apart and recorded one by one)
            return await self._apply_one_by_one(events, position)
        return 0.0

    async def _apply_together(self, events: Sequence[Event], position: int) -> None:
        started = time.perf_counter()
        traces = [tracing.continued(event.traceparent) for event in events]
        with caused_by(events, traces):
            await self._apply_in_one(events, position)
            if events:
                self._tell(events, traces, time.perf_counter() - started)

    async def _apply_in_one(self, events: Sequence[Event], position: int) -> None:
        async with self.database.tenant_transaction() as tx:
            await self._lock(tx)
            for listening, run in self._runs(events):
                await listening.listener(tx, run)
            await tx.execute(_MOVE, {**self._key(), "position": position})
        self.position = position
        if events:
            self._count_applied(events)

    def _tell(self, events: Sequence[Event], traces: Sequence[Trace], seconds: float) -> None:
        log.info(
            "events applied",
            lane=self.lane.name,
            source=self.lane.source,
            sequences=[event.sequence for event in events],
            request_ids=[event.request_id for event in events],
            trace_ids=[trace.trace_id for trace in traces],
            duration_ms=round(seconds * 1000, 2),
        )
        for event, trace in zip(events, traces, strict=True):
            attributes: dict[str, str | int] = {
                "messaging.system": "kv-erp",
                "messaging.operation.type": "process",
                "messaging.destination.name": event.source,
                "messaging.consumer.group.name": f"{self.service}:{self.lane.name}",
                "messaging.message.id": event.id,
                "messaging.batch.message_count": len(events),
                "kv_erp.tenant": event.tenant_id,
                "kv_erp.request_id": event.request_id,
            }
            spans.record(f"process {event.type}", Kind.CONSUMER, trace, seconds, attributes)

    def _count_applied(self, events: Sequence[Event]) -> None:
        labels = self._labels()
        _APPLIED.labels(*labels).inc(len(events))
        happened = events[0].time.ToDatetime(UTC).timestamp()
        _DELAY.labels(*labels).observe(max(time.time() - happened, 0.0))

    async def _apply_one_by_one(self, events: Sequence[Event], position: int) -> float:
        for event in events:
            try:
                await self._apply_together([event], event.sequence)
            except (Moved, Unavailable, OutcomeUnknown):
                self.position = None
                raise
            except TooBusy:
                return AWAY_SECONDS
            except Exception as error:  # noqa: BLE001 (recorded with the event)
                seconds = await self._record_failure(event, error)
                if seconds:
                    return seconds
        if self.position != position:
            await self._apply_together([], position)
        return 0.0

    async def _record_failure(self, event: Event, error: Exception) -> float:
        listening = self.lane.listening_to(event.type)
        async with self.database.tenant_transaction() as tx:
            attempts = (await self._lock(tx)).attempts + 1
            log.warning(
                "listener failed",
                type=event.type,
                sequence=event.sequence,
                attempt=attempts,
                request_id=event.request_id,
                traceparent=event.traceparent,
                exc_info=error,
            )
            parked = attempts >= listening.tries
            _FAILED.labels(*self._labels(), "parked" if parked else "retried").inc()
            if not parked:
                seconds: float = listening.backoff_seconds * 2.0 ** (attempts - 1)
                retry_at = datetime.now(UTC) + timedelta(seconds=seconds)
                await tx.execute(
                    _POSTPONE, {**self._key(), "attempts": attempts, "retry_at": retry_at}
                )
                return seconds
            await tx.execute(_PARK, self._parked(event, error, attempts))
            await tx.execute(_MOVE, {**self._key(), "position": event.sequence})
        self.position = event.sequence
        return 0.0

    async def _lock(self, tx: Transaction) -> Row[Any]:
        row = await tx.row(_LOCK, self._key())
        if row is None or row.position != self.position:
            raise Moved
        if seconds := _seconds_until(row.retry_at):
            raise Postponed(seconds)
        return row

    def _runs(self, events: Sequence[Event]) -> Iterator[tuple[Listening, list[Heard[Message]]]]:
        def listening_to(event: Event) -> Listening:
            return self.lane.listening_to(event.type)

        for listening, run in groupby(events, key=listening_to):
            yield (
                listening,
                [heard_of(listening, event) for event in run],
            )

    def _parked(self, event: Event, error: Exception, attempts: int) -> dict[str, Any]:
        return {
            "id": ids.new(),
            "name": f"{self.lane.name}:{event.type}",
            "source": event.source,
            "sequence": event.sequence,
            "payload": event.SerializeToString(),
            "error": f"{type(error).__name__}: {error}"[:2000],
            "attempts": attempts,
            "request_id": event.request_id,
        }

    def _labels(self) -> tuple[str, str, str]:
        return self.service, self.lane.name, self.lane.source

    def _key(self) -> dict[str, Any]:
        return {"tenant_id": self.tenant_id, "listener": self.lane.name, "source": self.lane.source}

    def caller(self) -> caller.Caller:
        """On whose account the lane's work is done."""
        return caller.service_caller(self.service, self.tenant_id)


@contextmanager
def caused_by(events: Sequence[Event], traces: Sequence[Trace]) -> Iterator[None]:
    """Do what is inside for the requests behind events, each in its own trace.

    Lines of the log about a lone one lie in its trace as well.
    """
    authors = (replace(origin.author(), request_id=event.request_id) for event in events)
    by_request = {
        event.request_id: trace.header for event, trace in zip(events, traces, strict=True)
    }
    only = traces[0] if len(traces) == 1 else None
    with origin.on_behalf_of(authors), tracing.working_for(by_request, only):
        yield


def _seconds_until(moment: datetime | None) -> float:
    return max(0.0, moment.timestamp() - time.time()) if moment else 0.0
