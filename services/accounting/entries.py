"""Journal entries, and the only way into the books: `post_entries`."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from sqlalchemy import text

from accounting.books import Books, PostingAccount
from common import ids, numbers
from common.bulk import columns_of
from common.database import Transaction
from common.money import Money
from common.wire import enum_value, timestamp
from erp.accounting.v1 import accounting_pb2 as pb

SERIES = "JE"


@dataclass(frozen=True)
class Source:
    """The record that caused an entry; a record causes one entry of a kind, ever."""

    kind: str
    id: UUID


@dataclass(frozen=True)
class Line:
    """One side of an entry, in minor units: either debit or credit is greater than zero."""

    account: PostingAccount
    debit: int
    credit: int
    description: str = ""

    def reversed(self) -> Self:
        """The line with its sides exchanged."""
        return replace(self, debit=self.credit, credit=self.debit)


@dataclass(frozen=True)
class JournalEntry:
    """A record in the books; a draft until it has a number."""

    id: UUID
    date: dt.date
    description: str
    currency: str
    lines: tuple[Line, ...]
    source: Source
    reverses_id: UUID | None = None
    reversed_by_id: UUID | None = None
    number: str = ""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    posted_at: datetime | None = None
    # The day of the record that caused it; `date` until it is posted.
    document_date: dt.date | None = None

    def to_wire(self) -> pb.JournalEntry:
        """The entry as it travels."""
        by_hand = self.source.kind == "manual"
        return pb.JournalEntry(
            id=str(self.id),
            number=self.number,
            state=enum_value(pb.JournalEntryState, "posted" if self.number else "draft"),
            date=self.date.isoformat(),
            description=self.description,
            lines=[self._line_to_wire(line) for line in self.lines],
            source=pb.EntrySource(kind=self.source.kind, id="" if by_hand else str(self.source.id)),
            reverses_id=str(self.reverses_id or ""),
            reversed_by_id=str(self.reversed_by_id or ""),
            create_time=timestamp(self.created_at),
            post_time=timestamp(self.posted_at),
            document_date=(self.document_date or self.date).isoformat(),
        )

    def _line_to_wire(self, line: Line) -> pb.JournalLine:
        return pb.JournalLine(
            account_code=line.account.code,
            debit=Money(self.currency, line.debit).to_wire(),
            credit=Money(self.currency, line.credit).to_wire(),
            description=line.description,
        )


def today() -> dt.date:
    """The day in UTC that an entry counts for when nobody says otherwise."""
    return datetime.now(UTC).date()


def lines_between(books: Books, amounts: dict[str, int]) -> tuple[Line, ...]:
    """Lines from amounts in minor units by role: a debit when positive, a credit when negative.

    Roles with nothing to post are left out.
    """
    return tuple(
        Line(books.accounts[role], max(minor, 0), max(-minor, 0))
        for role, minor in amounts.items()
        if minor
    )


def reversal_of(
    entry: JournalEntry, source: Source, day: dt.date, description: str
) -> JournalEntry:
    """The entry that takes another one back."""
    lines = tuple(line.reversed() for line in entry.lines)
    return JournalEntry(
        ids.new(), day, description, entry.currency, lines, source, reverses_id=entry.id
    )


# An entry and its lines have to be written by one statement (foreign keys both ways); totals are
# summed from the same rows, in one order of accounts for everybody.
_POST = text("""
    WITH new_entry AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:id AS uuid[]), CAST(:number AS text[]), CAST(:date AS date[]),
            CAST(:period AS date[]), CAST(:description AS text[]), CAST(:source_kind AS text[]),
            CAST(:source_id AS uuid[]), CAST(:reverses_id AS uuid[]),
            CAST(:line_count AS smallint[]), CAST(:created_at AS timestamptz[]),
            CAST(:document_date AS date[])
        ) AS item (id, number, date, period, description, source_kind, source_id, reverses_id,
                   line_count, created_at, document_date)
    ), new_line AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:entry_id AS uuid[]), CAST(:position AS smallint[]),
            CAST(:account_id AS uuid[]), CAST(:currency AS text[]), CAST(:debit AS bigint[]),
            CAST(:credit AS bigint[]), CAST(:line_description AS text[])
        ) AS item (entry_id, position, account_id, currency, debit, credit, description)
    ), entries AS (
        INSERT INTO journal_entries (id, number, date, description, source_kind, source_id,
                                     reverses_id, line_count, created_at, posted_at,
                                     document_date)
        SELECT id, number, date, description, source_kind, source_id,
               reverses_id, line_count, created_at, :posted_at, document_date
        FROM new_entry
    ), lines AS (
        INSERT INTO journal_lines (entry_id, position, account_id, currency, debit_minor,
                                   credit_minor, description)
        SELECT entry_id, position, account_id, currency, debit, credit, description FROM new_line
    )
    INSERT INTO account_totals AS total (account_id, period, currency, debit_minor, credit_minor)
    SELECT new_line.account_id, new_entry.period, new_line.currency,
           sum(new_line.debit), sum(new_line.credit)
    FROM new_line JOIN new_entry ON new_entry.id = new_line.entry_id
    GROUP BY new_line.account_id, new_entry.period, new_line.currency
    ORDER BY new_line.account_id, new_entry.period, new_line.currency
    ON CONFLICT (tenant_id, account_id, period, currency) DO UPDATE SET
        debit_minor = total.debit_minor + excluded.debit_minor,
        credit_minor = total.credit_minor + excluded.credit_minor
""")


async def post_entries(
    tx: Transaction, books: Books, entries: Sequence[JournalEntry]
) -> list[JournalEntry]:
    """Make entries count, for ever, in two statements however many: numbers, then all the rest.

    An entry whose day is in a closed period counts for the next day in an open one; the day of its
    document stays. The caller holds the company's books. The database refuses what does not
    balance, and what counts for a closed period.

    Returns:
        The entries with their numbers, in the given order.
    """
    if not entries:
        return []
    now = datetime.now(UTC)
    taken = await numbers.take(tx, SERIES, len(entries), now.year)
    posted = [
        replace(
            entry,
            number=number,
            posted_at=now,
            date=books.open_day(entry.date),
            document_date=entry.date,
        )
        for entry, number in zip(entries, taken, strict=True)
    ]
    columns = columns_of([_entry_row(entry) for entry in posted])
    lines = columns_of([row for entry in posted for row in _line_rows(entry)])
    await tx.execute(_POST, {**columns, **lines, "posted_at": now})
    return posted


def _entry_row(entry: JournalEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "number": entry.number,
        "date": entry.date,
        "period": entry.date.replace(day=1),
        "description": entry.description,
        "source_kind": entry.source.kind,
        "source_id": entry.source.id,
        "reverses_id": entry.reverses_id,
        "line_count": len(entry.lines),
        "created_at": entry.created_at,
        "document_date": entry.document_date,
    }


def _line_rows(entry: JournalEntry) -> list[dict[str, object]]:
    return [
        {
            "entry_id": entry.id,
            "position": position,
            "account_id": line.account.id,
            "currency": entry.currency,
            "debit": line.debit,
            "credit": line.credit,
            "line_description": line.description,
        }
        for position, line in enumerate(entry.lines, 1)
    ]
