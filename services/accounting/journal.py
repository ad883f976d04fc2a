"""The journal: reading entries, and taking one back by another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self
from uuid import UUID

from sqlalchemy import select, text

from accounting import drafts
from accounting.books import PostingAccount, open_books
from accounting.dates import parse_date
from accounting.entries import JournalEntry, Line, Source, post_entries, reversal_of, today
from accounting.errors import EntryAlreadyReversed, EntryBelongsToRecord, EntryNotPosted
from accounting.tables import journal_entries
from common import ids
from common.database import Transaction
from common.errors import InvalidRequest, NotFound
from common.listing import Listing
from common.pagination import Page
from erp.accounting.v1 import accounting_service_pb2 as service_pb

# What people posted, people may take back; any other entry is taken back with its record.
REVERSIBLE = frozenset({"manual", "reversal"})
SOURCE_KINDS = REVERSIBLE | {
    *("invoice", "credit_note", "payment", "payment_void", "receipt", "adjustment", "shipment"),
}


_LIST = Listing(
    service_pb.ListJournalEntriesRequest,
    journal_entries.c,
    "id",
    others={
        "source.kind": journal_entries.c.source_kind,
        "source.id": journal_entries.c.source_id,
    },
)


@dataclass(frozen=True)
class ReverseEntry:
    """Take an entry back by a new one with its sides exchanged."""

    entry_id: UUID
    # None is today, or the next day in an open period.
    date: date | None
    reason: str

    @classmethod
    def from_wire(cls, request: service_pb.ReverseJournalEntryRequest) -> Self:
        """Read the request."""
        day = parse_date(request.date, "date") if request.HasField("date") else None
        return cls(ids.parse(request.id, "id"), day, request.reason)


@dataclass(frozen=True)
class EntryFilter:
    """Which entries of the journal are asked for."""

    source_kind: str | None = None
    source_id: UUID | None = None

    @classmethod
    def from_wire(cls, request: service_pb.ListJournalEntriesRequest) -> Self:
        """Read the request.

        Raises:
            InvalidRequest: no kind of record causes entries of this kind.
        """
        kind = request.source_kind if request.HasField("source_kind") else None
        if kind is not None and kind not in SOURCE_KINDS:
            rule = f"must be one of {', '.join(sorted(SOURCE_KINDS))}"
            raise InvalidRequest.of("/source_kind", rule)
        return cls(kind, ids.parse_optional(request.source_id, "source_id"))


_ENTRIES = text("""
    SELECT entry.id, entry.number, entry.date, entry.description, entry.source_kind,
           entry.source_id, entry.reverses_id, entry.created_at, entry.posted_at,
           entry.document_date, reversal.id AS reversed_by_id, line.account_id, account.code,
           line.currency,
           line.debit_minor, line.credit_minor, line.description AS line_description
    FROM journal_entries AS entry
    JOIN journal_lines AS line
        ON line.tenant_id = entry.tenant_id AND line.entry_id = entry.id
    JOIN accounts AS account
        ON account.tenant_id = line.tenant_id AND account.id = line.account_id
    LEFT JOIN journal_entries AS reversal
        ON reversal.tenant_id = entry.tenant_id AND reversal.reverses_id = entry.id
    WHERE entry.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY entry.id, line.position
""")


async def find_posted(tx: Transaction, entry_ids: Sequence[UUID]) -> dict[UUID, JournalEntry]:
    """Those of the entries that have been posted, by id."""
    found: dict[UUID, JournalEntry] = {}
    lines: dict[UUID, list[Line]] = {}
    for row in await tx.rows(_ENTRIES, {"ids": list(entry_ids)}) if entry_ids else ():
        account = PostingAccount(row.account_id, row.code)
        line = Line(account, row.debit_minor, row.credit_minor, row.line_description)
        lines.setdefault(row.id, []).append(line)
        found[row.id] = JournalEntry(
            id=row.id,
            date=row.date,
            description=row.description,
            currency=row.currency,
            lines=tuple(lines[row.id]),
            source=Source(row.source_kind, row.source_id),
            reverses_id=row.reverses_id,
            reversed_by_id=row.reversed_by_id,
            number=row.number,
            created_at=row.created_at,
            posted_at=row.posted_at,
            document_date=row.document_date,
        )
    return found


async def posted_ids(tx: Transaction, entry_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those of the ids that posted entries have."""
    query = select(journal_entries.c.id).where(journal_entries.c.id.in_(entry_ids))
    return frozenset(row.id for row in await tx.rows(query))


async def get_entry(tx: Transaction, entry_id: UUID) -> JournalEntry:
    """Read one entry, posted or draft.

    Raises:
        NotFound: it does not exist.
    """
    # A draft may be posted between the two looks; it is then found by the third.
    for find in (find_posted, drafts.find, find_posted):
        found = await find(tx, [entry_id])
        if entry_id in found:
            return found[entry_id]
    raise NotFound("journal entry", entry_id)


async def list_entries(
    tx: Transaction, page: Page, wanted: EntryFilter
) -> tuple[list[JournalEntry], str]:
    """A page of posted entries, oldest first, and the token of the next page."""
    query = select(journal_entries.c.id)
    if wanted.source_kind is not None:
        query = query.where(journal_entries.c.source_kind == wanted.source_kind)
    if wanted.source_id is not None:
        query = query.where(journal_entries.c.source_id == wanted.source_id)
    rows, token = await _LIST.read(tx, query, page)
    found = await find_posted(tx, [row.id for row in rows])
    return [found[row.id] for row in rows], token


async def reverse(tx: Transaction, command: ReverseEntry) -> JournalEntry:
    """Take a posted entry back, and return the entry that does so.

    Raises:
        NotFound: it does not exist.
        EntryNotPosted, EntryAlreadyReversed, EntryBelongsToRecord: it cannot be taken back by hand.
        PeriodIsClosed: the day that was asked for is in a closed period.
    """
    books = await open_books(tx)
    if command.date:
        books.demand_open(command.date)
    entry = await get_entry(tx, command.entry_id)
    demand_reversible(entry)
    description = command.reason or f"Reversal of {entry.number}"
    day = command.date or today()
    reversal = reversal_of(entry, Source("reversal", entry.id), day, description)
    [posted] = await post_entries(tx, books, [reversal])
    return posted


def demand_reversible(entry: JournalEntry) -> None:
    """Let pass what people may take back.

    Raises:
        EntryNotPosted, EntryAlreadyReversed, EntryBelongsToRecord: they may not.
    """
    if not entry.number:
        raise EntryNotPosted(entry.id)
    if entry.source.kind not in REVERSIBLE:
        raise EntryBelongsToRecord(entry.id, entry.number, entry.source.kind, entry.source.id)
    if entry.reversed_by_id is not None:
        raise EntryAlreadyReversed(entry.id, entry.number, entry.reversed_by_id)
