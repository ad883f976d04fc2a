"""Requests that are made to be misunderstood: bodies, headers, cursors, texts.

Forged pages, planted sessions, budgets by another spelling of a path or another address, and paths
that are written differently are in services/gateway/tests: test_forgery, test_login, test_limits,
test_doorstep.
"""

import asyncio
import base64
import gzip
import json
import re
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from shop import Shop, client_of, eur

from common.listing import declared
from gateway.contract import all_services
from gateway.routes import Route, Routes
from ops.background import BackgroundStack

ABSENT = "01890000-0000-7000-8000-000000000000"
JSON = {"Content-Type": "application/json"}
ROUTES = Routes(all_services()).all
LISTS = [
    route
    for route in ROUTES
    if "page_token" in route.method.input_type.fields_by_name
    and "{" not in route.template
    and "tenants" not in route.template
]
INJECTIONS = [
    "'; DROP TABLE customers; --", "' OR '1'='1", '" OR ""="', "1); SELECT pg_sleep(9); --",
    "$$; SELECT 1; $$", "%' AND 1=1 --", "\\'; --", "{{7*7}}", "${jndi:ldap://x}", "%s%(x)s:x",
    "<script>alert(1)</script>", "line\r\nSet-Cookie: a=b", "\u202eevil", "../../etc/passwd",
]  # fmt: skip
BOMBS: dict[str, bytes] = {
    "depth": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "depth of lists": b"[" * 1_000_000,
    "names": json.dumps({f"n{number}": 1 for number in range(200_000)}).encode(),
    "a long number": b'{"name": ' + b"9" * 1_000_000 + b"}",
    "a great exponent": b'{"name": 1e999999999}',
    "a name twice": b'{"name": "a", "name": "b"}',
    "a name twice, escaped": b'{"name": "a", "n\\u0061me": "b"}',
    "size": b'{"name": "' + b"a" * (4 * 1024 * 1024) + b'"}',
    "half a surrogate": b'{"name": "\\ud800"}',
    "another encoding": '{"name": "a"}'.encode("utf-16"),
    "a comment": b'{"name": "a" /* */}',
}
SERVER_SET = {
    "id": ABSENT, "number": "C-999999", "version": 7, "create_time": "2020-01-01T00:00:00Z",
    "update_time": "2020-01-01T00:00:00Z", "tenant_id": ABSENT, "state": "posted",
    "permissions": ["*"], "plan": "unmetered", "invoice_id": ABSENT, "amount_due": eur("0.00"),
    "is_admin": True, "built_in": True, "secret": "x", "token": "x", "__proto__": {"a": 1},
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_json_bomb_is_refused(acme: Shop, bomb: str) -> None:
    answer = await acme.client.post("/customers", content=BOMBS[bomb], headers=JSON)

    assert answer.status_code in (400, 413), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 50_000


async def test_a_packed_body_is_not_unpacked(acme: Shop) -> None:
    packed = gzip.compress(b'{"name": "' + b"a" * 50_000_000 + b'"}')

    answer = await acme.client.post(
        "/customers", content=packed, headers={**JSON, "Content-Encoding": "gzip"}
    )

    assert answer.status_code in (400, 415), answer.text


@pytest.mark.parametrize("text", INJECTIONS)
async def test_a_text_is_kept_as_it_was_written(acme: Shop, text: str) -> None:
    mark = secrets.token_hex(4)
    customer = {"name": f"{text}{mark}", "currency_code": "EUR"}
    product = {"sku": f"S-{mark}", "name": text, "description": text, "list_price": eur("1.00")}

    made = await acme.try_post("/customers", customer)
    goods = await acme.try_post("/products", product)

    for answer, sent in ((made, customer), (goods, product)):
        if answer.status_code == 400:
            # Some are no names: what breaks a line is refused by its field.
            assert answer.json()["errors"][0]["pointer"] in ("/name", "/description")
            continue
        assert answer.status_code == 201, answer.text
        assert {name: answer.json()[name] for name in sent} == sent
    if made.status_code == 201:
        quoted = re.sub(r'(["\\])', r"\\\1", customer["name"])
        found = await acme.client.get("/customers", params={"filter": f'name = "{quoted}"'})
        assert [one["id"] for one in found.json()["customers"]] == [made.json()["id"]]


@pytest.mark.parametrize("route", LISTS, ids=lambda route: str(route.template))
async def test_a_list_takes_sql_for_a_mistake_or_for_a_value(acme: Shop, route: Route) -> None:
    knows = route.method.input_type.fields_by_name
    queries: list[dict[str, str]] = [{"page_token": text} for text in INJECTIONS]
    if "filter" in knows:
        fields = list(declared(route.method.input_type).filter)[:2]
        queries += [{"filter": text} for text in INJECTIONS]
        queries += [{"filter": f"{name} = {json.dumps(INJECTIONS[0])}"} for name in fields]
    if "order_by" in knows:
        queries += [{"order_by": text} for text in (*INJECTIONS, "id; DROP", "(select 1)", "1")]
    path = route.template.removeprefix("/api/v1")

    answers = [await acme.client.get(path, params=query) for query in queries]

    assert {answer.status_code for answer in answers} <= {200, 400}


@pytest.mark.parametrize(
    "bend",
    [
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token.swapcase(),
        lambda token: token[4:] + token[:4],
        lambda token: "A" * len(token),
        lambda _: base64.urlsafe_b64encode(b'["x"]').decode(),
        lambda token: token + "=" * 3,
        lambda token: f" {token}",
    ],
)
async def test_a_page_token_that_was_bent_is_refused(
    acme: Shop, bend: Callable[[str], str]
) -> None:
    for _ in range(2):
        await acme.customer()
    token = (await acme.get("/customers", page_size=1))["next_page_token"]

    answer = await acme.client.get("/customers", params={"page_token": bend(token)})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/page_token"


@pytest.mark.parametrize("after", ["x", "sales=9", "c2FsZXM9LTE", "A" * 500, "' OR 1=1", "NOW"])
async def test_a_cursor_of_events_that_was_made_up_is_refused(acme: Shop, after: str) -> None:
    answer = await acme.client.get("/events", params={"after": after})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/after"


WRITES = [
    route
    for route in ROUTES
    if route.verb in ("POST", "PATCH") and route.policy.permission[:9] != "platform."
]


@pytest.mark.parametrize("route", WRITES, ids=lambda route: f"{route.verb} {route.template}")
async def test_what_the_server_sets_cannot_be_sent(acme: Shop, route: Route) -> None:
    sent = {
        name: value
        for name, value in SERVER_SET.items()
        if name not in route.method.input_type.fields_by_name
    }
    path = route.template.removeprefix("/api/v1").replace("{id}", ABSENT)

    answer = await acme.client.request(route.verb, path, json=sent)

    assert answer.status_code == 400, answer.text
    assert set(sent) <= {error["pointer"][1:] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    "route",
    [route for route in WRITES if "id" in route.parameters],
    ids=lambda route: f"{route.verb} {route.template}",
)
async def test_a_body_is_about_no_other_record_than_the_path(acme: Shop, route: Route) -> None:
    path = route.template.removeprefix("/api/v1").replace("{id}", ABSENT)

    answer = await acme.client.request(route.verb, path, json={"id": ABSENT[:-1] + "1"})

    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/id"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Tenant-Id": ABSENT},
        {"X-User-Id": ABSENT, "X-Permissions": "*"},
        {"X-Forwarded-User": "admin", "X-Forwarded-Host": "evil.example"},
        {"X-Original-URL": "/api/v1/tenants", "X-Rewrite-URL": "/api/v1/tenants"},
        {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"},
        {"Forwarded": "for=127.0.0.1;host=evil.example"},
        {"validate-only": "true", "repeats-only": "true", "grpc-timeout": "1n"},
        {"x-request-id": "a b\tc", "traceparent": "00-zz"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_a_header_changes_nothing_about_who_asks_for_what(
    acme: Shop, headers: dict[str, str]
) -> None:
    customer = await acme.customer()
    plain = await acme.client.get(f"/customers/{customer}")

    answer = await acme.client.get(f"/customers/{customer}", headers=headers)

    assert (answer.status_code, answer.json()) == (200, plain.json())
    assert "evil.example" not in str(answer.headers)


@pytest.mark.parametrize(
    "lines",
    [
        b"Authorization: %(own)s\r\nAuthorization: Bearer kv_x\r\n",
        b"Authorization: Bearer kv_x\r\nauthorization: %(own)s\r\n",
        b"Authorization: %(own)s\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n",
        b"Authorization: %(own)s\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n",
        b"Authorization: %(own)s\r\n X-Folded: yes\r\n",
        b"Authorization : %(own)s\r\n",
        b"Authorization: %(own)s\r\nX-Null: a\x00b\r\n",
    ],
)
async def test_a_header_that_can_be_read_in_two_ways_is_refused(
    stack: BackgroundStack, lines: bytes
) -> None:
    async with client_of(stack, "acme") as client:
        own = client.headers["authorization"].encode()
    host = stack.state["gateway"].removeprefix("http://")

    status = await raw_status(host, lines % {b"own": own})

    assert status in (400, 401)


async def raw_status(host: str, lines: bytes) -> int:
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    writer.write(b"GET /api/v1/customers HTTP/1.1\r\nHost: " + host.encode() + b"\r\n" + lines)
    writer.write(b"Connection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return int(answer.split(b" ", 2)[1]) if answer else 400


async def test_a_key_of_another_user_replays_nothing(acme: Shop, stack: BackgroundStack) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    body = {"name": "Blue Door Ltd", "currency_code": "EUR"}
    permissions = ["sales.customers.write", "sales.customers.read"]
    token = (await acme.post("/api-tokens", {"name": "other", "permissions": permissions}))["token"]
    first = await acme.client.post("/customers", json=body, headers=key)

    bearer = {**key, "Authorization": f"Bearer {token}"}
    other = await acme.client.post("/customers", json=body, headers=bearer)
    again = await acme.client.post("/customers", json=body, headers=key)

    assert (first.status_code, other.status_code) == (201, 201)
    assert other.json()["id"] != first.json()["id"]
    assert "idempotent-replayed" not in other.headers
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")


async def test_nothing_tells_which_users_tenants_and_ids_there_are(
    stack: BackgroundStack, acme: Shop
) -> None:
    email = stack.state["tenants"]["acme"]["admin_email"]
    guesses: list[Any] = [
        {"tenant": "acme", "email": email, "password": "wrong wrong wrong"},
        {"tenant": "acme", "email": "nobody@acme.example", "password": "wrong wrong wrong"},
        {"tenant": "nowhere", "email": email, "password": "wrong wrong wrong"},
        {"tenant": "globex", "email": email, "password": "wrong wrong wrong"},
    ]
    url = acme.client.base_url.join("/api/v1/auth/login")

    async with httpx.AsyncClient(verify=False, trust_env=False) as nobody:
        answers = [await nobody.post(url, json=guess) for guess in guesses]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert len({frozenset(answer.headers) for answer in answers}) == 1


async def test_who_lacks_the_permission_is_not_told_whether_there_is_such_a_record(
    acme: Shop,
) -> None:
    asked = {"name": "narrow", "permissions": ["sales.orders.read"]}
    bearer = {"Authorization": f"Bearer {(await acme.post('/api-tokens', asked))['token']}"}
    customer = await acme.customer()

    there = await acme.client.get(f"/customers/{customer}", headers=bearer)
    nowhere = await acme.client.get(f"/customers/{ABSENT}", headers=bearer)

    assert (there.status_code, nowhere.status_code) == (403, 403)
    assert there.text.replace(customer, "…") == nowhere.text.replace(ABSENT, "…")
