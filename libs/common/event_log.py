"""Every service's own record of what happened in it, served to those who follow it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    Text,
    any_,
    bindparam,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from common.database import Database, Transaction
from common.errors import InvalidRequest
from common.listing import Listing
from common.partitions import EVENTS
from common.schema import tenant_table
from common.wire import timestamp
from erp.events.v1 import events_pb2 as pb
from erp.events.v1 import events_pb2_grpc as rpc

SYSTEM_REASON = "event heads"
DEFAULT_LIMIT = 100

_metadata = MetaData()
_heads = tenant_table("event_heads", _metadata, Column("sequence", BigInteger, nullable=False))
_events = tenant_table(
    "events",
    _metadata,
    Column("sequence", BigInteger, primary_key=True),
    Column("id", UUID(as_uuid=True), nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("data", LargeBinary, nullable=False),
    *(
        Column(name, Text, nullable=False)
        for name in ("type", "subject", "request_id", "traceparent")
    ),
)
_LIST = Listing(pb.ReadRequest, _events.c, "sequence", others={"time": _events.c.occurred_at})


def _reading(condition: ColumnElement[bool]) -> Select[Any]:
    """Events after a position. One statement, one snapshot: the head is of the same moment."""
    events = (
        select(*(column for column in _events.c if column.name != "tenant_id"))
        .where(
            _events.c.tenant_id == _heads.c.tenant_id,
            _events.c.sequence > bindparam("after"),
            _any_or_one_of("types", _events.c.type),
            _any_or_one_of("subjects", _events.c.subject),
            condition,
        )
        .order_by(_events.c.sequence)
        .limit(bindparam("limit", type_=Integer))
        .lateral("event")
    )
    return (
        select(_heads.c.sequence.label("head"), events)
        .select_from(_heads.outerjoin(events, true()))
        .where(_heads.c.tenant_id == bindparam("tenant_id"))
        .order_by(events.c.sequence)
    )


def _any_or_one_of(names: str, column: Column[Any]) -> ColumnElement[bool]:
    wanted = bindparam(names, type_=ARRAY(Text))
    return or_(bindparam(f"any_{names}", type_=Boolean), column == any_(wanted))


# Made once: workers read all day, and ask for no filter.
_READ = _reading(true())
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
            InvalidRequest: the filter is wrong; or events after the position are no longer kept,
                and none is to be missed.
        """
        condition = _LIST.condition(request.filter)
        limit = 0 if request.head_only else request.limit or DEFAULT_LIMIT
        async with self._database.read_transaction(fresh=True) as tx:
            rows = await tx.rows(
                _READ if condition is None else _reading(condition),
                {
                    "tenant_id": tx.tenant_id,
                    "after": request.after,
                    "any_types": not request.types,
                    "types": list(request.types),
                    "any_subjects": not request.subjects,
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
