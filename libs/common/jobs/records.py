"""Jobs as operators see them: those to be done, those done lately, those parked."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Row,
    Select,
    and_,
    exists,
    literal,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.sql.selectable import FromClause

from common.database import Transaction
from common.errors import NotFound
from common.jobs.rows import finished_jobs, jobs, parked_jobs
from common.listing import Listing
from common.pagination import Page
from erp.jobs.v1.job_service_pb2 import ListJobsRequest

__all__ = ["Part", "get_job", "list_jobs", "parts"]

_NEVER = literal(None, DateTime(timezone=True))
_SAME = (
    "name", "queue", "done", "total", "batch_id", "chain_id", "request_id", "created_at",
    "started_at",
)  # fmt: skip


class Part:
    """The jobs of one table: under the names of all, and which of them is the job as it is now.

    A unique job has the same id each time: the one at hand counts, else the last.
    """

    def __init__(
        self, table: FromClause, is_now: ColumnElement[bool], own: Mapping[str, ColumnElement[Any]]
    ) -> None:
        self.columns = {**{name: table.c[name] for name in _SAME}, **own}
        named = [column.label(name) for name, column in self.columns.items()]
        self.select = select(*named).where(is_now)
        others = {"start_time": self.columns["started_at"]}
        self.listing = Listing(
            ListJobsRequest, self.columns, "id", newest_first=True, others=others
        )

    def of(self, wanted: Mapping[str, object]) -> Select[Any]:
        """Those that have these values."""
        conditions = (self.columns[name] == value for name, value in wanted.items())
        return self.select.where(*conditions)


_finished_later = finished_jobs.alias("finished_later")
_parked_later = parked_jobs.alias("parked_later")


def _is_last(job_id: ColumnElement[Any], ended_at: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a job that has ended is not at hand again, and has not ended later."""
    return and_(
        ~exists().where(jobs.c.id == job_id),
        ~exists().where(_finished_later.c.id == job_id, _finished_later.c.finished_at > ended_at),
        ~exists().where(_parked_later.c.job_id == job_id, _parked_later.c.failed_at > ended_at),
    )


parts = (
    Part(
        jobs,
        literal_column("true"),
        {
            **{name: jobs.c[name] for name in ("id", "state", "attempt", "error", "ready_at")},
            "ended_at": _NEVER,
        },
    ),
    Part(
        finished_jobs,
        _is_last(finished_jobs.c.id, finished_jobs.c.finished_at),
        {
            **{name: finished_jobs.c[name] for name in ("id", "state", "attempt")},
            "error": literal(""),
            "ready_at": _NEVER,
            "ended_at": finished_jobs.c.finished_at,
        },
    ),
    Part(
        parked_jobs,
        and_(
            parked_jobs.c.job_id.is_not(None),
            _is_last(parked_jobs.c.job_id, parked_jobs.c.failed_at),
        ),
        {
            "id": parked_jobs.c.job_id,
            "state": literal("failed"),
            "attempt": parked_jobs.c.attempts,
            "error": parked_jobs.c.error,
            "ready_at": _NEVER,
            "ended_at": parked_jobs.c.failed_at,
        },
    ),
)


async def list_jobs(tx: Transaction, page: Page, **wanted: object) -> Sequence[Row[Any]]:
    """The tenant's jobs that have these values, newest first unless the page says otherwise.

    Raises:
        InvalidRequest: filter, order or place are wrong.
    """
    found = union_all(*(part.listing.limited(part.of(wanted), page) for part in parts)).subquery()
    descending = parts[0].listing.is_descending(page.order_by)
    order = found.c.id.desc() if descending else found.c.id
    return await tx.rows(select(found).order_by(order).limit(page.size + 1))


async def get_job(tx: Transaction, job_id: UUID) -> Row[Any]:
    """One of the tenant's jobs.

    Raises:
        NotFound: there is none, or it was done more than a week ago.
    """
    row = await tx.row(union_all(*(part.of({"id": job_id}) for part in parts)))
    if row is None:
        raise NotFound("job", job_id)
    return row
