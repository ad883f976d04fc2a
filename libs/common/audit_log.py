"""The audit log of a service: who changed what, before and after, from where, and when."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Row, TextClause, text

from common import ids
from common.audit_seals import verify
from common.database import Database, Transaction
from common.wire import timestamp
from erp.audit.v1 import audit_log_pb2 as pb
from erp.audit.v1 import audit_log_pb2_grpc as rpc

__all__ = ["AuditLogServicer", "record"]

_SEALS_AT_ONCE = 50

_RECORD = text("""
    INSERT INTO audit_entries (tenant_id, change_id, kind, record_id, action, after)
    VALUES (:tenant_id, audit_change(:tenant_id), :kind, :record_id, :action, CAST(:said AS jsonb))
""")
_LIST = """
    SELECT entry.id, uuid_extract_timestamp(entry.id) AS time, entry.kind, entry.record_id,
           entry.action, entry.before, entry.after,
           CASE WHEN made.author IS NULL THEN change.authors
                ELSE jsonb_build_array(change.authors -> made.author) END AS authors
    FROM audit_entries AS entry
    LEFT JOIN audit_changes AS change
           ON change.tenant_id = entry.tenant_id AND change.id = entry.change_id
    LEFT JOIN audit_authors AS made
           ON made.tenant_id = entry.tenant_id AND made.change_id = entry.change_id
          AND made.record_id = entry.record_id
    WHERE entry.tenant_id = :tenant_id{conditions}
    ORDER BY entry.id DESC LIMIT :limit
"""
_BY_ACTOR = """(made.author IS NULL AND change.authors @> CAST(:actor AS jsonb)
    OR jsonb_build_array(change.authors -> made.author) @> CAST(:actor AS jsonb))"""


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
        async with self._database.read_transaction(fresh=True) as tx:
            statement, parameters = _listing(request)
            rows = await tx.rows(statement, {"tenant_id": tx.tenant_id, **parameters})
        return pb.ListEntriesResponse(entries=[self._entry(row) for row in rows])

    async def VerifySeals(
        self, request: pb.VerifySealsRequest, context: object = None
    ) -> pb.VerifySealsResponse:
        """What the seals say."""
        async with self._database.read_transaction(fresh=True) as tx:
            found = await verify(tx, request.after, _SEALS_AT_ONCE, request.newest)
        broken = [pb.SealBroken(number=number, detail=detail) for number, detail in found.broken]
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
            changes=_changes(row.before or {}, row.after or {}),
        )


def _listing(request: pb.ListEntriesRequest) -> tuple[TextClause, dict[str, Any]]:
    """The query for what is asked: with the conditions that count only, so that indexes serve."""
    wanted: dict[str, tuple[str, Any]] = {}
    if request.before_id:
        wanted["before_id"] = ("entry.id < :before_id", ids.parse(request.before_id, "before_id"))
    if request.kind:
        wanted["kind"] = ("entry.kind = :kind", request.kind)
    if request.record_id:
        wanted["record_id"] = ("entry.record_id = :record_id", request.record_id)
    if request.actor:
        actor = orjson.dumps([{"actor": request.actor}]).decode()
        wanted["actor"] = (_BY_ACTOR, actor)
    if request.HasField("start_time"):
        wanted["start_id"] = ("entry.id >= :start_id", _first_of(request.start_time))
    if request.HasField("end_time"):
        wanted["end_id"] = ("entry.id < :end_id", _first_of(request.end_time))
    conditions = "".join(f" AND {condition}" for condition, _ in wanted.values())
    parameters = {name: value for name, (_, value) in wanted.items()}
    return text(_LIST.format(conditions=conditions)), {**parameters, "limit": request.limit}


def _first_of(moment: Timestamp) -> UUID:
    """The least UUIDv7 of a moment's millisecond."""
    milliseconds = max(0, min(moment.ToMilliseconds(), 2**48 - 1))
    return UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[pb.FieldChange]:
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
