"""How an attempt ends, inside a transaction of the job's tenant; each is fenced by its claim."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from common.database import Transaction
from common.interruption import Interrupted
from common.jobs import batches
from common.jobs.claims import Claimed, Key
from common.jobs.enqueueing import linked
from erp.jobs.v1.links_pb2 import Links

__all__ = [
    "Superseded",
    "complete",
    "complete_all",
    "follow_up",
    "hold",
    "park",
    "postpone",
    "report",
    "superseded",
]

_LONGEST_ERROR = 2_000
LONGEST_BACKOFF_SECONDS = 3_600.0

# Compatible with the heartbeat's lock, not with that of whoever takes over.
_HOLD = text("""
    SELECT 1 FROM jobs WHERE tenant_id = :tenant_id AND id = :id AND claim = :claim FOR KEY SHARE
""")
_COMPLETE = text("""
    WITH done AS (
        DELETE FROM jobs
        USING unnest(CAST(:ids AS uuid[]), CAST(:claims AS uuid[])) AS held (id, claim)
        WHERE jobs.tenant_id = :tenant_id AND jobs.id = held.id AND jobs.claim = held.claim
        RETURNING jobs.*
    ), finished AS (
        INSERT INTO finished_jobs (tenant_id, id, name, queue, state, request_id, chain_id,
                                   batch_id, attempt, done, total, created_at, started_at,
                                   finished_at)
        SELECT tenant_id, id, name, queue, 'succeeded', request_id, chain_id,
               batch_id, attempt, done, total, created_at, started_at, clock_timestamp() FROM done
    )
    SELECT id, claim, links, chain_id, request_id FROM done
""")
_PARK = text("""
    WITH done AS (
        DELETE FROM jobs WHERE tenant_id = :tenant_id AND id = :id AND claim = :claim RETURNING *
    )
    INSERT INTO failed_jobs (tenant_id, id, kind, name, source, sequence, payload, error, attempts,
                             request_id, traceparent, job_id, queue, unique_key, tries, deaths,
                             links, chain_id, batch_id, done, total, created_at, started_at)
    SELECT tenant_id, uuidv7(), 'job', name, split_part(name, '.', 2), 0, payload, :error, attempt,
           request_id, traceparent, id, queue, unique_key, tries, deaths,
           links, chain_id, batch_id, done, total, created_at, started_at FROM done
    RETURNING id
""")
_POSTPONE = text("""
    UPDATE jobs SET state = 'delayed', claim = NULL, lease_until = NULL, error = :error,
        failures = failures + :failures, attempt = attempt - 1 + :failures,
        ready_at = clock_timestamp() + make_interval(secs => :seconds)
    WHERE tenant_id = :tenant_id AND id = :id AND claim = :claim RETURNING id
""")
_REPORT = text("""
    UPDATE jobs SET done = :done, total = :total
    WHERE tenant_id = :tenant_id AND id = :id AND claim = :claim RETURNING id
""")


class Superseded(Interrupted):
    """Another attempt has taken over: this one must have no further effect."""


async def hold(tx: Transaction, job: Claimed) -> None:
    """Let nobody take the job over until the transaction ends.

    Raises:
        Superseded: somebody has.
    """
    await _fenced(tx, _HOLD, job)


async def complete_all(tx: Transaction, jobs: Sequence[Claimed]) -> set[Key]:
    """Complete jobs with the transaction, and enqueue the next links of their chains.

    Returns those that were still ours.
    """
    columns = {"ids": [job.id for job in jobs], "claims": [job.claim for job in jobs]}
    done = await tx.rows(_COMPLETE, {"tenant_id": tx.tenant_id, **columns})
    for row in done:
        if row.links:
            following = Links.FromString(row.links).links
            tx.pending_jobs.append(linked(following, row.chain_id, row.request_id))
    return {(tx.tenant_id, row.id, row.claim) for row in done}


async def complete(tx: Transaction, job: Claimed) -> None:
    """Complete one job.

    Raises:
        Superseded: it is somebody else's by now.
    """
    if not await complete_all(tx, [job]):
        raise superseded(job)


async def follow_up(tx: Transaction, jobs: Sequence[Claimed]) -> None:
    """Count completed jobs in their batches: the last write, since others wait for the counts."""
    counts = Counter(job.batch_id for job in jobs if job.batch_id is not None)
    # In one order, so that those who count the same batches wait and never deadlock.
    for batch_id, succeeded in sorted(counts.items()):
        await batches.count(tx, batch_id, succeeded=succeeded)


async def park(tx: Transaction, job: Claimed, error: str) -> None:
    """Keep the job as failed until an operator retries or discards it.

    Raises:
        Superseded: it is somebody else's by now.
    """
    await _fenced(tx, _PARK, job, error=error[:_LONGEST_ERROR])
    if job.batch_id is not None:
        await batches.count(tx, job.batch_id, failed=1)


async def postpone(
    tx: Transaction, job: Claimed, error: str, seconds: float, *, failed: bool = True
) -> None:
    """Try again later. What has not failed, since the database was away, is not counted.

    Raises:
        Superseded: it is somebody else's by now.
    """
    error = error[:_LONGEST_ERROR]
    await _fenced(tx, _POSTPONE, job, error=error, seconds=seconds, failures=int(failed))


async def report(tx: Transaction, job: Claimed, done: int, total: int) -> None:
    """Store how far the job has come.

    Raises:
        Superseded: it is somebody else's by now.
    """
    await _fenced(tx, _REPORT, job, done=done, total=total)


def backoff_seconds(first_seconds: float, failures: int) -> float:
    """How long to wait after so many failures: doubled each time, an hour at most."""
    seconds: float = min(first_seconds * 2.0 ** (failures - 1), LONGEST_BACKOFF_SECONDS)
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 (jitter, not a secret)


async def _fenced(tx: Transaction, statement: Any, job: Claimed, **values: object) -> Any:
    row = await tx.row(statement, {**job.fence(), **values})
    if row is None:
        raise superseded(job)
    return row


def superseded(job: Claimed) -> Superseded:
    """What to say of a job that is somebody else's by now."""
    return Superseded(f"{job.name} {job.id}")
