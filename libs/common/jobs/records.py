"""Jobs as operators see them: those to be done, those done lately, those parked."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text

from common.database import Transaction
from common.errors import NotFound

__all__ = ["NEWEST", "Filter", "get_job", "list_jobs"]

# Greater than any id.
NEWEST = UUID(int=2**128 - 1)

# A unique job has the same id each time: the one at hand counts, else the last.
_ALL = """
    SELECT DISTINCT ON (id) * FROM (
        (SELECT id, name, queue, state, attempt, done, total, error, batch_id, chain_id, request_id,
                created_at, ready_at, started_at, CAST(NULL AS timestamptz) AS ended_at
         FROM jobs WHERE {mine} ORDER BY id DESC LIMIT :limit)
        UNION ALL
        (SELECT DISTINCT ON (id) id, name, queue, state, attempt, done, total, '', batch_id,
                chain_id, request_id, created_at, NULL, started_at, finished_at
         FROM finished_jobs WHERE {mine} ORDER BY id DESC, finished_at DESC LIMIT :limit)
        UNION ALL
        (SELECT DISTINCT ON (job_id) job_id, name, queue, 'failed', attempts, done, total, error,
                batch_id, chain_id, request_id, created_at, NULL, started_at, failed_at
         FROM failed_jobs WHERE kind = 'job' AND {failed}
         ORDER BY job_id DESC, failed_at DESC LIMIT :limit)
    ) AS job
    ORDER BY id DESC, ended_at DESC NULLS FIRST LIMIT :limit
"""
_MINE = """tenant_id = :tenant_id AND id < :before
    AND (:state = '' OR state = :state) AND (:queue = '' OR queue = :queue)
    AND (:name = '' OR name = :name)"""
_FAILED = """tenant_id = :tenant_id AND job_id < :before
    AND :state IN ('', 'failed') AND (:queue = '' OR queue = :queue)
    AND (:name = '' OR name = :name)"""
_LIST = text(_ALL.format(mine=_MINE, failed=_FAILED))
_GET = text(
    _ALL.format(
        mine="tenant_id = :tenant_id AND id = :id",
        failed="tenant_id = :tenant_id AND job_id = :id",
    )
)


class Filter(NamedTuple):
    """Which jobs to list; what is empty does not matter."""

    before: UUID = NEWEST
    state: str = ""
    queue: str = ""
    name: str = ""


async def list_jobs(tx: Transaction, wanted: Filter, limit: int) -> Sequence[Row[Any]]:
    """The tenant's jobs, newest first."""
    parameters = {"tenant_id": tx.tenant_id, "limit": limit, **wanted._asdict()}
    return await tx.rows(_LIST, parameters)


async def get_job(tx: Transaction, job_id: UUID) -> Row[Any]:
    """One of the tenant's jobs.

    Raises:
        NotFound: there is none, or it was done more than a week ago.
    """
    parameters = {"tenant_id": tx.tenant_id, "id": job_id, "limit": 1}
    row = await tx.row(_GET, parameters)
    if row is None:
        raise NotFound("job", job_id)
    return row
