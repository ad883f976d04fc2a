"""Entries written by hand: what people may post, and how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self
from uuid import UUID

from accounting import drafts
from accounting.accounts import Chart, chart_of
from accounting.books import Books, open_books
from accounting.dates import parse_date
from accounting.entries import JournalEntry, Line, Source, post_entries, today
from accounting.errors import EntryAlreadyPosted, UnbalancedEntry
from accounting.journal import posted_ids
from common import ids
from common.database import Transaction
from common.errors import DomainError, InvalidRequest, NotFound
from common.money import Money, format_minor
from erp.accounting.v1 import accounting_service_pb2 as service_pb

MANUAL = "manual"


@dataclass(frozen=True)
class NewLine:
    """One side of a new entry."""

    account_code: str
    amount: Money
    is_debit: bool
    description: str

    @classmethod
    def from_wire(cls, message: service_pb.NewJournalLine, field: str) -> Self:
        """Read a line.

        Raises:
            InvalidRequest: it has no side, or both.
        """
        sides = {
            side: Money.from_wire(getattr(message, side), f"{field}/{side}")
            for side in ("debit", "credit")
            if message.HasField(side)
        }
        filled = [(side, amount) for side, amount in sides.items() if amount.minor]
        if len(filled) != 1:
            rule = "must have either a debit or a credit greater than 0"
            raise InvalidRequest.of(f"/{field}", rule)
        [(side, amount)] = filled
        return cls(message.account_code, amount, side == "debit", message.description)


@dataclass(frozen=True)
class WriteEntry:
    """Write an entry, as a draft or posted at once."""

    date: date
    description: str
    lines: tuple[NewLine, ...]
    post: bool

    @classmethod
    def from_wire(cls, request: service_pb.CreateJournalEntryRequest) -> Self:
        """Read the request."""
        day = parse_date(request.date, "date") if request.HasField("date") else today()
        lines = enumerate(request.lines)
        new = tuple(NewLine.from_wire(line, f"lines/{place}") for place, line in lines)
        return cls(day, request.description, new, request.post)


@dataclass(frozen=True)
class PostDraft:
    """Make a draft count."""

    entry_id: UUID

    @classmethod
    def from_wire(cls, request: service_pb.PostJournalEntryRequest) -> Self:
        """Read the request."""
        return cls(ids.parse(request.id, "id"))


async def write_draft(tx: Transaction, command: WriteEntry) -> JournalEntry:
    """Keep an entry that does not count yet; it has to obey the rules of one that does.

    Raises:
        CurrencyNotKept, NotFound, GroupAccount, UnbalancedEntry: it could never be posted.
        PeriodIsClosed: its day is in a closed period.
    """
    # While the books are held, nobody closes the period of its day.
    books = await open_books(tx)
    entry = entry_of(command, books, await chart_of(tx, _codes_of([command])))
    await drafts.keep(tx, entry)
    return entry


async def post(
    tx: Transaction, commands: Sequence[WriteEntry | PostDraft]
) -> list[JournalEntry | DomainError]:
    """Post new entries and drafts together; each succeeds or fails by itself."""
    books = await open_books(tx)
    kept = await _unposted(tx, [item.entry_id for item in commands if isinstance(item, PostDraft)])
    chart = await chart_of(tx, _codes_of([*commands, *kept.values()]))

    decided = [_decide(command, books, chart, kept) for command in commands]

    posted = await post_entries(
        tx, books, [item for item in decided if isinstance(item, JournalEntry)]
    )
    await drafts.remove(tx, [entry.id for entry in posted if entry.id in kept])
    in_order = iter(posted)
    return [next(in_order) if isinstance(item, JournalEntry) else item for item in decided]


def entry_of(command: WriteEntry, books: Books, chart: Chart) -> JournalEntry:
    """The entry that a command describes.

    Raises:
        CurrencyNotKept: an amount is in another currency than the books.
        NotFound, GroupAccount: an account does not exist or can't be posted to.
        UnbalancedEntry: debits and credits differ.
        PeriodIsClosed: its day is in a closed period.
    """
    books.demand_open(command.date)
    amounts = [books.minor(line.amount) for line in command.lines]
    lines = tuple(
        Line(chart.get(new.account_code), minor, 0, new.description)
        if new.is_debit
        else Line(chart.get(new.account_code), 0, minor, new.description)
        for new, minor in zip(command.lines, amounts, strict=True)
    )
    demand_balance(lines, books.currency)
    entry_id = ids.new()
    source = Source(MANUAL, entry_id)
    return JournalEntry(entry_id, command.date, command.description, books.currency, lines, source)


def demand_balance(lines: Sequence[Line], currency: str) -> None:
    """Let pass what balances.

    Raises:
        UnbalancedEntry: debits and credits differ.
    """
    debit, credit = sum(line.debit for line in lines), sum(line.credit for line in lines)
    if debit != credit:
        amounts = (format_minor(debit, currency), format_minor(credit, currency))
        raise UnbalancedEntry(*amounts, currency)


def _decide(
    command: WriteEntry | PostDraft,
    books: Books,
    chart: Chart,
    kept: dict[UUID, JournalEntry | DomainError],
) -> JournalEntry | DomainError:
    try:
        if isinstance(command, WriteEntry):
            return entry_of(command, books, chart)
        return _draft_to_post(command, books, chart, kept)
    except DomainError as error:
        return error


def _draft_to_post(
    command: PostDraft,
    books: Books,
    chart: Chart,
    kept: dict[UUID, JournalEntry | DomainError],
) -> JournalEntry:
    draft = kept[command.entry_id]
    if isinstance(draft, DomainError):
        raise draft
    books.demand_open(draft.date)
    for line in draft.lines:
        chart.get(line.account.code)
    # A second command of the group for the same draft comes too late.
    kept[draft.id] = EntryAlreadyPosted(draft.id)
    return draft


async def _unposted(
    tx: Transaction, draft_ids: Sequence[UUID]
) -> dict[UUID, JournalEntry | DomainError]:
    found: dict[UUID, JournalEntry | DomainError] = dict(await drafts.find(tx, draft_ids))
    missing = [draft_id for draft_id in draft_ids if draft_id not in found]
    posted = await posted_ids(tx, missing) if missing else frozenset()
    for draft_id in missing:
        is_posted = draft_id in posted
        found[draft_id] = (
            EntryAlreadyPosted(draft_id) if is_posted else NotFound("journal entry", draft_id)
        )
    return found


def _codes_of(items: Sequence[object]) -> Iterator[str]:
    for item in items:
        if isinstance(item, WriteEntry):
            yield from (line.account_code for line in item.lines)
        elif isinstance(item, JournalEntry):
            yield from (line.account.code for line in item.lines)
