"""The audit log of a service: who changed what, before and after, from where, and when."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Row,
    Text,
    and_,
    case,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as UUID_TYPE

from common import ids
from common.audit_disturbances import find_disturbed
from common.audit_seals import verify
from common.database import Database, Transaction
from common.listing import Listing, TimeOfId
from common.pagination import Page
from common.schema import tenant_table
from common.wire import timestamp
from erp.audit.v1 import audit_log_pb2 as pb
from erp.audit.v1 import audit_log_pb2_grpc as rpc

__all__ = ["ENTRIES", "LISTED", "AuditLogServicer", "record"]

_SEALS_AT_ONCE = 50

_RECORD = text("""
    INSERT INTO audit_entries (tenant_id, change_id, kind, record_id, action, after)
    VALUES (:tenant_id, audit_change(:tenant_id), :kind, :record_id, :action, CAST(:said AS jsonb))
""")
_metadata = MetaData()
_changes = tenant_table(
    "audit_changes",
    _metadata,
    Column("id", UUID_TYPE(as_uuid=True), primary_key=True),
    Column("authors", JSONB, nullable=False),
)
_authors = tenant_table(
    "audit_authors",
    _metadata,
    Column("change_id", UUID_TYPE(as_uuid=True), primary_key=True),
    Column("record_id", Text, primary_key=True),
    Column("author", Integer, nullable=False),
)
_entries = tenant_table(
    "audit_entries",
    _metadata,
    Column("id", UUID_TYPE(as_uuid=True), primary_key=True),
    Column("change_id", UUID_TYPE(as_uuid=True), nullable=False),
    *(Column(name, Text, nullable=False) for name in ("kind", "record_id", "action")),
    *(Column(name, JSONB) for name in ("before", "after")),
)
LISTED = Listing(
    pb.ListEntriesRequest,
    _entries.c,
    "id",
    newest_first=True,
    others={"time": TimeOfId(_entries.c.id)},
)
_author = func.jsonb_build_array(_changes.c.authors[_authors.c.author], type_=JSONB)
ENTRIES = select(
    *(_entries.c[name] for name in ("id", "kind", "record_id", "action", "before", "after")),
    func.uuid_extract_timestamp(_entries.c.id).label("time"),
    case((_authors.c.author.is_(None), _changes.c.authors), else_=_author).label("authors"),
).select_from(
    _entries.outerjoin(
        _changes,
        and_(_changes.c.tenant_id == _entries.c.tenant_id, _changes.c.id == _entries.c.change_id),
    ).outerjoin(
        _authors,
        and_(
            _authors.c.tenant_id == _entries.c.tenant_id,
            _authors.c.change_id == _entries.c.change_id,
            _authors.c.record_id == _entries.c.record_id,
        ),
    )
)


async def record(
    tx: Transaction, kind: str, record_id: object, action: str, said: Mapping[str, Any]
) -> None:
    """Write down what no row tells by itself, such as a login that was refused.

    Changes of rows are written down without anybody's doing.

    Args:
        tx: the transaction that it belongs to.
        kind: what it happened to, such as "user".
        record_id: which of them.
        action: what was done, in the past tense: "logged in", "login refused".
        said: what else is worth knowing; never a secret.
    """
    entry = {"kind": kind, "record_id": str(record_id), "action": action}
    said_json = orjson.dumps(dict(said)).decode()
    await tx.execute(_RECORD, {"tenant_id": tx.tenant_id, **entry, "said": said_json})


class AuditLogServicer(rpc.AuditLogServicer):
    """Shows one service's audit log; only reads.

    Args:
        service: whose log it is.
        database: where it is.
    """

    def __init__(self, service: str, database: Database) -> None:
        self._service = service
        self._database = database

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: object = None
    ) -> pb.ListEntriesResponse:
        """Entries, the newest first."""
        statement = LISTED.limited(ENTRIES.where(*_conditions(request)), Page.of_part(request))
        async with self._database.read_transaction(fresh=True) as tx:
            rows = await tx.rows(statement)
        return pb.ListEntriesResponse(entries=[self._entry(row) for row in rows])

    async def VerifySeals(
        self, request: pb.VerifySealsRequest, context: object = None
    ) -> pb.VerifySealsResponse:
        """What the seals say, and what was done to entries also before there was one."""
        async with self._database.read_transaction(fresh=True) as tx:
            found = await verify(tx, request.after, _SEALS_AT_ONCE, request.newest)
            disturbed = [] if request.after else await find_disturbed(tx)
        broken = [pb.SealBroken(detail=detail) for detail in disturbed]
        broken += [pb.SealBroken(number=number, detail=detail) for number, detail in found.broken]
        return pb.VerifySealsResponse(
            broken=broken, number=found.number, hash=found.hash, has_more=found.has_more
        )

    def _entry(self, row: Row[Any]) -> pb.AuditEntry:
        return pb.AuditEntry(
            id=str(row.id),
            time=timestamp(row.time),
            service=self._service,
            kind=row.kind,
            record_id=row.record_id,
            action=row.action,
            authors=[pb.AuditAuthor(**author) for author in row.authors or ()],
            changes=_changed(row.before or {}, row.after or {}),
        )


def _conditions(request: pb.ListEntriesRequest) -> Iterator[ColumnElement[bool]]:
    """What is asked beside the filter: only what counts, so that indexes serve."""
    if request.kind:
        yield _entries.c.kind == request.kind
    if request.record_id:
        yield _entries.c.record_id == request.record_id
    if request.actor:
        by_actor = [{"actor": request.actor}]
        yield or_(
            and_(_authors.c.author.is_(None), _changes.c.authors.contains(by_actor)),
            _author.contains(by_actor),
        )
    if request.HasField("start_time"):
        yield _entries.c.id >= _first_of(request.start_time)
    if request.HasField("end_time"):
        yield _entries.c.id < _first_of(request.end_time)


def _first_of(moment: Timestamp) -> UUID:
    """The least id of a moment's millisecond, as fine as entries tell when they were made.

    So what is asked from a record's own time on begins with its making, and what is asked until
    then ends before it.
    """
    return ids.first_of(moment.ToMilliseconds())


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[pb.FieldChange]:
    fields = sorted({*before, *after})
    return [
        pb.FieldChange(field=name, before=_said(before, name), after=_said(after, name))
        for name in fields
    ]


def _said(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
