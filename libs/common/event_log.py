"""Every service's own record of what happened in it, served to those who follow it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text

from common.database import Database, Transaction
from common.errors import InvalidRequest
from common.partitions import EVENTS
from common.wire import timestamp
from erp.events.v1 import events_pb2 as pb
from erp.events.v1 import events_pb2_grpc as rpc

SYSTEM_REASON = "event heads"
DEFAULT_LIMIT = 100

# One statement, one snapshot: the head belongs to the same moment as the events.
_READ = text("""
    SELECT head.sequence AS head, event.*
    FROM event_heads AS head LEFT JOIN LATERAL (
        SELECT sequence, id, type, subject, occurred_at, data, request_id, traceparent
        FROM events
        WHERE events.tenant_id = head.tenant_id AND sequence > :after
          AND (:any_type OR type = ANY(CAST(:types AS text[])))
          AND (:any_subject OR subject = ANY(CAST(:subjects AS text[])))
        ORDER BY sequence LIMIT :limit
    ) AS event ON true
    WHERE head.tenant_id = :tenant_id
    ORDER BY event.sequence
""")
# A tenant's numbers have no gap, so the one after a position is there for as long as it is kept.
_NEXT = text("""
    SELECT EXISTS (SELECT FROM events WHERE tenant_id = :tenant_id AND sequence = :after + 1)
""")
_HEADS = text("SELECT tenant_id, sequence FROM event_heads WHERE changed_at >= :since")
_ALL_HEADS = text("SELECT tenant_id, sequence FROM event_heads")


class EventLogServicer(rpc.EventLogServicer):
    """Reads the events of the service called `source`."""

    def __init__(self, source: str, database: Database) -> None:
        self._source = source
        self._database = database

    async def Read(self, request: pb.ReadRequest, context: object = None) -> pb.ReadResponse:
        """Events after a position, and how far that looked.

        Raises:
            InvalidRequest: events after the position are no longer kept, and none is to be missed.
        """
        limit = 0 if request.head_only else request.limit or DEFAULT_LIMIT
        async with self._database.read_transaction(fresh=True) as tx:
            rows = await tx.rows(
                _READ,
                {
                    "tenant_id": tx.tenant_id,
                    "after": request.after,
                    "any_type": not request.types,
                    "types": list(request.types),
                    "any_subject": not request.subjects,
                    "subjects": list(request.subjects),
                    "limit": limit,
                },
            )
            if request.without_gap and request.after:
                await _demand_next(tx, request.after, rows)
            events = [self._event(tx.tenant_id, row) for row in rows if row.sequence is not None]
        return pb.ReadResponse(
            events=events, position=_looked_at(request.after, rows, events, limit)
        )

    async def Heads(self, request: pb.HeadsRequest, context: object = None) -> pb.HeadsResponse:
        """How far each tenant's events go."""
        async with self._database.system_transaction(SYSTEM_REASON) as connection:
            if request.HasField("changed_since"):
                result = await connection.execute(
                    _HEADS, {"since": request.changed_since.ToDatetime()}
                )
            else:
                result = await connection.execute(_ALL_HEADS)
            rows = result.all()
        return pb.HeadsResponse(
            heads=[pb.Head(tenant_id=str(row.tenant_id), sequence=row.sequence) for row in rows]
        )

    def _event(self, tenant_id: object, row: Row[Any]) -> pb.Event:
        return pb.Event(
            id=str(row.id),
            tenant_id=str(tenant_id),
            source=self._source,
            sequence=row.sequence,
            type=row.type,
            subject=row.subject,
            time=timestamp(row.occurred_at),
            data=row.data,
            request_id=row.request_id,
            traceparent=row.traceparent,
        )


async def _demand_next(tx: Transaction, after: int, rows: Sequence[Row[Any]]) -> None:
    if not rows or rows[0].head <= after or rows[0].sequence == after + 1:
        return
    if not await tx.scalar(_NEXT, {"tenant_id": tx.tenant_id, "after": after}):
        raise InvalidRequest.of(
            "/after",
            f"is a place after which events are no longer kept ({EVENTS.days} days): "
            "read from the oldest, without it, or from now",
        )


def _looked_at(after: int, rows: Sequence[Row[Any]], events: Sequence[pb.Event], limit: int) -> int:
    if events and len(events) == limit:
        return events[-1].sequence
    return max(after, rows[0].head) if rows else after
