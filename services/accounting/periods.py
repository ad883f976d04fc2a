"""The months of the books: open, closed until somebody reopens them, or locked for ever."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Self

from google.protobuf.message import Message
from sqlalchemy import BigInteger, DateTime, Row, Text, column, select, text

from accounting.books import currency_of_books, open_books
from accounting.dates import period_of
from accounting.entries import today
from accounting.errors import PeriodHasDrafts, PeriodNotBegun, PeriodStateForbids
from common import outbox
from common.database import Transaction
from common.errors import ConcurrentModification, NotFound
from common.listing import Listing
from common.pagination import Page
from common.wire import enum_value, timestamp
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1 import events_pb2 as events

OPEN, CLOSED, LOCKED = "open", "closed", "locked"
_MONTH = re.compile(r"(?!0000)\d{4}-(0[1-9]|1[0-2])", re.ASCII)

# What a period may become, and who is told of it.
_MOVES: dict[tuple[str, str], Callable[..., Message]] = {
    (OPEN, CLOSED): events.PeriodClosed,
    (CLOSED, OPEN): events.PeriodReopened,
    (CLOSED, LOCKED): events.PeriodLocked,
}


@dataclass(frozen=True)
class Period:
    """A month of the books; one that was never closed has no row and version 0."""

    id: str
    state: str = OPEN
    version: int = 0
    updated_at: datetime | None = None

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Read a row."""
        return cls(row.id, row.state, row.version, row.updated_at)

    @property
    def first_day(self) -> date:
        """The day it begins on."""
        return date.fromisoformat(f"{self.id}-01")

    def to_wire(self) -> pb.Period:
        """The period as it travels."""
        start = self.first_day
        following = start.replace(day=28) + timedelta(days=4)
        return pb.Period(
            id=self.id,
            state=enum_value(pb.PeriodState, self.state),
            start_date=start.isoformat(),
            end_date=(following - timedelta(days=following.day)).isoformat(),
            version=self.version,
            update_time=timestamp(self.updated_at),
        )


@dataclass(frozen=True)
class ChangePeriod:
    """Close, reopen or lock a period."""

    id: str
    wanted: str
    # 0 is any.
    version: int = 0


_FIND = text("SELECT id, state, version, updated_at FROM periods WHERE id = :id")
_MONTHS = text("""
    SELECT month.id, coalesce(period.state, 'open') AS state,
           coalesce(period.version, 0) AS version, period.updated_at
    FROM (
        SELECT to_char(first_day, 'YYYY-MM') COLLATE "C" AS id
        FROM generate_series(
            least(
                (SELECT min(period) FROM account_totals),
                (SELECT CAST(min(id) || '-01' AS date) FROM periods),
                CAST(:this_month AS date)
            ), CAST(:this_month AS date), interval '1 month') AS first_day
    ) AS month LEFT JOIN periods AS period ON period.id = month.id
""").columns(
    column("id", Text),
    column("state", Text),
    column("version", BigInteger),
    column("updated_at", DateTime),
)
_SAVE = text("""
    INSERT INTO periods AS period (id, state) VALUES (:id, :state)
    ON CONFLICT (tenant_id, id) DO UPDATE SET
        state = excluded.state, version = period.version + 1, updated_at = now()
    RETURNING id, state, version, updated_at
""")
_DRAFTS = text("""
    SELECT count(*) FROM entry_drafts
    WHERE date >= :first_day AND date < :first_day + interval '1 month'
""")


async def get_period(tx: Transaction, period_id: str) -> Period:
    """One period.

    Raises:
        NotFound: it is no month.
    """
    if not _MONTH.fullmatch(period_id):
        raise NotFound("period", period_id)
    row = await tx.row(_FIND, {"id": period_id})
    return Period(period_id) if row is None else Period.of(row)


async def list_periods(tx: Transaction, page: Page) -> tuple[list[Period], str]:
    """A page of the months from the first that was posted into to this one, and the next token.

    Raises:
        Unavailable: the company's books have not been opened yet.
    """
    await currency_of_books(tx)
    months = _MONTHS.bindparams(this_month=today().replace(day=1)).subquery("month")
    listing = Listing(service_pb.ListPeriodsRequest, months.c, "id")
    rows, token = await listing.read(tx, select(months), page)
    return [Period.of(row) for row in rows], token


async def change_period(tx: Transaction, command: ChangePeriod) -> Period:
    """Close, reopen or lock a period.

    Whoever posts holds the books as well, so that every entry is in the period before it closes,
    or not at all.

    Raises:
        NotFound: it is no month.
        ConcurrentModification: it has another version by now.
        PeriodStateForbids: it is not in the right state for that.
        PeriodNotBegun: it is to be closed before its first day.
        PeriodHasDrafts: it is to be closed while drafts are dated in it.
    """
    await open_books(tx)
    period = await get_period(tx, command.id)
    if command.version not in (0, period.version):
        raise ConcurrentModification("period", period.id)
    told = _MOVES.get((period.state, command.wanted))
    if told is None:
        raise PeriodStateForbids(period.id, period.state, command.wanted)
    if command.wanted == CLOSED:
        await _demand_closable(tx, period)
    row = (await tx.execute(_SAVE, {"id": period.id, "state": command.wanted})).one()
    outbox.publish(tx, told(period_id=period.id))
    return Period.of(row)


async def _demand_closable(tx: Transaction, period: Period) -> None:
    if period.id > period_of(today()):
        raise PeriodNotBegun(period.id)
    drafts = await tx.scalar(_DRAFTS, {"first_day": period.first_day})
    if drafts:
        raise PeriodHasDrafts(period.id, drafts)
