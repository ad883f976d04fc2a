"""Files that are read in: what was asked for, and how far it has come."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import orjson
from google.protobuf.message import Message
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    Row,
    Text,
    and_,
    case,
    exists,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as UUID_TYPE

from common import caller, ids, jobs
from common.database import Transaction
from common.errors import DomainError, InvalidRequest, NotFound
from common.files.tabular import CSV, Columns, check_head
from common.jobs.rows import parked_jobs
from common.listing import Listing
from common.pagination import Page
from common.schema import tenant_table
from common.wire import enum_value, enum_word, timestamp
from erp.bulk.v1 import bulk_pb2 as pb

# More errors than this help nobody.
MOST_ERRORS = 500
# What one transaction can write with time to spare.
MOST_ATOMIC_LINES = 20_000

_imports = tenant_table(
    "imports",
    MetaData(),
    Column("id", UUID_TYPE(as_uuid=True), primary_key=True),
    Column("job_id", UUID_TYPE(as_uuid=True)),
    *(Column(name, Text, nullable=False) for name in ("format", "state", "error", "requested_by")),
    *(Column(name, Boolean, nullable=False) for name in ("atomic", "dry_run")),
    *(
        Column(f"{name}_rows", Integer, nullable=False)
        for name in ("total", "processed", "created", "updated", "unchanged", "failed")
    ),
    Column("errors", JSONB),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
)
# One whose job was parked has failed, and nobody is there who would write that down.
_error = select(parked_jobs.c.error).where(parked_jobs.c.job_id == _imports.c.job_id).limit(1)
_is_parked = and_(_imports.c.finished_at.is_(None), exists(_error))
_state = case((_is_parked, "failed"), else_=_imports.c.state)
_SELECT = select(
    *(column for column in _imports.c if column.name not in ("tenant_id", "state", "error")),
    _state.label("state"),
    case((_is_parked, _error.scalar_subquery()), else_=_imports.c.error).label("error"),
)
_INSERT = text("""
    INSERT INTO imports (id, job_id, format, atomic, dry_run, content, requested_by)
    VALUES (:id, :job_id, :format, :atomic, :dry_run, :content, :requested_by)
""")
_BEGIN = text("""
    UPDATE imports SET state = 'running', total_rows = :total WHERE id = :id AND state = 'waiting'
""")
_ADD = text("""
    UPDATE imports SET processed_rows = processed_rows + :rows,
        created_rows = created_rows + :created, updated_rows = updated_rows + :updated,
        unchanged_rows = unchanged_rows + :unchanged, failed_rows = failed_rows + :failed,
        errors = errors || CAST(:errors AS jsonb)
    WHERE id = :id
""")
_FINISH = text("""
    UPDATE imports SET state = :state, error = :error, finished_at = now() WHERE id = :id
""")
_CONTENT = text("SELECT content FROM imports WHERE id = :id")


@dataclass(frozen=True)
class CreateImport:
    """A file to read in."""

    format: str
    content: str
    atomic: bool
    dry_run: bool

    @classmethod
    def from_wire(cls, request: Any, columns: Columns) -> Self:
        """Read the request.

        Raises:
            InvalidRequest: the file is not one with these columns, or too long to be atomic.
        """
        form = enum_word(pb.FileFormat, request.format) or CSV
        check_head(request.content, form, columns)
        if "\0" in request.content:
            raise InvalidRequest.of("/content", "must not contain the character U+0000")
        if request.atomic and request.content.count("\n") > MOST_ATOMIC_LINES:
            rule = f"has more than {MOST_ATOMIC_LINES} lines, too many to be atomic"
            raise InvalidRequest.of("/content", rule)
        return cls(form, request.content, request.atomic, request.dry_run)


@dataclass(frozen=True)
class Counts:
    """What became of some rows."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0

    @property
    def rows(self) -> int:
        """How many there were."""
        return self.created + self.updated + self.unchanged + self.failed


