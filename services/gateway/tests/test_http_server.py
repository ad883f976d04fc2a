import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest

from erp.sales.v1 import sales_pb2
from gateway import http_request, http_server

ID = "01890000-0000-7000-8000-000000000001"
GET = f"GET /api/v1/orders/{ID} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer *\r\n".encode()
POST = b"POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer *\r\n"


@pytest.fixture
def hurry(monkeypatch):
    """The same limits, in less time."""
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(http_server, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(http_request, "BODY_SECONDS", 0.2)


@asynccontextmanager
async def connection(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    yield reader, writer
    writer.close()


async def status_of(reader) -> int:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert b"x-request-id: " in head
    assert b"x-ratelimit-limit: " in head
    assert b"x-frame-options: DENY" in head
    assert b"server:" not in head
    return int(head.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000, 431),
        (b"GET /" + b"y" * 100_000, 431),
        (b"GET /" + b"y" * 5, 408),
        (POST + b"content-length: 5\r\n\r\n{", 408),
        (POST + b"content-length: 5000000\r\n\r\n{", 413),
        (POST + b"content-length: -1\r\n\r\n{", 400),
        (POST + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400),
        (POST + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}", 400),
        (POST + b"content-length: +2\r\n\r\n{}", 400),
        (POST + b"content-length: 2, 2\r\n\r\n{}", 400),
        (POST + b"content-length: 0x2\r\n\r\n{}", 400),
        (POST + b"content-length: 99999999999999999999999\r\n\r\n{}", 400),
        (POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (GET + b"x: y\r\n folded: yes\r\n\r\n", 400),
        (GET + b"x: a\x00b\r\n\r\n", 400),
        (GET + b"x: a\rb\r\n\r\n", 400),
        (GET + b"host: y\r\n\r\n", 400),
        (GET + b"authorization: Bearer inventory.*\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nhost: x\n\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nhost: x\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (GET + b"x: y\r\n" * 200 + b"\r\n", 431),
        (GET + b"x: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (GET.replace(b"host: x", b"host: x y") + b"\r\n", 400),
        (GET.replace(b"1.1", b"2.0") + b"\r\n", 505),
        (b"GET /api/v1/orders\r\n\r\n", 505),
        (POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (POST.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
        (POST + b"transfer-encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n", 400),
    ],
)
async def test_a_connection_that_asks_too_much_is_told_so_and_closed(server, hurry, sent, status):
    async with connection(server) as (reader, writer):
        writer.write(sent)

        assert await status_of(reader) == status
        await asyncio.wait_for(reader.read(), 5)
        assert reader.at_eof()


@pytest.mark.parametrize(
    "body",
    [
        b"chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"chunked\r\n\r\nfffffffffffffffff\r\n{}",
        b"xchunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_nothing_is_read_behind_a_body_without_a_certain_end(server, sales, body):
    async with connection(server) as (reader, writer):
        writer.write(POST + b"transfer-encoding: " + body + GET + b"\r\n")

        answers = await asyncio.wait_for(reader.read(), 15)

    assert answers.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 2" not in answers
    assert sales.asked == []


async def test_a_trailer_is_no_header(server, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)
    trailer = b"transfer-encoding: chunked\r\n\r\n0\r\nx-request-id: trailing\r\n\r\n"
    async with connection(server) as (reader, writer):
        writer.write(GET + trailer)

        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)

    assert b"HTTP/1.1 200" in head
    assert b"trailing" not in head


@pytest.mark.parametrize("cut", [0, 90])
async def test_an_offered_upgrade_changes_nothing_for_its_body_nor_for_the_next(server, sales, cut):
    sales.answers["CreateOrder"] = lambda request: sales_pb2.Order(id=ID, reference="taken")
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)
    line = {"product_id": ID, "quantity": "1"}
    order = {"customer_id": ID, "warehouse_id": ID, "lines": [line]}
    body = json.dumps(order).encode()
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
    head = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    sent = POST + offer + head + body
    async with connection(server) as (reader, writer):
        writer.write(sent[:cut])
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(sent[cut:])
        assert await status_of(reader) == 201
        assert b"taken" in await reader.readuntil(b"taken")
        await asyncio.wait_for(reader.readuntil(b"}"), 5)

        writer.write(GET + offer + b"\r\n")
        assert await status_of(reader) == 200

    assert [(name, request.customer_id) for name, request, _ in sales.asked[:1]] == [
        ("CreateOrder", ID)
    ]


async def test_an_upgrade_behind_another_request_is_refused_unread(server, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)
    smuggled = POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}"
    async with connection(server) as (reader, writer):
        writer.write(GET + b"\r\n" + smuggled + GET + b"\r\n")

        await asyncio.wait_for(reader.read(), 5)

    assert [name for name, *_ in sales.asked if name != "GetOrder"] == []


def answer_to_who_goes_on_sending(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        # More than is read at once: a server that hangs up on it resets the connection.
        client.sendall(sent + b"y" * 4_000_000)
        return b"".join(iter(lambda: client.recv(65_536), b""))


@pytest.mark.parametrize("sent", [GET + b"x : y\r\nz: ", GET + b"x: a\x00b\r\nz: ", GET + b"z: "])
async def test_who_goes_on_sending_what_is_refused_is_told_why(server, sent):
    answer = await asyncio.to_thread(answer_to_who_goes_on_sending, server.port, sent)

    assert answer.startswith(b"HTTP/1.1 4")


async def test_what_breaks_behind_a_request_does_not_answer_it(server, sales):
    asked, release = asyncio.Event(), asyncio.Event()

    async def slowly(request):
        asked.set()
        await release.wait()
        return sales_pb2.Order(id=request.id)

    sales.answers["GetOrder"] = slowly
    async with connection(server) as (reader, writer):
        writer.write(GET + b"\r\n" + POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n")
        await asked.wait()
        release.set()

        answers = await asyncio.wait_for(reader.read(), 5)

    assert b"HTTP/1.1 400" not in answers


async def test_a_connection_that_says_nothing_is_closed_without_a_word(server, hurry):
    async with connection(server) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_the_answer_to_a_refused_body_reaches_a_client_that_goes_on_sending(server):
    async with connection(server) as (reader, writer):
        writer.write(POST + b"content-length: 5000000\r\n\r\n")
        writer.write(b" " * 5_000_000)

        assert await status_of(reader) == 413


async def test_requests_sent_in_one_go_are_answered_in_order(server, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)
    async with connection(server) as (reader, writer):
        writer.write(GET + b"x-request-id: one\r\n\r\n" + GET + b"x-request-id: two\r\n\r\n")

        heads = []
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            heads.append(head)

        assert b"x-request-id: one" in heads[0]
        assert b"x-request-id: two" in heads[1]


async def test_a_client_that_hangs_up_leaves_nothing_behind_for_the_next(server, sales):
    asked, release = asyncio.Event(), asyncio.Event()

    async def slowly(request):
        asked.set()
        await release.wait()
        return sales_pb2.Order(id=request.id, reference="the first")

    sales.answers["GetOrder"] = slowly
    async with connection(server) as (_, writer):
        writer.write(GET + b"\r\n")
        await asked.wait()
        writer.transport.abort()
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id, reference="second")
    release.set()

    async with connection(server) as (reader, writer):
        writer.write(GET + b"connection: close\r\n\r\n")
        assert b'"second"' in await reader.read()


async def test_a_server_that_stops_finishes_what_it_has_begun(server, sales):
    asked, release = asyncio.Event(), asyncio.Event()

    async def slowly(request):
        asked.set()
        await release.wait()
        return sales_pb2.Order(id=request.id)

    sales.answers["GetOrder"] = slowly
    async with connection(server) as (reader, writer):
        writer.write(GET + b"\r\n")
        await asked.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        release.set()

        assert await status_of(reader) == 200
        await stopping


async def test_a_client_that_does_not_read_its_answers_is_hung_up_on(server, sales, monkeypatch):
    monkeypatch.setattr(http_server, "READING_SECONDS", 0.2)
    # More than the buffers of both ends hold.
    sales.answers["GetOrder"] = lambda _: sales_pb2.Order(number="x" * 1_000_000)
    async with connection(server) as (_, writer):
        writer.write((GET + b"\r\n") * 40)

        async with asyncio.timeout(20):
            while not server.server_state.connections:
                await asyncio.sleep(0.01)
            while server.server_state.connections:
                await asyncio.sleep(0.01)

    assert 0 < len(sales.asked) < 40


async def test_a_client_that_reads_slowly_gets_all_of_its_answers(server, sales, monkeypatch):
    monkeypatch.setattr(http_server, "READING_SECONDS", 1.0)
    sales.answers["GetOrder"] = lambda _: sales_pb2.Order(number="x" * 1_000_000)
    async with connection(server) as (reader, writer):
        writer.write((GET + b"\r\n") * 20)

        size = 0
        while size < 20_000_000:
            part = await asyncio.wait_for(reader.read(65_536), 10)
            assert part
            size += len(part)
            await asyncio.sleep(0.005)
