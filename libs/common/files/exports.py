"""Files that are written: what was asked for, and the file in parts."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import text

from common import ids, jobs
from common.database import Transaction
from common.errors import InvalidRequest, NotFound
from common.files.tabular import CSV, Columns, write_head, write_rows
from common.wire import enum_value, enum_word, timestamp
from erp.bulk.v1 import bulk_pb2 as pb

# A part is cut after the row that fills it.
PART_CHARACTERS = 1_000_000

_INSERT = text("""
    INSERT INTO exports (id, job_id, format, about) VALUES (:id, :job_id, :format, :about)
""")
_GET = text("""
    SELECT id, job_id, format, about, state, total_rows, created_at, finished_at,
           (SELECT error FROM failed_jobs AS failed
            WHERE failed.job_id = exports.job_id LIMIT 1) AS error
    FROM exports WHERE id = :id
""")
_PART = text("SELECT body FROM export_parts WHERE export_id = :id AND number = :number")
_COUNT = text("SELECT count(*) FROM export_parts WHERE export_id = :id")
_ADD = text("INSERT INTO export_parts (export_id, number, body) VALUES (:id, :number, :body)")
_FINISH = text("""
    UPDATE exports SET state = 'succeeded', total_rows = :rows, finished_at = now() WHERE id = :id
""")


@dataclass(frozen=True)
class CreateExport:
    """A file to write."""

    format: str
    # What the export is about beyond its kind, such as a day.
    about: str = ""

    @classmethod
    def from_wire(cls, request: Any, about: str = "") -> Self:
        """Read the request."""
        return cls(enum_word(pb.FileFormat, request.format) or CSV, about)


@dataclass(frozen=True)
class Export:
    """A file that is written, with one part of it."""

    id: UUID
    job_id: UUID
    format: str
    about: str
    state: str
    total_rows: int
    created_at: datetime
    finished_at: datetime | None
    error: str | None = None
    content: str = ""
    parts: int = 0

    def to_wire(self) -> pb.Export:
        """The export as it travels."""
        return pb.Export(
            id=str(self.id),
            state=enum_value(pb.FileState, "failed" if self.error else self.state),
            format=enum_value(pb.FileFormat, self.format),
            total_rows=self.total_rows,
            content=self.content,
            parts=self.parts,
            error=self.error or "",
            create_time=timestamp(self.created_at),
            finish_time=timestamp(self.finished_at),
        )


async def create_export(tx: Transaction, command: CreateExport, job: type[Message]) -> Export:
    """Have a file written by a job."""
    export_id = ids.new()
    job_id = jobs.enqueue(tx, job(export_id=str(export_id)))
    await tx.execute(_INSERT, {**vars(command), "id": export_id, "job_id": job_id})
    now = datetime.now(UTC)
    return Export(export_id, job_id, command.format, command.about, "waiting", 0, now, None)


async def get_export(tx: Transaction, export_id: UUID, part: int = 0) -> Export:
    """The export with this id, with a part of its file.

    Raises:
        NotFound: there is none, or it is so old that it is not kept any more.
        InvalidRequest: it has no such part.
    """
    row = await tx.row(_GET, {"id": export_id})
    if row is None:
        raise NotFound("export", export_id)
    if row.finished_at is None:
        return Export(**row._asdict())
    parts = await tx.scalar(_COUNT, {"id": export_id})
    body = await tx.scalar(_PART, {"id": export_id, "number": part})
    if body is None:
        raise InvalidRequest.of("/part", f"must be less than {parts}, the number of parts")
    return Export(**row._asdict(), content=body, parts=parts)


async def write_out(
    work: jobs.Work[Any],
    export_id: UUID,
    columns: Columns,
    rows_of: Any,
) -> None:
    """Write a file. Nothing of it is there before all of it is.

    Args:
        work: the job.
        export_id: the export.
        columns: of the file.
        rows_of: gives the rows for a transaction and the export, some at a time.
    """
    async with work.completion() as tx:
        export = await get_export(tx, export_id)
        parts = _Parts(tx, export, columns)
        found: AsyncIterator[Sequence[Sequence[str]]] = rows_of(tx, export)
        async for rows in found:
            await parts.add(rows)
        await parts.finish()


class _Parts:
    """The file as it grows, one part in memory."""

    def __init__(self, tx: Transaction, export: Export, columns: Columns) -> None:
        self._tx = tx
        self._export = export
        self._columns = columns
        self._number = 0
        self._rows = 0
        self._pieces = [write_head(export.format, columns)]

    async def add(self, rows: Sequence[Sequence[str]]) -> None:
        self._rows += len(rows)
        self._pieces.append(write_rows(self._export.format, self._columns, rows))
        if sum(map(len, self._pieces)) >= PART_CHARACTERS:
            await self._store()

    async def finish(self) -> None:
        if self._pieces:
            await self._store()
        await self._tx.execute(_FINISH, {"id": self._export.id, "rows": self._rows})

    async def _store(self) -> None:
        part = {"id": self._export.id, "number": self._number, "body": "".join(self._pieces)}
        await self._tx.execute(_ADD, part)
        self._number += 1
        self._pieces = []
