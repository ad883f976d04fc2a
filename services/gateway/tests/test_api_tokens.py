import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from common import ids
from common.cache_testing import running_cache, until_true
from common.caller import Caller, acting_as, service_caller
from common.database import Database
from common.errors import InvalidRequest, NotPermitted, Unauthenticated, Unavailable
from common.pagination import Page
from common.testing import as_user, rows_of
from erp.gateway.v1.gateway_service_pb2 import ListApiTokensRequest
from gateway import api_tokens, credentials
from gateway.api_tokens import create_token, find_holder, hash_of, list_tokens, revoke_token
from gateway.app import SYSTEM_REASONS
from gateway.credentials import ApiTokenCredentials
from gateway.errors import ApiTokenNotFound, TenantExists
from gateway.passwords import Passwords
from gateway.seed import TENANTS, seed_tenant
from gateway.tenants import NewTenant, create_tenant


@pytest.fixture
async def company(database, tenant):
    """A tenant of this test alone."""
    new = NewTenant(f"t-{tenant.hex[-12:]}", "Test", "EUR", "default")
    with acting_as(service_caller("gateway", tenant)):
        async with database.tenant_transaction() as tx:
            await create_tenant(tx, new)
    return tenant


async def make(database, who, permissions=(), expires_at=None):
    with acting_as(who):
        async with database.tenant_transaction() as tx:
            return await create_token(tx, "test", permissions, expires_at)


def knows(database) -> ApiTokenCredentials:
    return ApiTokenCredentials(lambda token_hash: find_holder(database, token_hash))


def header(token) -> bytes:
    return f"Bearer {token.token}".encode()


async def test_a_token_speaks_for_its_tenant_with_its_permissions(database, company):
    who = Caller(company, "service:test", frozenset({"sales.*"}))

    token = await make(database, who, ["sales.orders.read"])
    caller = (await knows(database).client_of(header(token))).caller

    assert caller.tenant_id == company
    assert caller.subject == f"token:{token.id}"
    assert caller.permissions == {"sales.orders.read"}
    assert token.token.startswith(token.prefix)


async def test_nothing_that_is_stored_shows_the_secret(database, company, gateway_database):
    token = await make(database, Caller(company, "service:test", frozenset({"*"})))

    rows = rows_of(gateway_database.operator, "SELECT t::text FROM api_tokens t")

    assert not any(token.token[12:] in str(row) for row in rows)


@pytest.mark.parametrize(
    ("held", "asked", "error"),
    [
        ({"sales.*"}, ["sales.orders.write"], None),
        ({"sales.*"}, ["sales.orders.*"], None),
        ({"*"}, ["*"], None),
        ({"sales.orders.read"}, ["sales.orders.write"], NotPermitted),
        ({"sales.orders.read"}, ["sales.orders.*"], NotPermitted),
        ({"sales.*"}, ["*"], NotPermitted),
        ({"*"}, ["sales.orders.wriet"], InvalidRequest),
        ({"*"}, ["sale*"], InvalidRequest),
        ({"*"}, ["nonsense.*"], InvalidRequest),
    ],
)
async def test_nobody_gives_what_they_do_not_have(database, company, held, asked, error):
    who = Caller(company, "service:test", frozenset(held))

    if error:
        with pytest.raises(error):
            await make(database, who, asked)
    else:
        assert list((await make(database, who, asked)).permissions) == asked


async def test_a_token_with_no_permissions_named_has_those_of_its_maker(database, company):
    who = Caller(company, "service:test", frozenset({"sales.*", "inventory.stock.read"}))

    token = await make(database, who)

    assert list(token.permissions) == ["inventory.stock.read", "sales.*"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer kv_short",
        b"Basic kv_" + b"x" * 43,
        b"Bearer kv_" + b"x" * 44,
        b"Bearer kv_" + b"x" * 43 + b" ",
        b"Bearer kv_" + b"x" * 43,
        b"Bearer " + b"\xff" * 46,
    ],
)
async def test_what_is_no_token_is_nobodys(database, authorization):
    with pytest.raises(Unauthenticated):
        await knows(database).client_of(authorization)


