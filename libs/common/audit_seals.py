"""Seals on the audit log: each stands for a range of entries and for all seals before it.

An entry that is changed, removed or added later no longer fits its seal, and a seal that is changed
no longer fits the next. Whoever keeps the newest hash elsewhere can tell that nothing before it was
touched, whatever the operator of the database can do.
"""

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, text

from common.caller import acting_as, service_caller
from common.database import LONGEST_TRANSACTION_SECONDS, Database, Transaction
from common.duties import Duty

__all__ = ["SYSTEM_REASON", "Findings", "seal_audit_log", "verify"]

SYSTEM_REASON = "audit seals"
EVERY_SECONDS = 30.0
# Entries of transactions still open may be older than entries that can be seen, never by more.
_SETTLED_SECONDS = 2 * LONGEST_TRANSACTION_SECONDS
_LARGEST_SEAL = 5_000
_BEGINNING = UUID(int=0)

log = structlog.get_logger()

# The tenants one after the other by the index, not by reading the log.
_TENANTS = text("""
    WITH RECURSIVE tenant AS (
        (SELECT tenant_id FROM audit_entries ORDER BY tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT entry.tenant_id FROM audit_entries AS entry
                WHERE entry.tenant_id > tenant.tenant_id ORDER BY entry.tenant_id LIMIT 1)
        FROM tenant WHERE tenant.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM tenant
    WHERE EXISTS (
        SELECT FROM audit_entries AS entry
        WHERE entry.tenant_id = tenant.tenant_id AND entry.id < CAST(:horizon AS uuid)
          AND entry.id >= coalesce((SELECT until_id FROM audit_seals AS seal
                                    WHERE seal.tenant_id = tenant.tenant_id
                                    ORDER BY number DESC LIMIT 1), CAST(:beginning AS uuid))
    )
""")
_HORIZON = text("""
    SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)
                            - :settled), 12, '0') || '70008000000000000000' AS uuid)
""")
_LAST = text("""
    SELECT number, until_id, hash FROM audit_seals
    WHERE tenant_id = :tenant_id ORDER BY number DESC LIMIT 1
""")
_UNTIL = text("""
    SELECT id FROM audit_entries
    WHERE tenant_id = :tenant_id AND id >= :from_id AND id < :until_id
    ORDER BY id OFFSET :largest LIMIT 1
""")
# All that is shown of an entry. A seal is on one range of ids: what is added to it counts as well.
_DIGEST = text("""
    SELECT count(*) AS entries, encode(sha256(convert_to(coalesce(
        string_agg(CAST(jsonb_build_array(entry.id, entry.change_id, entry.kind, entry.record_id,
            entry.action, entry.before, entry.after, change.authors, made.author) AS text),
            chr(10) ORDER BY entry.id), ''), 'UTF8')), 'hex') AS digest
    FROM audit_entries AS entry
    LEFT JOIN audit_changes AS change
           ON change.tenant_id = entry.tenant_id AND change.id = entry.change_id
    LEFT JOIN audit_authors AS made
           ON made.tenant_id = entry.tenant_id AND made.change_id = entry.change_id
          AND made.record_id = entry.record_id
    WHERE entry.tenant_id = :tenant_id AND entry.id >= :from_id AND entry.id < :until_id
""")
_SEAL = text("""
    INSERT INTO audit_seals (number, from_id, until_id, entries, digest, hash)
    VALUES (:number, :from_id, :until_id, :entries, :digest, :hash) ON CONFLICT DO NOTHING
""")
_SEALS = text("""
    SELECT number, from_id, until_id, entries, digest, hash FROM audit_seals
    WHERE tenant_id = :tenant_id AND number >= :number ORDER BY number LIMIT :limit
""")


@dataclass(frozen=True)
class Findings:
    """What seals say: those that do not fit, and the last one looked at."""

    broken: list[tuple[int, str]]
    number: int
    hash: str
    has_more: bool


