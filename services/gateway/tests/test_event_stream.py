"""What a stream does about clients that take nothing, and services that are away."""

import asyncio

import pytest

from common import ids
from common.caller import Caller, acting_as
from erp.gateway.v1.event_service_pb2 import ListEventsRequest
from gateway import event_stream
from gateway.credentials import Client
from gateway.event_bells import Bells
from gateway.event_pages import EventPages
from gateway.event_stream import EventStreams
from gateway.http_request import ABORT, HttpRequest
from gateway.tests.test_event_pages import Log


class Connection:
    """One client's connection, as the server shows it to an application."""

    def __init__(self, most_taken=10_000):
        self.taken = []
        self.room = asyncio.Semaphore(most_taken)
        self.aborted = asyncio.Event()
        self.hung_up = asyncio.Event()

    async def send(self, message):
        await self.room.acquire()
        self.taken.append(message)

    async def receive(self):
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    def request(self):
        scope = {"headers": [], "method": "GET", "raw_path": b"/api/v1/events", "query_string": b""}
        return HttpRequest(scope | {"extensions": {ABORT: self.aborted.set}}, self.receive)

    @property
    def text(self):
        return b"".join(message.get("body", b"") for message in self.taken).decode()


@pytest.fixture
async def reader():
    with acting_as(Caller(ids.new(), "token:1", frozenset({"*"}))) as caller:
        yield Client(caller, "unmetered")


async def opened(connection, reader, **logs):
    async def client():
        return reader

    streams = EventStreams(EventPages(logs), Bells(logs, lambda: True))
    stream = await streams.open(ListEventsRequest(), connection.request(), client)
    return streams, asyncio.create_task(stream.send(connection.send, "request-1", ()))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_no_more_is_read_than_a_slow_client_takes(reader, monkeypatch):
    monkeypatch.setattr(event_stream, "STALL_SECONDS", 0.2)
    log, connection = Log("sales", *range(1000)), Connection(most_taken=3)

    _, sending = await opened(connection, reader, sales=log)
    await sending

    assert "sales-1" in connection.text
    assert connection.aborted.is_set()
    # When it was opened, and for two pages.
    assert log.asked == 3


async def test_a_service_that_is_away_keeps_nobody_from_the_others(reader):
    sales, accounting, connection = Log("sales", 1), Log("accounting", 2), Connection()
    accounting.away = True

    streams, sending = await opened(connection, reader, sales=sales, accounting=accounting)
    await until(lambda: "sales-1" in connection.text)
    accounting.away = False
    await until(lambda: "accounting-1" in connection.text)
    streams.end()
    await sending

    assert connection.text.count("sales-1") == connection.text.count("accounting-1") == 1
    assert connection.taken[-1] == {"type": "http.response.body", "body": b""}


async def test_who_hangs_up_leaves_room_at_once(reader, monkeypatch):
    # By which it would be noticed otherwise.
    monkeypatch.setattr(event_stream, "RECHECK_SECONDS", 3600)
    connection = Connection()
    streams, sending = await opened(connection, reader, sales=Log("sales"))
    await until(lambda: streams._open.total() == 1)

    connection.hung_up.set()
    async with asyncio.timeout(10):
        await sending

    assert streams._open.total() == 0