async def test_a_changed_plan_is_seen_when_the_cache_is_old(
    database, company, gateway_database, monkeypatch
):
    token = await make(database, Caller(company, "service:test", frozenset({"*"})))
    known = knows(database)
    before = await known.client_of(header(token))
    with psycopg.connect(gateway_database.operator) as operator:
        operator.execute("UPDATE tenants SET plan = 'unmetered' WHERE id = %s", (company,))

    monkeypatch.setattr(credentials, "CACHED_SECONDS", 0)

    assert (before.plan, (await known.client_of(header(token))).plan) == ("default", "unmetered")


async def test_an_expired_token_is_refused_even_from_the_cache(database, company, monkeypatch):
    soon = datetime.now(UTC) + timedelta(hours=1)
    token = await make(database, Caller(company, "service:test", frozenset({"*"})), (), soon)
    known = knows(database)
    await known.client_of(header(token))

    monkeypatch.setattr(credentials.time, "time", soon.timestamp)

    with pytest.raises(Unauthenticated):
        await known.client_of(header(token))


async def test_a_revoked_token_is_refused_at_once_where_it_was_revoked(database, company):
    token = await make(database, Caller(company, "service:test", frozenset({"*"})))
    known = knows(database)
    await known.client_of(header(token))

    with as_user(company):
        async with database.tenant_transaction() as tx:
            await revoke_token(tx, ids.parse(token.id, "id"))
    known.forget()

    with pytest.raises(Unauthenticated):
        await known.client_of(header(token))


async def test_elsewhere_a_revoked_token_is_refused_when_the_cache_is_old(
    database, company, monkeypatch
):
    token = await make(database, Caller(company, "service:test", frozenset({"*"})))
    known = knows(database)
    await known.client_of(header(token))
    with as_user(company):
        async with database.tenant_transaction() as tx:
            await revoke_token(tx, ids.parse(token.id, "id"))
    await known.client_of(header(token))

    monkeypatch.setattr(credentials, "CACHED_SECONDS", 0)

    with pytest.raises(Unauthenticated):
        await known.client_of(header(token))


async def test_another_tenants_token_is_not_found_and_not_listed(database, company):
    token = await make(database, Caller(company, "service:test", frozenset({"*"})))
    with as_user(ids.new()):
        async with database.tenant_transaction() as tx:
            with pytest.raises(ApiTokenNotFound):
                await revoke_token(tx, ids.parse(token.id, "id"))
            assert await list_tokens(tx, Page(50, None)) == ([], "")


async def test_tokens_are_listed_oldest_first_without_their_secrets(database, company):
    who = Caller(company, "service:test", frozenset({"*"}))
    made = [await make(database, who) for _ in range(3)]

    with acting_as(who):
        async with database.tenant_transaction() as tx:
            first, next_page = await list_tokens(
                tx, Page.from_wire(ListApiTokensRequest(page_size=2))
            )
            request = ListApiTokensRequest(page_size=2, page_token=next_page)
            rest, end = await list_tokens(tx, Page.from_wire(request))

    assert [token.id for token in (*first, *rest)] == [token.id for token in made]
    assert not any(token.token for token in (*first, *rest))
    assert end == ""


async def test_the_database_is_asked_once_for_all_who_come_at_the_same_time():
    asked = []

    async def find(token_hash):
        asked.append(token_hash)
        await asyncio.sleep(0)

    known = ApiTokenCredentials(find)
    guess = b"Bearer kv_" + b"g" * 43
    await asyncio.gather(*(known.client_of(guess) for _ in range(20)), return_exceptions=True)

    assert asked == [hash_of(guess[7:])]


async def test_known_tokens_outlast_a_database_that_is_away(database, company, monkeypatch):
    token = await make(database, Caller(company, "service:test", frozenset({"*"})))
    away = False

    async def find(token_hash):
        if away:
            raise Unavailable("The database")
        return await find_holder(database, token_hash)

    known = ApiTokenCredentials(find)
    before = await known.client_of(header(token))
    away = True
    monkeypatch.setattr(credentials, "CACHED_SECONDS", 0)

    assert await known.client_of(header(token)) == before
    with pytest.raises(Unavailable):
        await known.client_of(b"Bearer kv_" + b"x" * 43)


