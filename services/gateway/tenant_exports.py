"""Exports of all that is held of a company: asked for, written by a job, kept for a week."""

import base64
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from common import caller, ids, jobs
from common.database import Database, Transaction
from common.errors import InvalidRequest, NotFound
from common.wire import enum_value, timestamp
from erp.gateway.v1 import tenant_data_pb2 as pb
from erp.gateway.v1.jobs_pb2 import TenantExportMail, WriteTenantExport

__all__ = [
    "QUEUE",
    "SYSTEM_REASON",
    "add_part",
    "begin",
    "create",
    "finish",
    "forget_old_exports",
    "get",
    "note_progress",
]

SYSTEM_REASON = "old exports of companies"
QUEUE = "low"

_COLUMNS = """
    id, job_id, requested_by, state, done_tables, total_tables, total_rows, bytes, sha256,
    created_at, finished_at, expires_at,
    (SELECT error FROM failed_jobs AS failed
     WHERE failed.job_id = tenant_exports.job_id LIMIT 1) AS error
"""
_UNDER_WAY = text(f"""
    SELECT {_COLUMNS} FROM tenant_exports
    WHERE state <> 'finished' AND created_at > now() - interval '1 day'
    ORDER BY created_at LIMIT 1
""")  # noqa: S608 (names of columns)
_INSERT = text("""
    INSERT INTO tenant_exports (id, job_id, requested_by) VALUES (:id, :job_id, :requested_by)
""")
_GET = text(f"""
    SELECT {_COLUMNS} FROM tenant_exports WHERE id = :id AND expires_at > now()
""")  # noqa: S608 (names of columns)
_COUNT = text("SELECT count(*) FROM tenant_export_parts WHERE export_id = :id")
_PART = text("SELECT body FROM tenant_export_parts WHERE export_id = :id AND number = :number")
_BEGIN = text("""
    UPDATE tenant_exports SET state = 'running', done_tables = 0, total_tables = :tables
    WHERE id = :id AND state <> 'finished' RETURNING id
""")
_DROP_PARTS = text("DELETE FROM tenant_export_parts WHERE export_id = :id")
_ADD_PART = text("""
    INSERT INTO tenant_export_parts (export_id, number, body) VALUES (:id, :number, :body)
""")
_PROGRESS = text("UPDATE tenant_exports SET done_tables = :done WHERE id = :id")
_FINISH = text("""
    UPDATE tenant_exports SET state = 'finished', finished_at = now(), total_rows = :rows,
        bytes = :bytes, sha256 = :sha256, expires_at = now() + interval '7 days'
    WHERE id = :id
""")
_FORGET = text("DELETE FROM tenant_exports WHERE expires_at < now()")


async def create(tx: Transaction) -> pb.TenantExport:
    """Have all that is held of the company written; while one is under way, it is that one."""
    under_way = await tx.row(_UNDER_WAY)
    if under_way is not None and not under_way.error:
        return _to_wire(under_way)
    export_id = ids.new()
    named = str(export_id)
    then = TenantExportMail(export_id=named)
    job_id = jobs.chain(tx, WriteTenantExport(export_id=named), then, queue=QUEUE)
    by = caller.current().subject
    await tx.execute(_INSERT, {"id": export_id, "job_id": job_id, "requested_by": by})
    return await get(tx, export_id)


async def get(tx: Transaction, export_id: UUID, part: int = 0) -> pb.TenantExport:
    """An export, with a part of its archive once that is written.

    Raises:
        NotFound: there is none, or it is no longer kept.
        InvalidRequest: it has no such part.
    """
    row = await tx.row(_GET, {"id": export_id})
    if row is None:
        raise NotFound("tenant export", export_id)
    if row.state != "finished":
        return _to_wire(row)
    parts = await tx.scalar(_COUNT, {"id": export_id})
    body = await tx.scalar(_PART, {"id": export_id, "number": part})
    if body is None:
        raise InvalidRequest.of("/part", f"must be less than {parts}, the number of parts")
    return _to_wire(row, parts, bytes(body))


async def begin(tx: Transaction, export_id: UUID, tables: int) -> bool:
    """Begin from the first part, also where another attempt broke off; False when it is done."""
    if await tx.row(_BEGIN, {"id": export_id, "tables": tables}) is None:
        return False
    await tx.execute(_DROP_PARTS, {"id": export_id})
    return True


async def add_part(tx: Transaction, export_id: UUID, number: int, body: bytes) -> None:
    """Store the next part of the archive."""
    await tx.execute(_ADD_PART, {"id": export_id, "number": number, "body": body})


async def note_progress(tx: Transaction, export_id: UUID, done: int) -> None:
    """Note how many tables are written."""
    await tx.execute(_PROGRESS, {"id": export_id, "done": done})


async def finish(tx: Transaction, export_id: UUID, rows: int, size: int, sha256: str) -> None:
    """Note that the archive is whole."""
    whole = {"rows": rows, "bytes": size, "sha256": sha256}
    await tx.execute(_FINISH, {"id": export_id, **whole})


async def forget_old_exports(database: Database) -> None:
    """Remove archives whose week is over."""
    async with database.system_transaction(SYSTEM_REASON) as connection:
        await connection.execute(_FORGET)


def _to_wire(row: Row[Any], parts: int = 0, content: bytes = b"") -> pb.TenantExport:
    return pb.TenantExport(
        id=str(row.id),
        state=enum_value(pb.TenantExportState, "failed" if row.error else row.state),
        requested_by=row.requested_by,
        done_tables=row.done_tables,
        total_tables=row.total_tables,
        total_rows=row.total_rows,
        bytes=row.bytes,
        sha256=row.sha256,
        parts=parts,
        content=base64.b64encode(content).decode(),
        error=row.error or "",
        create_time=timestamp(row.created_at),
        finish_time=timestamp(row.finished_at),
        expire_time=timestamp(row.expires_at),
    )
