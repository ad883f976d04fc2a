"""Journal entries written by hand: drafts, posting, reversal."""

import asyncio
from uuid import UUID

import pytest

from accounting.errors import (
    CurrencyNotKept,
    EntryAlreadyPosted,
    EntryAlreadyReversed,
    EntryBelongsToRecord,
    EntryNotPosted,
    UnbalancedEntry,
)
from accounting.tests.company import (
    Company,
    credit,
    debit,
    eur,
    new_id,
    order,
    reason_of,
    sides,
)
from common.errors import InvalidRequest, NotFound
from common.testing import as_user
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.types.v1 import money_pb2


async def post(company: Company, entry_id: str) -> pb.JournalEntry:
    request = service_pb.PostJournalEntryRequest(id=entry_id)
    return await company.call("PostJournalEntry", request)


async def reverse(company: Company, entry_id: str, date: str | None = None) -> pb.JournalEntry:
    request = service_pb.ReverseJournalEntryRequest(id=entry_id, date=date, reason="A mistake")
    return await company.call("ReverseJournalEntry", request)


async def test_an_entry_is_posted_with_number_and_date(company: Company) -> None:
    written = await company.invest("5000.00", date="2026-02-03")

    entry = await company.entry(written.id)
    assert entry == written
    assert entry.state == pb.JOURNAL_ENTRY_STATE_POSTED
    assert entry.number.startswith("JE-")
    assert entry.number.endswith("-000001")
    assert entry.date == "2026-02-03"
    assert (entry.source.kind, entry.source.id) == ("manual", "")
    assert sides(entry) == {"1010": 500_000, "3000": -500_000}
    assert entry.lines[0].credit == eur("0.00")
    assert await company.balances() == {"1010": 500_000, "3000": -500_000}


async def test_a_draft_counts_once_it_is_posted(company: Company) -> None:
    draft = await company.write(debit("6000", "12.50"), credit("1000", "12.50"), post=False)
    before = await company.balances()

    posted = await post(company, draft.id)

    assert (draft.number, draft.state) == ("", pb.JOURNAL_ENTRY_STATE_DRAFT)
    assert before == {}
    assert (posted.id, posted.state) == (draft.id, pb.JOURNAL_ENTRY_STATE_POSTED)
    assert posted.create_time == draft.create_time
    assert await company.entry(draft.id) == posted
    assert await company.balances() == {"1000": -1250, "6000": 1250}


async def test_a_draft_is_read_but_not_listed(company: Company) -> None:
    draft = await company.write(debit("6000", "1"), credit("1000", "1"), post=False)

    assert await company.entry(draft.id) == draft
    assert await company.entries_for("manual") == []


async def test_a_draft_is_posted_by_one_of_many_who_try(company: Company) -> None:
    draft = await company.write(debit("6000", "1"), credit("1000", "1"), post=False)

    outcomes = await asyncio.gather(
        *(post(company, draft.id) for _ in range(10)), return_exceptions=True
    )

    assert sorted(map(reason_of, outcomes)) == ["ENTRY_ALREADY_POSTED"] * 9 + ["OK"]
    assert (await company.balances())["6000"] == 100
    with pytest.raises(EntryAlreadyPosted):
        await post(company, draft.id)
    with pytest.raises(NotFound):
        await post(company, new_id())


async def test_an_entry_is_found_while_it_is_being_posted(company: Company) -> None:
    drafts = [
        await company.write(debit("6000", "1"), credit("1000", "1"), post=False) for _ in range(20)
    ]

    outcomes = await asyncio.gather(
        *(work for draft in drafts for work in (post(company, draft.id), company.entry(draft.id))),
        *(company.entry(draft.id) for draft in drafts),
    )

    assert {entry.id for entry in outcomes} == {draft.id for draft in drafts}


async def test_an_unbalanced_entry_is_refused_with_both_sums(company: Company) -> None:
    for must_count in (True, False):
        with pytest.raises(UnbalancedEntry) as refused:
            await company.write(debit("1000", "10"), credit("3000", "9.99"), post=must_count)

        assert refused.value.values() == {"debit": "10.00", "credit": "9.99", "currency": "EUR"}
    assert await company.balances() == {}


async def test_a_line_has_one_side(company: Company) -> None:
    both = service_pb.NewJournalLine(account_code="1000", debit=eur("1"), credit=eur("1"))
    neither = service_pb.NewJournalLine(account_code="1000")

    for line in (both, neither, debit("1000", "0")):
        with pytest.raises(InvalidRequest) as refused:
            await company.write(credit("3000", "1"), line)

        assert refused.value.violations[0].pointer == "/lines/1"


async def test_an_entry_names_accounts_and_a_currency_that_are_kept(company: Company) -> None:
    dollars = money_pb2.Money(currency_code="USD", amount="1")

    with pytest.raises(NotFound):
        await company.write(debit("9999", "1"), credit("3000", "1"))
    with pytest.raises(CurrencyNotKept):
        await company.write(
            service_pb.NewJournalLine(account_code="1000", debit=dollars), credit("3000", "1")
        )
    with pytest.raises(InvalidRequest):
        await company.invest("1", date="2026-02-30")