async def test_guesses_do_not_push_out_what_is_good(database, company, monkeypatch):
    monkeypatch.setattr(credentials, "_MOST_CACHED", 5)
    token = await make(database, Caller(company, "service:test", frozenset({"*"})))
    known = knows(database)
    await known.client_of(header(token))

    for number in range(20):
        with pytest.raises(Unauthenticated):
            await known.client_of(b"Bearer kv_%043d" % number)

    assert len(known._good) == 1
    assert len(known._bad) == 5


async def test_a_new_tenant_is_announced_to_all_services(database, company, gateway_database):
    query = "SELECT type, subject, sequence FROM events WHERE tenant_id = %s"

    assert rows_of(gateway_database.operator, query, company) == [
        ("erp.gateway.v1.TenantCreated", str(company), 1)
    ]


async def test_a_short_name_is_taken_once(database, tenant):
    with as_user(tenant):
        async with database.tenant_transaction() as tx:
            await create_tenant(tx, NewTenant("taken", "One", "EUR", "default"))
    with as_user(ids.new()), pytest.raises(TenantExists):
        async with database.tenant_transaction() as tx:
            await create_tenant(tx, NewTenant("taken", "Two", "EUR", "default"))


async def test_seeding_again_keeps_the_tenant_and_replaces_its_credentials(database):
    known = knows(database)
    first = await seed_tenant(database, TENANTS[0], Passwords())
    caller = (await known.client_of(f"Bearer {first['token']}".encode())).caller

    second = await seed_tenant(database, TENANTS[0], Passwords())
    known.forget()

    assert first["id"] == second["id"] == str(caller.tenant_id)
    assert first["admin_email"] == "admin@acme.example"
    assert first["admin_password"] != second["admin_password"]
    again = await known.client_of(f"Bearer {second['token']}".encode())
    assert again.caller.permissions == {"*"}
    with pytest.raises(Unauthenticated):
        await known.client_of(f"Bearer {first['token']}".encode())


def test_a_secret_has_the_shape_by_which_scanners_know_it():
    assert api_tokens.SHAPE.fullmatch(b"kv_" + b"aA0_-" * 8 + b"abc")


async def test_a_revoked_token_is_refused_by_every_gateway_at_once(
    servers, gateway_database, company
):
    prefix = f"test_{ids.new().hex}"
    async with (
        running_cache(servers.valkey.url, prefix) as here,
        running_cache(servers.valkey.url, prefix) as there,
    ):
        database = Database(
            gateway_database.app,
            gateway_database.system,
            system_reasons=SYSTEM_REASONS,
            flush=here.flush_of,
        )
        elsewhere = knows(database)
        there.on_flush(elsewhere.hear)
        token = await make(database, Caller(company, "service:test", frozenset({"*"})))
        await elsewhere.client_of(header(token))

        with as_user(company):
            async with database.tenant_transaction() as tx:
                await revoke_token(tx, UUID(token.id))
        revoked = time.monotonic()

        async def is_refused() -> bool:
            try:
                await elsewhere.client_of(header(token))
            except Unauthenticated:
                return True
            return False

        await until_true(is_refused)
        assert time.monotonic() - revoked < credentials.CACHED_SECONDS / 2
        await database.close()


async def test_what_was_read_before_a_revocation_is_not_kept_after_it(database, company):
    token = await make(database, Caller(company, "service:test", frozenset({"*"})))
    read, go_on = asyncio.Event(), asyncio.Event()

    async def find_slowly(token_hash):
        holder = await find_holder(database, token_hash)
        read.set()
        await go_on.wait()
        return holder

    known = ApiTokenCredentials(find_slowly)
    before = asyncio.create_task(known.client_of(header(token)))
    await read.wait()
    with as_user(company):
        async with database.tenant_transaction() as tx:
            await revoke_token(tx, UUID(token.id))
    known.hear([f"kv_erp_cache:{company}:tag:{api_tokens.REVOKED}"])
    go_on.set()

    await before
    with pytest.raises(Unauthenticated):
        await known.client_of(header(token))