def seal_audit_log(service: str, database: Database) -> Duty:
    """The duty to seal what was written, a minute after it was."""

    async def seal_all() -> None:
        async with database.system_transaction(SYSTEM_REASON) as connection:
            settled = int(_SETTLED_SECONDS * 1000)
            horizon = (await connection.execute(_HORIZON, {"settled": settled})).scalar_one()
            bounds = {"horizon": horizon, "beginning": _BEGINNING}
            tenants = [row.tenant_id for row in await connection.execute(_TENANTS, bounds)]
        for tenant_id in tenants:
            with acting_as(service_caller(service, tenant_id)):
                while await _seal_once(database, horizon):
                    pass

    return Duty("seal audit log", EVERY_SECONDS, seal_all)


async def _seal_once(database: Database, horizon: UUID) -> bool:
    async with database.tenant_transaction() as tx:
        return await seal(tx, horizon)


async def seal(tx: Transaction, horizon: UUID, largest: int = _LARGEST_SEAL) -> bool:
    """Seal the next entries before the horizon, if there are any; whether there may be more."""
    last = await tx.row(_LAST, {"tenant_id": tx.tenant_id})
    start = last.until_id if last else _BEGINNING
    bounds = {"tenant_id": tx.tenant_id, "from_id": start, "until_id": horizon}
    until = await tx.scalar(_UNTIL, {**bounds, "largest": largest}) or horizon
    bounds["until_id"] = until
    found = await tx.row(_DIGEST, bounds)
    assert found is not None
    if not found.entries:
        return False
    written = {"number": last.number + 1 if last else 1, **bounds, **found._mapping}  # noqa: SLF001 (named so by SQLAlchemy, and public)
    written["hash"] = _hash(tx.tenant_id, last.hash if last else "", written)
    await tx.execute(_SEAL, written)
    # Kept where the logs are kept, it shows later that nothing before it was touched.
    log.info("audit log sealed", number=written["number"], hash=written["hash"])
    return bool(until != horizon)


async def verify(tx: Transaction, after: int, limit: int, newest: int = 0) -> Findings:
    """Compare entries with their seals.

    Args:
        tx: any transaction of the tenant.
        after: begin after the seal of this number.
        limit: how many seals to look at.
        newest: begin with the newest so many instead, when it is not 0.
    """
    if newest:
        last = await tx.row(_LAST, {"tenant_id": tx.tenant_id})
        after = max(after, last.number - newest if last else 0)
    # With the one before, on which the first stands.
    asked = {"tenant_id": tx.tenant_id, "number": after, "limit": limit + 2}
    rows = await tx.rows(_SEALS, asked)
    known = {row.number: row for row in rows}
    before = known.pop(after, None)
    looked_at = [row for row in rows if row.number > after][:limit]
    broken = []
    if after and before is None and looked_at:
        broken.append((after, "The seal is missing."))
    for row in looked_at:
        broken += [(row.number, problem) for problem in await _problems(tx, row, before, after)]
        before = row
    number, last_hash = (before.number, before.hash) if before else (0, "")
    return Findings(broken, number, last_hash, len(known) > limit)


async def _problems(
    tx: Transaction, row: Row[Any], before: Row[Any] | None, after: int
) -> list[str]:
    problems = []
    follows = before.number if before else after
    if row.number != follows + 1:
        problems.append(f"It follows seal {follows}: seals between them are missing.")
    if row.from_id != (before.until_id if before else _BEGINNING):
        problems.append("It does not begin where the seal before it ends.")
    bounds = {"tenant_id": tx.tenant_id, "from_id": row.from_id, "until_id": row.until_id}
    found = await tx.row(_DIGEST, bounds)
    assert found is not None
    if found.entries != row.entries:
        problems.append(f"It was put on {row.entries} entries; there are {found.entries}.")
    elif found.digest != row.digest:
        problems.append("An entry is not what it was.")
    sealed = {**row._mapping}  # noqa: SLF001 (public)
    if row.hash != _hash(tx.tenant_id, before.hash if before else "", sealed):
        problems.append("The seal itself is not what it was, or the one before it.")
    return problems


def _hash(tenant_id: UUID, previous: str, sealed: dict[str, Any]) -> str:
    names = ("number", "from_id", "until_id", "entries", "digest")
    parts = [previous, str(tenant_id), *(str(sealed[name]) for name in names)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