async def test_a_failing_entry_leaves_the_others_of_its_group_and_the_numbers_whole(
    company: Company,
) -> None:
    good = [company.invest("1") for _ in range(20)]
    bad = [company.write(debit("1000", "2"), credit("3000", "1")) for _ in range(10)]
    unknown = [company.write(debit("1000", "1"), credit("nowhere", "1")) for _ in range(10)]
    mixed = [item for trio in zip(good, bad + unknown, strict=True) for item in trio]

    outcomes = await asyncio.gather(*mixed, return_exceptions=True)

    reasons = sorted(map(reason_of, outcomes))
    assert reasons == ["NOT_FOUND"] * 10 + ["OK"] * 20 + ["UNBALANCED_ENTRY"] * 10
    numbers = sorted(item.number for item in outcomes if isinstance(item, pb.JournalEntry))
    assert [number[-6:] for number in numbers] == [f"{place:06d}" for place in range(1, 21)]
    assert await company.wrongs() == []


async def test_an_entry_is_taken_back_once(company: Company) -> None:
    entry = await company.invest("100")

    reversal = await reverse(company, entry.id, "2026-03-04")

    assert sides(reversal) == {"1010": -10_000, "3000": 10_000}
    assert (reversal.reverses_id, reversal.date) == (entry.id, "2026-03-04")
    assert (reversal.source.kind, reversal.source.id) == ("reversal", entry.id)
    assert (await company.entry(entry.id)).reversed_by_id == reversal.id
    assert await company.balances() == {}
    with pytest.raises(EntryAlreadyReversed) as refused:
        await reverse(company, entry.id)
    assert refused.value.reversed_by_id == UUID(reversal.id)


async def test_one_of_many_takes_an_entry_back(company: Company) -> None:
    entry = await company.invest("100")

    outcomes = await asyncio.gather(
        *(reverse(company, entry.id) for _ in range(8)), return_exceptions=True
    )

    assert sorted(map(reason_of, outcomes)) == ["ENTRY_ALREADY_REVERSED"] * 7 + ["OK"]
    assert await company.wrongs() == []


async def test_only_what_people_posted_is_taken_back_by_hand(company: Company) -> None:
    confirmed = order()
    await company.confirm(confirmed)
    invoice = await company.invoice_of(confirmed)
    draft = await company.write(debit("6000", "1"), credit("1000", "1"), post=False)

    with pytest.raises(EntryBelongsToRecord) as refused:
        await reverse(company, invoice.journal_entry_id)
    with pytest.raises(EntryNotPosted):
        await reverse(company, draft.id)
    with pytest.raises(NotFound):
        await reverse(company, new_id())

    assert refused.value.values()["source_kind"] == "invoice"


async def test_the_trial_balance_of_a_day_counts_what_was_posted_up_to_it(
    company: Company,
) -> None:
    for day, amount in (
        ("2025-12-31", "1"),
        ("2026-01-01", "20"),
        ("2026-01-31", "300"),
        ("2026-02-01", "4000"),
        ("2026-02-15", "50000"),
    ):
        await company.invest(amount, date=day)

    expected = {
        "2025-12-30": 0,
        "2025-12-31": 1,
        "2026-01-30": 21,
        "2026-01-31": 321,
        "2026-02-01": 4321,
        "2026-02-14": 4321,
        "2026-02-15": 54321,
        "9999-12-31": 54321,
    }
    found = {day: (await company.balances(day)).get("1010", 0) // 100 for day in expected}
    assert found == expected
    assert (await company.balances())["1010"] == 5_432_100


async def test_sums_larger_than_any_amount_still_balance(company: Company) -> None:
    largest = "9999999999999.99"
    lines = [line for _ in range(250) for line in (debit("1010", largest), credit("3000", largest))]

    for _ in range(4):
        await company.write(*lines)

    assert (await company.balances())["1010"] == 999_999_999_999_999 * 1000


async def test_entries_come_in_pages_oldest_first(company: Company) -> None:
    written = [(await company.invest(str(amount))).id for amount in range(1, 6)]

    request = service_pb.ListJournalEntriesRequest(page_size=3)
    first = await company.call("ListJournalEntries", request)
    request.page_token = first.next_page_token
    second = await company.call("ListJournalEntries", request)

    listed = [*first.journal_entries, *second.journal_entries]
    assert [entry.id for entry in listed] == written
    assert second.next_page_token == ""
    with pytest.raises(InvalidRequest):
        await company.entries_for("wishes")


async def test_another_company_sees_and_reaches_nothing(company: Company, database: object) -> None:
    entry = await company.invest("1")
    stranger = as_user(UUID(new_id()))

    with stranger, pytest.raises(NotFound):
        request = service_pb.GetJournalEntryRequest(id=entry.id)
        await company.rpcs.GetJournalEntry(request, None)
