"""No secret is stored in clear, and a request that comes again is shown its secrets again."""

import psycopg
import pytest
from redis.asyncio import Redis

from common import logging
from common.caller import Caller, acting_as
from common.idempotency import (
    AnsweredBefore,
    IdempotencyKeyReused,
    IdempotentAnswerUnreadable,
    KeyedRequest,
)
from common.kept_answers import Kept
from common.repetitions import Repetitions
from common.rpc_policy import PolicyError, read_policies
from common.sealing import Seal
from common.secret_fields import has_secrets, redacted
from erp.gateway.v1.gateway_pb2 import ApiToken
from erp.gateway.v1.tenant_pb2 import FirstUser, Tenant
from erp.gateway.v1.user_pb2 import Role
from erp.gateway.v1.user_service_pb2 import CreateUserRequest
from gateway.contract import SERVICES

PASSWORD = "correct horse battery"


def everything_in(url: str) -> str:
    """All rows of all tables, as text."""
    tables = """
        SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
    """
    with psycopg.connect(url) as connection:
        names = connection.execute(tables).fetchall()
        rows = [connection.execute(f"SELECT t::text FROM {one} t").fetchall() for (one,) in names]
    return "\n".join(text for table in rows for (text,) in table)


async def strings_in(url: str) -> str:
    """All strings in all databases of a Redis, with their keys."""
    found = []
    for number in range(4):
        async with Redis.from_url(f"{url.rpartition('/')[0]}/{number}") as redis:
            async for key in redis.scan_iter(count=1000):
                kind = await redis.type(key)
                found += [key, await redis.get(key) if kind == b"string" else b""]
    return b"\n".join(one or b"" for one in found).decode("latin-1")


async def test_no_secret_is_stored_in_clear(browser, company, gateway_database, servers):
    await browser.log_in(company)
    token = {"name": "t", "permissions": ["sales.*"]}
    user = {"email": "u@x.example", "role_ids": [], "password": PASSWORD}
    invited = {"email": "i@x.example", "role_ids": []}
    change = {"current_password": company.password, "new_password": PASSWORD + "!"}
    answers = [
        await browser.send(*request, idempotency_key=f"key-{number}")
        for number, request in enumerate(
            [
                ("POST", "/api-tokens", token),
                ("POST", "/users", user),
                ("POST", "/users", invited),
                ("POST", "/auth/password:change", change),
            ]
        )
    ]
    made, _, asked, changed = (answer.json() for answer in answers)
    session = browser.cookies["__Host-session"]

    stored = everything_in(gateway_database.operator) + await strings_in(servers.valkey.url)

    assert "u@x.example" in stored
    shown = (made["token"], asked["setup_token"], changed["csrf_token"])
    for secret in (*shown, session, PASSWORD, company.password):
        assert len(secret) > 10
        assert secret not in stored
        assert secret.encode().hex() not in stored


async def test_a_repeated_request_is_shown_its_secret_again(browser, company):
    await browser.log_in(company)
    token = {"name": "t", "permissions": ["sales.*"]}

    first = await browser.send("POST", "/api-tokens", token, idempotency_key="again")
    again = await browser.send("POST", "/api-tokens", token, idempotency_key="again")
    other = await browser.send(
        "POST", "/api-tokens", token | {"name": "u"}, idempotency_key="again"
    )

    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert other.status_code == 422


def keyed(seal: Seal, password: str = PASSWORD) -> KeyedRequest:
    request = CreateUserRequest(email="u@x.example", password=password)
    with acting_as(Caller(None, "user:1")):
        return KeyedRequest.of("/x", "key", request, ApiToken, seal)


def test_what_is_kept_opens_by_old_keys_and_tells_nothing_without_them():
    old, new = Seal({"a": bytes(32)}), Seal({"b": b"b" * 32, "a": bytes(32)})
    request, answer = keyed(old), ApiToken(token="kv_secret")
    kept = Kept(False, request.hash_to_keep(), request.answer_in(answer))

    assert isinstance(before := keyed(new).verdict(kept), AnsweredBefore)
    assert before.answer == answer
    assert isinstance(keyed(new, "another password").verdict(kept), IdempotencyKeyReused)
    lost = keyed(Seal({"b": b"b" * 32})).verdict(kept)
    assert isinstance(lost, IdempotentAnswerUnreadable)
    # A plain hash of the request could be tried against a list of passwords.
    assert request.request_hash not in kept.request_hash
    assert b"kv_secret" not in kept.response


def test_what_is_kept_for_one_request_does_not_open_for_another():
    seal = Seal({"a": bytes(32)})
    request = keyed(seal)
    kept = Kept(False, request.hash_to_keep(), request.answer_in(ApiToken(token="kv_secret")))
    other = keyed(seal)
    other.name = other.name._replace(key="other")

    assert isinstance(other.verdict(kept), IdempotentAnswerUnreadable)


def test_a_process_with_nothing_to_seal_by_does_not_serve_secrets(database):
    policies = read_policies(*SERVICES["gateway"]).values()

    with pytest.raises(PolicyError, match="has secrets"):
        Repetitions(database).demand_seal(policies)
    Repetitions(database, Seal({"a": bytes(32)})).demand_seal(policies)


def test_a_log_line_shows_no_secret_of_a_message():
    tenant = Tenant(slug="acme", admin=FirstUser(email="a@b.example", setup_token="kvs_secret"))

    line = logging._as_json(None, "info", {"event": "made", "tenant": tenant}).decode()

    assert "kvs_secret" not in line
    assert "acme" in line
    assert "[redacted]" in redacted(tenant)
    assert tenant.admin.setup_token == "kvs_secret"
    assert has_secrets(Tenant.DESCRIPTOR)
    assert not has_secrets(Role.DESCRIPTOR)
