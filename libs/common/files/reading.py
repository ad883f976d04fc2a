"""Reading a file in: chunk by chunk, each with its effects and its place in one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from common import caller, jobs, origin
from common.connections import TooBusy
from common.database import Transaction
from common.errors import DomainError, InvalidField, InvalidRequest
from common.files import imports
from common.files.imports import Counts, Import
from common.files.tabular import Columns, Row, read_rows
from common.origin import Author

CHUNK_ROWS = 500
_TRIES = 5


class Effect(Enum):
    """What a row does to its record."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


Outcome = Effect | DomainError
# Decides rows and, if it is to write, carries out those that are right.
Apply = Callable[[Transaction, Sequence[Row], bool], Awaitable[Sequence[Outcome]]]


@dataclass(frozen=True)
class Reader:
    """How the rows of a kind of file are read in.

    Args:
        columns: of the file.
        key: what names a row's record, such as its sku; no two rows may have the same.
        apply: decides and carries out some rows.
    """

    columns: Columns
    key: Callable[[Row], tuple[str, ...] | None]
    apply: Apply


class _RowsAreWrong(Exception):
    """Rows that were right when they were checked are not any more."""


async def read_in(work: jobs.Work[Any], import_id: UUID, reader: Reader) -> None:
    """Read a file in, from where the attempt before got to.

    A file that is atomic is checked first, and then takes effect in one transaction.
    """
    async with work.transaction() as tx:
        found = await imports.get_import(tx, import_id)
        content = await imports.get_content(tx, import_id)
    if found.finished_at is not None:
        return
    with _on_behalf_of(found):
        await _read_rows_in(work, found, content, reader)


def _on_behalf_of(found: Import) -> AbstractContextManager[None]:
    """Let the audit log name who asked for the file to be read in, and that the service does it."""
    who = caller.current()
    via = (who.subject.removeprefix("service:"),)
    asked = Author(found.requested_by, via, who.request_id)
    return origin.on_behalf_of([asked]) if found.requested_by else nullcontext()


async def _read_rows_in(work: jobs.Work[Any], found: Import, content: str, reader: Reader) -> None:
    rows = await asyncio.to_thread(_prepared, found, content, reader)
    async with work.transaction() as tx:
        await imports.begin(tx, found.id, len(rows))
    whole = found.atomic or found.dry_run
    failed = await _chunks(work, found, rows, reader, write=not whole)
    if not whole or found.dry_run:
        await _finish(work, found, "")
    elif failed:
        await _finish(work, found, f"{failed} rows are wrong, so none took effect.")
    else:
        await _apply_all(work, found, rows, reader)


def _prepared(found: Import, content: str, reader: Reader) -> list[Row]:
    """All rows; one that names the record of an earlier row is wrong."""
    first: dict[tuple[str, ...], int] = {}
    rows = []
    for row in read_rows(content, found.format, reader.columns):
        key = None if row.problem else reader.key(row)
        earlier = first.setdefault(key, row.number) if key else row.number
        if earlier != row.number:
            problem = InvalidField("", f"names the same record as row {earlier}")
            rows.append(Row(row.number, problem=problem))
        else:
            rows.append(row)
    return rows


async def _chunks(
    work: jobs.Work[Any], found: Import, rows: list[Row], reader: Reader, *, write: bool
) -> int:
    """Go through the rows that are left; returns how many of all are wrong."""
    place, failed, kept = found.processed_rows, found.failed_rows, len(found.errors)
    for chunk in _parts(rows[place:]):
        counts = await _chunk(work, found, chunk, reader, imports.MOST_ERRORS - kept, write=write)
        place, failed, kept = place + len(chunk), failed + counts.failed, kept + len(counts.errors)
        await work.report(place, len(rows))
    return failed


async def _chunk(
    work: jobs.Work[Any], found: Import, chunk: list[Row], reader: Reader, room: int, *, write: bool
) -> Counts:
    for attempt in range(1, _TRIES + 1):
        try:
            async with work.transaction() as tx:
                counts = _count(chunk, await _outcomes(tx, chunk, reader, write=write))
                await imports.add(tx, found.id, counts, room)
                return counts
        except TooBusy:
            # Somebody made the same record meanwhile, or holds it: look again.
            if attempt == _TRIES:
                raise
    raise AssertionError("unreachable")


async def _outcomes(
    tx: Transaction, chunk: list[Row], reader: Reader, *, write: bool
) -> list[tuple[Row, Outcome]]:
    readable = [row for row in chunk if row.problem is None]
    decided = await reader.apply(tx, readable, write) if readable else []
    outcomes: dict[int, Outcome] = {
        row.number: outcome for row, outcome in zip(readable, decided, strict=True)
    }
    for row in chunk:
        if row.problem is not None:
            outcomes[row.number] = InvalidRequest([row.problem])
    return [(row, outcomes[row.number]) for row in chunk]


def _count(chunk: list[Row], outcomes: list[tuple[Row, Outcome]]) -> Counts:
    effects = [outcome for _, outcome in outcomes if isinstance(outcome, Effect)]
    return Counts(
        created=effects.count(Effect.CREATED),
        updated=effects.count(Effect.UPDATED),
        unchanged=effects.count(Effect.UNCHANGED),
        failed=len(chunk) - len(effects),
        errors=[
            error
            for row, outcome in outcomes
            if isinstance(outcome, DomainError)
            for error in imports.errors_of(row.number, outcome)
        ],
    )


async def _apply_all(work: jobs.Work[Any], found: Import, rows: list[Row], reader: Reader) -> None:
    """Let all rows take effect, or none."""
    try:
        async with work.completion() as tx:
            for chunk in _parts(rows):
                _demand_right(await _outcomes(tx, chunk, reader, write=True))
            await imports.finish(tx, found.id)
    except _RowsAreWrong as error:
        await _finish(work, found, f"{error} None took effect.")


def _demand_right(outcomes: list[tuple[Row, Outcome]]) -> None:
    for row, outcome in outcomes:
        if isinstance(outcome, DomainError):
            raise _RowsAreWrong(f"Row {row.number}: {outcome}")


async def _finish(work: jobs.Work[Any], found: Import, error: str) -> None:
    async with work.completion() as tx:
        await imports.finish(tx, found.id, error)


def _parts(rows: list[Row]) -> Iterator[list[Row]]:
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]
