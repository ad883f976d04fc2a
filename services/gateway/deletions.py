"""Deletions of companies: asked for by an operator, done by a job, on record for ever."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, select, text

from common import caller, jobs
from common.database import Database, Transaction
from common.errors import InvalidRequest, NotFound
from common.optimistic import update_version
from common.wire import enum_value, timestamp
from erp.gateway.v1 import tenant_data_pb2 as pb
from erp.gateway.v1.jobs_pb2 import RemoveTenant
from gateway import tables
from gateway.api_tokens import REVOKED
from gateway.errors import TenantNotSuspended

__all__ = ["QUEUE", "close", "finish", "get", "note_found", "note_progress", "request"]

QUEUE = "low"
_tenants = tables.tenants

_REQUEST = text("""
    INSERT INTO tenant_deletions (id, slug, operator, reason)
    VALUES (:id, :slug, :operator, :reason)
    ON CONFLICT (tenant_id, id) DO UPDATE
        SET operator = :operator, reason = :reason, state = 'waiting', finished_at = NULL
        WHERE tenant_deletions.state = 'refused'
    RETURNING id
""")
_GET = text("SELECT * FROM tenant_deletions WHERE id = :id")
# What was found before anything was removed; a later attempt finds less.
_FOUND = text("""
    UPDATE tenant_deletions SET state = 'running', total_tables = :total,
        found = CASE WHEN found = '{}' THEN CAST(:found AS jsonb) ELSE found END
    WHERE id = :id
""")
_PROGRESS = text("UPDATE tenant_deletions SET removed_tables = :done WHERE id = :id")
_FINISH = text("UPDATE tenant_deletions SET state = :state, finished_at = now() WHERE id = :id")


async def request(
    tx: Transaction, tenant: Row[Any], confirm_slug: str, reason: str
) -> pb.TenantDeletion:
    """Have a company deleted. The transaction is the platform's.

    Raises:
        InvalidRequest: the short name is another company's.
        TenantNotSuspended: it is still let in.
    """
    if confirm_slug != tenant.slug:
        raise InvalidRequest.of("/confirm_slug", "must be the short name of the company")
    if tenant.state == "active":
        raise TenantNotSuspended(tenant.slug)
    values = {"id": tenant.id, "slug": tenant.slug, "reason": reason}
    asked = await tx.row(_REQUEST, {**values, "operator": caller.current().subject})
    if asked is not None:
        jobs.enqueue(tx, RemoveTenant(tenant_id=str(tenant.id)), queue=QUEUE)
    return await get(tx, tenant.id)


async def get(tx: Transaction, tenant_id: UUID) -> pb.TenantDeletion:
    """How far a deletion is.

    Raises:
        NotFound: nobody has asked for it.
    """
    row = await tx.row(_GET, {"id": tenant_id})
    if row is None:
        raise NotFound("tenant deletion", tenant_id)
    return _to_wire(row)


async def close(database: Database) -> bool:
    """Let nobody in any more, for good; whether the caller's company may be deleted."""
    async with database.tenant_transaction() as tx:
        row = await tx.row(select(_tenants).with_for_update())
        if row is None or row.state == "active":
            return False
        if row.state != "deleted":
            gone = {"state": "deleted", "name": ""}
            await update_version(tx, _tenants, "tenant", row.id, 0, gone)
        tx.outdate(REVOKED)
    return True


async def note_found(
    tx: Transaction, tenant_id: UUID, found: Mapping[str, int], total: int
) -> None:
    """Note how many rows each service has, and how many tables there are."""
    counts = orjson.dumps(dict(found)).decode()
    await tx.execute(_FOUND, {"id": tenant_id, "found": counts, "total": total})


async def note_progress(tx: Transaction, tenant_id: UUID, done: int) -> None:
    """Note of how many tables the rows are gone."""
    await tx.execute(_PROGRESS, {"id": tenant_id, "done": done})


async def finish(tx: Transaction, tenant_id: UUID, state: str) -> None:
    """Note that nothing is left ("finished"), or that nothing was done ("refused")."""
    await tx.execute(_FINISH, {"id": tenant_id, "state": state})


def _to_wire(row: Row[Any]) -> pb.TenantDeletion:
    return pb.TenantDeletion(
        id=str(row.id),
        slug=row.slug,
        state=enum_value(pb.TenantDeletionState, row.state),
        operator=row.operator,
        reason=row.reason,
        found=[pb.ServiceRows(service=name, rows=rows) for name, rows in sorted(row.found.items())],
        removed_tables=row.removed_tables,
        total_tables=row.total_tables,
        create_time=timestamp(row.created_at),
        finish_time=timestamp(row.finished_at),
    )
