"""What browsers are told, and what is too ambiguous to be let in."""

import asyncio

import pytest

from erp.sales.v1 import sales_pb2

ID = "01890000-0000-7000-8000-000000000001"
ORDER = f"/api/v1/orders/{ID}"
OURS, OTHERS = "https://app.example.com", "https://evil.example.com"
PREFLIGHT = {"access-control-request-method": "POST"}


@pytest.mark.parametrize("path", [ORDER, "/api/v1/nothing", "/api/v1/orders?nonsense=1"])
async def test_every_answer_tells_browsers_to_take_care(client, sales, path):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)

    headers = (await client.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] in ("no-store", "private, no-cache")
    assert headers["x-frame-options"] == "DENY"
    assert headers["ratelimit"]
    assert "strict-transport-security" not in headers


async def test_tls_at_the_proxy_is_demanded_from_then_on(client):
    headers = (await client.get(ORDER, headers={"x-forwarded-proto": "https"})).headers

    assert "max-age=31536000" in headers["strict-transport-security"]


async def test_a_record_is_cached_for_its_reader_only(client, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)

    headers = (await client.get(ORDER)).headers

    assert headers.get_list("vary") == ["Authorization, Cookie", "Origin"]


async def test_pages_that_are_trusted_may_read_answers(client, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)

    ours = (await client.get(ORDER, headers={"origin": OURS})).headers
    others = (await client.get(ORDER, headers={"origin": OTHERS})).headers

    assert ours["access-control-allow-origin"] == OURS
    assert ours["access-control-allow-credentials"] == "true"
    assert "ETag" in ours["access-control-expose-headers"]
    assert not [name for name in others if name.startswith("access-control")]
    assert "Origin" in others.get_list("vary")


async def test_a_preflight_needs_no_credential_and_reaches_nobody(client, sales):
    del client.headers["authorization"]

    answer = await client.options(ORDER, headers={"origin": OURS, **PREFLIGHT})
    refused = await client.options(ORDER, headers={"origin": OTHERS, **PREFLIGHT})

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == OURS
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "X-CSRF-Token" in answer.headers["access-control-allow-headers"]
    assert answer.headers["x-ratelimit-limit"]
    assert not [name for name in refused.headers if name.startswith("access-control")]
    assert sales.asked == []


@pytest.mark.parametrize("origin", ["null", OURS + ".evil.example", "https://APP.example.com", "*"])
async def test_an_origin_is_trusted_as_it_is_written(client, origin):
    answer = await client.get(ORDER, headers={"origin": origin})

    assert "access-control-allow-origin" not in answer.headers


async def test_an_upgrade_is_not_taken(client, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)
    upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AA"}

    answer = await client.get(ORDER, headers=upgrade)

    assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/orders/",
        "/API/v1/orders",
        "/api/v1/Orders",
        "/api/v1//orders",
        "/api/v1/orders/.",
        "/api/v1/../v1/orders",
        "/api/v1/%2e%2e/orders",
        "/api/v1/orders%2f" + ID,
        "/api/v1/orders/%00",
        "/api/v1;x/orders",
    ],
)
async def test_no_other_spelling_of_a_path_leads_there(server, sales, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer *\r\n\r\n".encode())

    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()

    assert head.startswith(b"HTTP/1.1 404 ")
    assert sales.asked == []


async def test_an_absolute_target_is_its_path(server, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    target = f"http://elsewhere{ORDER}"
    writer.write(f"GET {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer *\r\n\r\n".encode())

    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()

    assert head.startswith(b"HTTP/1.1 200 ")


async def test_a_consistency_token_is_refused_wherever_it_makes_no_sense(client, sales):
    product = f"/api/v1/products/{ID}"

    for method, path in (("GET", product), ("GET", ORDER), ("POST", f"{ORDER}:confirm")):
        answer = await client.request(method, path, headers={"consistency-token": "?"})
        assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_HEADER")
    assert sales.asked == []


async def test_a_keyed_repetition_gets_its_answer_though_the_record_has_moved_on(client, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id, version=2)
    sales.answers["ShipOrder"] = lambda request: sales_pb2.Order(id=request.id, version=2)
    old = '"1-0123456789abcdef01234567", "1-fedcba987654321001234567"'
    keyed = {"if-match": old, "idempotency-key": "key"}

    repeated = await client.post(f"{ORDER}:ship", headers=keyed)
    without_key = await client.post(f"{ORDER}:ship", headers={"if-match": old})

    assert repeated.status_code == 200
    [(_, _, metadata)] = [asked for asked in sales.asked if asked[0] == "ShipOrder"]
    assert metadata["repeats-only"] == "true"
    assert without_key.status_code == 412
