"""A closed month stays as it was, whoever posts and whenever they do."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import psycopg
import pytest

from accounting import entries, listeners, periods
from accounting.errors import PeriodHasDrafts, PeriodIsClosed, PeriodNotBegun, PeriodStateForbids
from accounting.tests.company import Company, credit, debit, order, reason_of, received, sides
from accounting.tests.test_database_rules import as_program, write
from accounting.tests.test_entries import post, reverse
from common.errors import ConcurrentModification, NotFound
from common.locks import Locks
from common.testing import ServiceDatabase
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1 import events_pb2 as events

TODAY = entries.today()
THIS_MONTH = TODAY.isoformat()[:7]
NEXT_MONTH = (TODAY.replace(day=28) + timedelta(days=4)).replace(day=1)
MARCH = "2026-03"


async def change(company: Company, verb: str, period_id: str, version: int = 0) -> pb.Period:
    request = getattr(service_pb, f"{verb}PeriodRequest")(id=period_id, version=version)
    return await company.call(f"{verb}Period", request)


async def close(company: Company, period_id: str = MARCH) -> pb.Period:
    return await change(company, "Close", period_id)


async def test_a_period_is_closed_reopened_and_locked(company: Company) -> None:
    closed = await close(company)
    reopened = await change(company, "Reopen", MARCH, closed.version)
    again = await change(company, "Close", MARCH, reopened.version)
    locked = await change(company, "Lock", MARCH, again.version)

    states = [period.state for period in (closed, reopened, again, locked)]
    assert states == [
        pb.PERIOD_STATE_CLOSED,
        pb.PERIOD_STATE_OPEN,
        pb.PERIOD_STATE_CLOSED,
        pb.PERIOD_STATE_LOCKED,
    ]
    assert (locked.start_date, locked.end_date) == ("2026-03-01", "2026-03-31")
    assert await company.call("GetPeriod", service_pb.GetPeriodRequest(id=MARCH)) == locked
    assert [event.period_id for event in company.events(events.PeriodClosed)] == [MARCH, MARCH]
    assert len(company.events(events.PeriodReopened)) == 1
    assert len(company.events(events.PeriodLocked)) == 1


async def test_what_makes_no_sense_is_refused(company: Company) -> None:
    closed = await close(company)
    await change(company, "Lock", MARCH)

    for verb in ("Close", "Reopen", "Lock"):
        with pytest.raises(PeriodStateForbids):
            await change(company, verb, MARCH)
    for verb in ("Reopen", "Lock"):
        with pytest.raises(PeriodStateForbids):
            await change(company, verb, "2026-04")
    with pytest.raises(ConcurrentModification):
        await change(company, "Close", "2026-04", closed.version)
    with pytest.raises(PeriodNotBegun):
        await close(company, NEXT_MONTH.isoformat()[:7])
    for nonsense in ("2026-13", "0000-01", "march", "2026-03-01", company.tenant_id.hex):
        with pytest.raises(NotFound):
            await close(company, nonsense)


async def test_nobody_posts_into_a_closed_period_by_hand(company: Company) -> None:
    kept = await company.invest("5", date="2026-03-31")
    await close(company)

    for attempt in (
        company.invest("7", date="2026-03-01"),
        company.write(debit("1010", "7"), credit("3000", "7"), date="2026-03-31", post=False),
        reverse(company, kept.id, date="2026-03-31"),
    ):
        with pytest.raises(PeriodIsClosed):
            await attempt
    await company.invest("1", date="2026-04-01")
    await company.invest("1", date="2026-02-28")
    assert await company.balances("2026-03-31") == {"1010": 600, "3000": -600}

    await change(company, "Reopen", MARCH)
    await company.invest("7", date="2026-03-01")
    assert await company.wrongs() == []


async def test_a_reversal_goes_into_an_open_period(company: Company) -> None:
    entry = await company.invest("5")
    await close(company, THIS_MONTH)

    reversal = await reverse(company, entry.id)

    assert (reversal.date, reversal.document_date) == (NEXT_MONTH.isoformat(), TODAY.isoformat())
    assert await company.entry(reversal.id) == reversal
    assert await company.wrongs() == []


async def test_what_is_late_counts_for_the_next_open_period_and_keeps_its_date(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periods, "today", lambda: NEXT_MONTH)
    for month in (THIS_MONTH, NEXT_MONTH.isoformat()[:7]):
        await close(company, month)
    after = (NEXT_MONTH + timedelta(days=31)).replace(day=1).isoformat()
    confirmed = order(customer_id=company.new_customer())

    await company.confirm(confirmed)
    invoice = await company.invoice_of(confirmed)
    payment = await company.pay(confirmed.customer_id, "119", [(invoice.id, "119")])
    await company.void(payment.id)
    await company.hear(listeners.post_receipts, [received("7")])
    await company.cancel(confirmed)

    posted = [
        entry
        for kind in ("invoice", "payment", "payment_void", "receipt", "credit_note")
        for entry in await company.entries_for(kind)
    ]
    assert {(entry.date, entry.document_date) for entry in posted} == {(after, TODAY.isoformat())}
    assert len(posted) == 5
    assert invoice.date == TODAY.isoformat()
    assert sides(posted[3]) == {"1400": 700, "2100": -700}
    assert await company.wrongs() == []


async def test_a_period_with_drafts_is_not_closed(company: Company) -> None:
    lines = debit("1010", "7"), credit("3000", "7")
    draft = await company.write(*lines, date="2026-03-31", post=False)
    await company.write(*lines, date="2026-04-01", post=False)

    with pytest.raises(PeriodHasDrafts) as refused:
        await close(company)
    await post(company, draft.id)
    await close(company)

    assert refused.value.drafts == 1


async def test_all_months_since_the_first_are_listed(company: Company) -> None:
    await company.invest("5", date="2026-01-31")
    await close(company)

    first = await company.call("ListPeriods", service_pb.ListPeriodsRequest(page_size=3))
    token = first.next_page_token
    rest = await company.call("ListPeriods", service_pb.ListPeriodsRequest(page_token=token))

    found = [*first.periods, *rest.periods]
    assert [period.id for period in first.periods] == ["2026-01", "2026-02", MARCH]
    assert [period.id for period in found if period.state == pb.PERIOD_STATE_CLOSED] == [MARCH]
    assert found[-1].id == THIS_MONTH
    months = [date.fromisoformat(period.start_date) for period in found]
    assert all(b == (a + timedelta(days=31)).replace(day=1) for a, b in pairwise(months))


async def test_periods_close_while_redis_is_away(company: Company, no_locks: Locks) -> None:
    alone = replace(company, locks=no_locks)

    outcomes = await asyncio.gather(*(close(alone) for _ in range(5)), return_exceptions=True)

    assert sorted(map(reason_of, outcomes)) == ["OK", *["PERIOD_STATE_FORBIDS"] * 4]
    with pytest.raises(PeriodIsClosed):
        await company.invest("1", date="2026-03-15")


async def test_posting_and_closing_at_once_happen_one_after_the_other(company: Company) -> None:
    def invest() -> asyncio.Task[pb.JournalEntry]:
        return asyncio.ensure_future(company.invest("1", date="2026-03-15"))

    for _ in range(5):
        work = [invest() for _ in range(10)]
        work += [asyncio.ensure_future(close(company)), *(invest() for _ in range(10))]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        before = await company.balances("2026-03-31")
        assert set(map(reason_of, outcomes)) <= {"OK", "PERIOD_IS_CLOSED"}
        with pytest.raises(PeriodIsClosed):
            await invest()
        assert await company.balances("2026-03-31") == before
        await change(company, "Reopen", MARCH)

    assert await company.wrongs() == []


async def test_who_waits_for_a_close_sees_it(company: Company, urls: ServiceDatabase) -> None:
    with as_program(urls, company) as closing:
        closing.execute("SELECT FROM companies FOR NO KEY UPDATE")
        closing.execute("INSERT INTO periods (id, state) VALUES ('2026-03', 'closed')")
        # It begins before the close commits, so what it sees at first is too old.
        waiting = asyncio.create_task(company.invest("1", date="2026-03-15"))
        await somebody_waits(company)
        closing.commit()

    with pytest.raises(PeriodIsClosed):
        await waiting


def test_the_database_itself_refuses_entries_in_closed_periods(
    company: Company, urls: ServiceDatabase
) -> None:
    with as_program(urls, company) as program:
        program.execute("INSERT INTO periods (id, state) VALUES ('2026-01', 'closed')")
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            write(program, [5, 0], [0, 5])

    assert refused.value.diag.constraint_name == "journal_entries_in_open_periods"


def test_the_database_itself_keeps_a_period_locked(company: Company, urls: ServiceDatabase) -> None:
    with as_program(urls, company) as program:
        program.execute("INSERT INTO periods (id, state) VALUES ('2026-01', 'locked')")
        with pytest.raises(psycopg.errors.CheckViolation) as refused:
            program.execute("UPDATE periods SET state = 'open'")

    assert refused.value.diag.constraint_name == "periods_stay_locked"


async def somebody_waits(company: Company) -> None:
    """Return when a transaction waits for a lock."""
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND CAST(%s AS uuid) IS NOT NULL"
    )
    async with asyncio.timeout(5):
        while not company.rows(query):
            await asyncio.sleep(0.01)