@dataclass(frozen=True)
class Import:
    """A file that is read in."""

    id: UUID
    job_id: UUID
    format: str
    state: str
    error: str
    requested_by: str
    atomic: bool
    dry_run: bool
    total_rows: int
    processed_rows: int
    created_rows: int
    updated_rows: int
    unchanged_rows: int
    failed_rows: int
    errors: list[dict[str, Any]]
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of_row(cls, row: Row[Any]) -> Self:
        """The import in a row of its table."""
        columns = row._asdict()
        return cls(**{name: columns[name] for name in cls.__dataclass_fields__})

    def to_wire(self) -> pb.Import:
        """The import as it travels."""
        return pb.Import(
            id=str(self.id),
            state=enum_value(pb.FileState, self.state),
            format=enum_value(pb.FileFormat, self.format),
            atomic=self.atomic,
            dry_run=self.dry_run,
            total_rows=self.total_rows,
            processed_rows=self.processed_rows,
            created_rows=self.created_rows,
            updated_rows=self.updated_rows,
            unchanged_rows=self.unchanged_rows,
            failed_rows=self.failed_rows,
            errors=[pb.RowError(**error) for error in self.errors[:MOST_ERRORS]],
            error=self.error,
            requested_by=self.requested_by,
            create_time=timestamp(self.created_at),
            finish_time=timestamp(self.finished_at),
        )


async def create_import(tx: Transaction, command: CreateImport, job: type[Message]) -> Import:
    """Store a file, and have it read in by a job."""
    import_id = ids.new()
    job_id = jobs.enqueue(tx, job(import_id=str(import_id)))
    by = caller.current().subject
    names = {"id": import_id, "job_id": job_id, "requested_by": by}
    await tx.execute(_INSERT, {**vars(command), **names})
    return Import(
        id=import_id,
        job_id=job_id,
        format=command.format,
        atomic=command.atomic,
        dry_run=command.dry_run,
        state="waiting",
        error="",
        requested_by=by,
        total_rows=0,
        processed_rows=0,
        created_rows=0,
        updated_rows=0,
        unchanged_rows=0,
        failed_rows=0,
        errors=[],
        created_at=datetime.now(UTC),
        finished_at=None,
    )


async def get_import(tx: Transaction, import_id: UUID) -> Import:
    """The import with this id; one whose job was parked has failed.

    Raises:
        NotFound: there is none, or it is so old that it is not kept any more.
    """
    row = await tx.row(_SELECT.where(_imports.c.id == import_id))
    if row is None:
        raise NotFound("import", import_id)
    return Import.of_row(row)


async def get_content(tx: Transaction, import_id: UUID) -> str:
    """The file itself."""
    return str(await tx.scalar(_CONTENT, {"id": import_id}))


def listed_by(request: type[Message]) -> Listing:
    """The list of imports that a request asks for, oldest first."""
    others = {"state": _state, "finish_time": _imports.c.finished_at}
    return Listing(request, _imports.c, "id", others=others)


async def list_imports(tx: Transaction, listing: Listing, page: Page) -> tuple[list[Import], str]:
    """A page of imports, without their errors, and the next page's token."""
    rows, token = await listing.read(tx, _SELECT, page)
    return [replace(Import.of_row(row), errors=[]) for row in rows], token


async def begin(tx: Transaction, import_id: UUID, total: int) -> None:
    """Note that a worker is at it, and how many rows there are."""
    await tx.execute(_BEGIN, {"id": import_id, "total": total})


async def add(tx: Transaction, import_id: UUID, counts: Counts, room: int) -> None:
    """Note what became of the next rows; as many errors are kept as there is room for."""
    errors = orjson.dumps(counts.errors[: max(room, 0)]).decode()
    numbers = {name: getattr(counts, name) for name in ("created", "updated", "unchanged")}
    await tx.execute(
        _ADD,
        {
            "id": import_id,
            "rows": counts.rows,
            "failed": counts.failed,
            "errors": errors,
            **numbers,
        },
    )


async def finish(tx: Transaction, import_id: UUID, error: str = "") -> None:
    """Note that it ended, well or with an error."""
    state = "failed" if error else "succeeded"
    await tx.execute(_FINISH, {"id": import_id, "state": state, "error": error})


def errors_of(number: int, error: DomainError) -> list[dict[str, Any]]:
    """What is wrong with a row, one entry a field."""
    violations = error.violations if isinstance(error, InvalidRequest) else ()
    return [
        {"row": number, "pointer": item.pointer, "detail": item.rule, "reason": error.reason}
        for item in violations
    ] or [{"row": number, "pointer": "", "detail": str(error), "reason": error.reason}]
