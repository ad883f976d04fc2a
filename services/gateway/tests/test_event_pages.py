"""How the events of several services become one list with one cursor."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import caller
from common.caller import Caller, acting_as
from common.errors import InvalidRequest, Unavailable
from common.testing import as_user
from common.wire import timestamp
from erp.events.v1.events_pb2 import Event, ReadResponse
from gateway.event_cursor import Cursor
from gateway.event_pages import EventPages, Wanted, parse_types

CONFIRMED, POSTED = "erp.sales.v1.OrderConfirmed", "erp.accounting.v1.InvoicePosted"
START = datetime(2026, 3, 31, 12, tzinfo=UTC)


class Log:
    """A service's events in memory, with the promises of the real one."""

    def __init__(self, source, *seconds, kind=None):
        self.away = False
        self.asked = 0
        self.events = [
            Event(
                id=f"{source}-{number}",
                source=source,
                sequence=number,
                type=kind or f"erp.{source}.v1.Something",
                time=timestamp(START + timedelta(seconds=second)),
            )
            for number, second in enumerate(seconds, 1)
        ]

    async def Read(self, request):
        self.asked += 1
        if self.away:
            raise Unavailable("It")
        head = len(self.events)
        if request.head_only:
            return ReadResponse(position=head)
        wanted = [
            event
            for event in self.events
            if event.sequence > request.after and (not request.types or event.type in request.types)
        ][: request.limit]
        full = len(wanted) == request.limit
        return ReadResponse(events=wanted, position=wanted[-1].sequence if full else head)


def ids_of(page):
    return [event.id for event, _ in page.events]


async def read_all(pages, limit, sources=("sales", "accounting"), types=()):
    wanted = Wanted(types)
    cursor, found = Cursor(), []
    while True:
        page = await pages.read(Cursor.parse(str(cursor)), sources, wanted, limit)
        found += ids_of(page)
        cursor = page.after
        if not page.has_more:
            return found, cursor


async def test_pages_of_any_size_show_every_event_once_by_time(tenant):
    pages = EventPages({"sales": Log("sales", 1, 3, 5), "accounting": Log("accounting", 2, 2, 9)})

    with as_user(tenant):
        whole = [await read_all(pages, limit) for limit in (1, 2, 3, 5, 100)]

    in_order = ["sales-1", "accounting-1", "accounting-2", "sales-2", "sales-3", "accounting-3"]
    assert [found for found, _ in whole] == [in_order] * 5
    assert {str(cursor) for _, cursor in whole} == {str(Cursor({"sales": 3, "accounting": 3}))}


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)), st.integers(1, 4))
async def test_the_order_within_a_service_is_its_own_whatever_the_clocks_say(ours, theirs, limit):
    pages = EventPages({"sales": Log("sales", *ours), "accounting": Log("accounting", *theirs)})

    with as_user(None):
        found, _ = await read_all(pages, limit)

    for source, seconds in (("sales", ours), ("accounting", theirs)):
        own = [name for name in found if name.startswith(source)]
        assert own == [f"{source}-{number}" for number in range(1, len(seconds) + 1)]


async def test_from_the_cursor_of_any_event_the_next_is_next(tenant):
    pages = EventPages({"sales": Log("sales", 1, 3), "accounting": Log("accounting", 2, 4)})
    sources = ("sales", "accounting")

    with as_user(tenant):
        page = await pages.read(Cursor(), sources, Wanted(), 10)
        rests = [ids_of(await pages.read(after, sources, Wanted(), 10)) for _, after in page.events]

    assert rests == [ids_of(page)[number:] for number in range(1, 5)]


async def test_what_is_not_wanted_is_passed_over_and_its_services_not_asked(tenant):
    sales, accounting = Log("sales", 1, 2, kind=CONFIRMED), Log("accounting", 3)
    pages = EventPages({"sales": sales, "accounting": accounting})

    with as_user(tenant) as reader:
        sources = pages.sources_of(reader, Wanted([CONFIRMED]))
        found, cursor = await read_all(pages, 10, sources, [CONFIRMED])

    assert found == ["sales-1", "sales-2"]
    assert accounting.asked == 0
    assert cursor == Cursor({"sales": 2})


def test_a_reader_sees_the_services_whose_events_it_may_read():
    pages = EventPages({name: Log(name) for name in ("sales", "accounting", "gateway")})
    clerk = Caller(None, "user:clerk", frozenset({"gateway.events.read", "sales.*"}))

    assert pages.sources_of(clerk, Wanted()) == {"gateway", "sales"}
    assert pages.sources_of(clerk, Wanted([CONFIRMED, POSTED])) == {"sales"}


async def test_now_is_after_all_that_has_happened(tenant):
    pages = EventPages({"sales": Log("sales", 1, 2), "accounting": Log("accounting")})

    with as_user(tenant):
        cursor = await pages.start("now")

    assert cursor == Cursor({"sales": 2, "accounting": 0})


async def test_a_page_is_refused_rather_than_incomplete(tenant):
    accounting = Log("accounting", 1)
    accounting.away = True
    pages = EventPages({"sales": Log("sales", 1), "accounting": accounting})

    with as_user(tenant), pytest.raises(Unavailable):
        await pages.read(Cursor(), ("sales", "accounting"), Wanted(), 10)


async def test_logs_are_read_on_the_gateways_own_account(tenant):
    seen = []

    class Watching(Log):
        async def Read(self, request):
            seen.append(caller.current())
            return await super().Read(request)

    with acting_as(Caller(tenant, "token:1", frozenset(), (), "request-1")):
        await EventPages({"sales": Watching("sales", 1)}).read(Cursor(), ("sales",), Wanted(), 10)

    assert [(who.subject, who.tenant_id, who.request_id) for who in seen] == [
        ("service:gateway", tenant, "request-1")
    ]


@pytest.mark.parametrize(
    "text", ["nonsense", "=", "c2FsZXM", "c2FsZXM9LTE", "é", "c2FsZXM9MSw", "A" * 400]
)
def test_what_is_no_cursor_is_refused_by_name(text):
    with pytest.raises(InvalidRequest) as refused:
        Cursor.parse(text)

    assert [item.pointer for item in refused.value.violations] == ["/after"]


@pytest.mark.parametrize("text", ["", "0"])
def test_nothing_and_nought_are_the_beginning(text):
    assert Cursor.parse(text) == Cursor()


def test_unknown_events_are_refused_by_name():
    assert parse_types(f" {CONFIRMED},{POSTED}, ") == [CONFIRMED, POSTED]
    with pytest.raises(InvalidRequest, match="OrderConfirmd"):
        parse_types("erp.sales.v1.OrderConfirmd")
