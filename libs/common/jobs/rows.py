"""Jobs, failures and batches as operators look for them: the columns of their tables."""

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from common.schema import tenant_table

__all__ = ["batches", "failed_jobs", "finished_jobs", "jobs", "parked_jobs"]

_metadata = MetaData()


def _id(name: str = "id", *, nullable: bool = False) -> Column[Any]:
    return Column(name, UUID(as_uuid=True), nullable=nullable)


def _texts(*names: str) -> list[Column[Any]]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[Column[Any]]:
    return [Column(name, Integer, nullable=False) for name in names]


def _times(*names: str, nullable: bool = False) -> list[Column[Any]]:
    return [Column(name, DateTime(timezone=True), nullable=nullable) for name in names]


def _of_all() -> list[Column[Any]]:
    """What every job brings along, wherever it is kept."""
    return [
        *_texts("name", "queue", "request_id"),
        *_numbers("done", "total"),
        _id("chain_id", nullable=True),
        _id("batch_id", nullable=True),
        *_times("created_at"),
        *_times("started_at", nullable=True),
    ]


jobs = tenant_table(
    "jobs", _metadata, _id(), *_of_all(), *_texts("state", "error"), *_numbers("attempt"),
    *_times("ready_at"),
)  # fmt: skip
finished_jobs = tenant_table(
    "finished_jobs", _metadata, _id(), *_of_all(), *_texts("state"), *_numbers("attempt"),
    *_times("finished_at"),
)  # fmt: skip


def _failures(job_id: Column[Any]) -> Table:
    return tenant_table(
        "failed_jobs",
        MetaData(),
        _id(),
        job_id,
        *_of_all(),
        *_texts("kind", "error", "source"),
        Column("sequence", BigInteger, nullable=False),
        *_numbers("attempts"),
        *_times("failed_at"),
        *_times("retry_wanted_at", nullable=True),
    )


failed_jobs = _failures(_id("job_id", nullable=True))
# The same table, for who looks at jobs alone.
parked_jobs = _failures(_id("job_id"))
batches = tenant_table(
    "job_batches",
    _metadata,
    _id(),
    *_texts("name"),
    *_numbers("total", "succeeded", "failed", "cancelled"),
    *_times("created_at"),
    *_times("cancelled_at", "finished_at", nullable=True),
)
