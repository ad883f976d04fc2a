"""What failed for good: kept until somebody retries or discards it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, bindparam, func, select, text, update

from common.database import Transaction, translating
from common.errors import BrokenRule, NotFound
from common.jobs import batches
from common.jobs.enqueueing import Woken
from common.jobs.rows import failed_jobs
from common.listing import Listing
from common.pagination import Page
from erp.jobs.v1.job_service_pb2 import ListFailedJobsRequest

__all__ = ["LISTED", "SameJobWaiting", "discard", "get_failure", "list_failures", "retry"]

LISTED = Listing(
    ListFailedJobsRequest,
    failed_jobs.c,
    "id",
    newest_first=True,
    others={
        "fail_time": failed_jobs.c.failed_at,
        "retry_time": failed_jobs.c.retry_wanted_at,
    },
)
_ONE = failed_jobs.c.id == bindparam("failure_id")
_GET = select(failed_jobs).where(_ONE)
_LOCK = _GET.with_for_update()
# It has all its tries again; the attempt goes on counting, since earlier ones may have had effects.
_ENQUEUE = text("""
    WITH failed AS (
        DELETE FROM failed_jobs WHERE tenant_id = :tenant_id AND id = :id RETURNING *
    )
    INSERT INTO jobs (tenant_id, id, name, queue, state, payload, request_id, traceparent,
                      unique_key, tries, links, chain_id, batch_id, ready_at, attempt, error,
                      created_at)
    SELECT tenant_id, job_id, name, queue, 'ready', payload, request_id, traceparent,
           unique_key, tries, links, chain_id, batch_id, clock_timestamp(), attempts, error,
           created_at
    FROM failed
    RETURNING queue, id, batch_id
""")
_WANTED_AT = func.coalesce(failed_jobs.c.retry_wanted_at, func.clock_timestamp())
_WANT = update(failed_jobs).where(_ONE).values(retry_wanted_at=_WANTED_AT).returning(*failed_jobs.c)
_DISCARD = text("DELETE FROM failed_jobs WHERE tenant_id = :tenant_id AND id = :id")


@dataclass(eq=False)
class SameJobWaiting(BrokenRule):
    """A unique job of the same key has been enqueued meanwhile."""

    detail = "Job {id} is the same work and is not done yet. Discard this failure, or wait."

    id: UUID


async def list_failures(tx: Transaction, page: Page, **wanted: object) -> Sequence[Row[Any]]:
    """The tenant's failures that have these values, newest first unless the page says otherwise.

    Raises:
        InvalidRequest: filter, order or place are wrong.
    """
    conditions = (failed_jobs.c[name] == value for name, value in wanted.items())
    return await tx.rows(LISTED.limited(select(failed_jobs).where(*conditions), page))


async def get_failure(tx: Transaction, failure_id: UUID) -> Row[Any]:
    """One of the tenant's failures.

    Raises:
        NotFound: there is none, or it was retried or discarded.
    """
    return await _get(tx, _GET, failure_id)


async def retry(tx: Transaction, failure_id: UUID) -> Row[Any]:
    """Enqueue a job anew; leave an event to the next worker. Returns the failure as it is or was.

    Raises:
        NotFound: there is none, or it was retried or discarded.
        SameJobWaiting: it is a unique job, and another one of its key is not done.
    """
    failure = await _get(tx, _LOCK, failure_id)
    if failure.kind == "event":
        (wanted,) = await tx.rows(_WANT, {"failure_id": failure_id})
        return wanted
    with translating({"jobs_pkey": SameJobWaiting(failure.job_id)}):
        (job,) = await tx.rows(_ENQUEUE, {"tenant_id": tx.tenant_id, "id": failure_id})
    tx.pending_jobs.append(Woken(job.queue, job.id))
    if job.batch_id is not None:
        await batches.count(tx, job.batch_id, failed=-1)
    return failure


async def discard(tx: Transaction, failure_id: UUID) -> Row[Any]:
    """Give a failure up; returns what it was.

    Raises:
        NotFound: there is none, or it was retried or discarded.
    """
    failure = await _get(tx, _LOCK, failure_id)
    await tx.execute(_DISCARD, {"tenant_id": tx.tenant_id, "id": failure_id})
    return failure


async def _get(tx: Transaction, statement: Select[Any], failure_id: UUID) -> Row[Any]:
    row = await tx.row(statement, {"failure_id": failure_id})
    if row is None:
        raise NotFound("failed job", failure_id)
    return row
