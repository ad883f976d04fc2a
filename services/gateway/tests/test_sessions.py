"""A session lives as long as it is used, ends at once when it is revoked, and never tells more."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common import ids, sessions
from common.cache_testing import until
from common.caller import acting_as, service_caller
from common.database import Database
from common.errors import NotFound, Unauthenticated
from common.sealing import Seal
from common.sessions import Session, Sessions
from common.testing import as_user, rows_of
from gateway import tables
from gateway.tenants import NewTenant, create_tenant
from ops.valkey import EmbeddedValkey

KEY = bytes(32)


@dataclass
class Person:
    tenant: UUID
    id: UUID


@pytest.fixture
async def person(database: Database, tenant: UUID) -> Person:
    """A user of a tenant of this test alone, who calls."""
    user = {"id": ids.new(), "email": "a@b.example", "password_hash": "x"}
    with acting_as(service_caller("gateway", tenant)):
        async with database.tenant_transaction() as tx:
            new = NewTenant(f"t-{tenant.hex[-12:]}", "Test", "EUR", "standard")
            await create_tenant(tx, new)
            await tx.execute(tables.users.insert().values(user))
    return Person(tenant, user["id"])


@asynccontextmanager
async def process(database, url, seal=None, **lifetimes) -> AsyncIterator[Sessions]:
    """The sessions as one process has them."""
    retry = Retry(NoBackoff(), 0)
    async with Redis.from_url(url, socket_timeout=0.5, retry=retry) as redis:
        store = Sessions(database, redis, seal or Seal({"k1": KEY}), "gateway", **lifetimes)
        running = asyncio.create_task(store.run())
        await store.link.standing()
        yield store
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def steady(monkeypatch) -> None:
    """Copies are believed from the start."""
    monkeypatch.setattr(sessions, "SKEW_SECONDS", -5.0)


@pytest.fixture
async def store(database, servers, steady) -> AsyncIterator[Sessions]:
    async with process(database, servers.valkey.url) as store:
        yield store


@pytest.fixture
async def other(database, servers, steady) -> AsyncIterator[Sessions]:
    async with process(database, servers.valkey.url) as store:
        yield store


@pytest.fixture
async def breakable(tmp_path) -> AsyncIterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        yield valkey


async def begin(store: Sessions, person: Person, about: str = "") -> tuple[str, Session]:
    with as_user(person.tenant):
        return await store.create(person.id, ["sales.*"], about)


async def revoke(store: Sessions, session: Session) -> None:
    with as_user(session.tenant_id):
        await store.revoke(session.id)


class Counting:
    """A database that counts how often it is used."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.used = 0

    def tenant_transaction(self):
        self.used += 1
        return self._database.tenant_transaction()


async def test_a_token_stands_for_its_user_in_every_process(store, other, person):
    token, session = await begin(store, person, "Firefox")

    found = await other.check(token)

    assert found == session
    assert (found.user_id, found.permissions, found.about) == (person.id, {"sales.*"}, "Firefox")
    assert found.tenant_id == person.tenant


async def test_a_check_is_one_command_to_redis_and_none_to_postgres(store, person):
    token, _ = await begin(store, person)
    store._database = counted = Counting(store._database)
    before = await store._redis.info("commandstats")

    await asyncio.gather(*(store.check(token) for _ in range(20)))

    after = await store._redis.info("commandstats")
    assert counted.used == 0
    getex = "cmdstat_getex"
    assert after[getex]["calls"] - before.get(getex, {"calls": 0})["calls"] == 20


async def test_nothing_that_is_stored_shows_the_token_or_what_it_stands_for(
    store, person, gateway_database
):
    token, session = await begin(store, person, "Firefox")

    rows = rows_of(gateway_database.operator, "SELECT sealed, s::text FROM sessions s")
    copies = [
        await store._redis.get(key) async for key in store._redis.scan_iter("kv_erp_session:*")
    ]

    for secret in (token, session.csrf_secret, "Firefox", "sales."):
        assert not any(secret.encode() in sealed or secret in text for sealed, text in rows)
        assert not any(secret.encode() in copy for copy in copies)


@pytest.mark.parametrize(
    "token", ["", "x", "A" * 63, "A" * 64, "A" * 65, "ä" * 64, "A" * 63 + "\n"]
)
async def test_what_is_no_token_is_nobodys(store, token):
    with pytest.raises(Unauthenticated):
        await store.check(token)


async def test_a_session_survives_a_flush_of_redis(store, other, person):
    token, session = await begin(store, person)

    await store._redis.flushdb()

    assert await other.check(token) == session
    assert (
        len([key async for key in store._redis.scan_iter(f"kv_erp_session:{person.tenant}:*")]) == 1
    )


async def test_a_revoked_session_is_dead_in_every_process(store, other, person):
    token, session = await begin(store, person)
    await other.check(token)

    await revoke(store, session)

    for process_ in (store, other):
        with pytest.raises(Unauthenticated):
            await process_.check(token)
    with pytest.raises(NotFound):
        await revoke(store, session)


async def test_a_copy_that_was_read_before_the_revocation_is_not_written_after_it(store, person):
    token, session = await begin(store, person)
    named = sessions._named(token)
    read = sessions._Copy(session, time.time())

    await revoke(store, session)

    assert not await store._refill(named, read)
    with pytest.raises(Unauthenticated):
        await store.check(token)


async def test_all_sessions_of_a_user_end_together_and_no_other_s(store, other, person):
    tokens = [(await begin(store, person))[0] for _ in range(3)]

    with as_user(person.tenant):
        ended = await store.revoke_all(person.id)
        alive = await store.list(person.id)

    assert (ended, alive) == (3, [])
    for token in tokens:
        with pytest.raises(Unauthenticated):
            await other.check(token)


async def test_a_user_sees_their_sessions_and_another_tenant_none(store, person):
    made = [(await begin(store, person, about))[1] for about in ("Firefox", "Telephone")]

    with as_user(person.tenant):
        seen = await store.list(person.id)
    with as_user(ids.new()):
        strange = await store.list(person.id)
        with pytest.raises(NotFound):
            await store.revoke(made[0].id)

    assert seen == made
    assert strange == []


async def test_a_session_ends_when_it_is_not_used_and_slides_when_it_is(
    database, servers, person, monkeypatch
):
    monkeypatch.setattr(sessions, "RECHECK_SECONDS", 0.2)
    async with process(database, servers.valkey.url, idle_seconds=1.0) as store:
        token, _ = await begin(store, person)
        used_until = time.monotonic() + 2
        while time.monotonic() < used_until:
            await store.check(token)
            await asyncio.sleep(0.02)
        await store._redis.flushdb()
        await store.check(token)
        key = sessions._named(token).key

        async with asyncio.timeout(10):
            while await store._redis.exists(key):
                await asyncio.sleep(0.01)
        left_alone = time.monotonic()
        await until(lambda: time.monotonic() > left_alone + 0.3)

        with pytest.raises(Unauthenticated):
            await store.check(token)


async def test_a_session_ends_in_the_end_however_much_it_is_used(database, servers, person):
    async with process(database, servers.valkey.url, longest_seconds=0.3) as store:
        token, session = await begin(store, person)
        await store.check(token)

        await until(lambda: time.time() > session.ends_at.timestamp())

        with pytest.raises(Unauthenticated):
            await store.check(token)


async def test_without_redis_the_row_answers(database, breakable, person):
    async with process(database, breakable.url) as store:
        breakable.stop()

        token, session = await begin(store, person)

        assert await store.check(token) == session
        await revoke(store, session)
        with pytest.raises(Unauthenticated):
            await store.check(token)


async def test_a_session_revoked_while_redis_was_killed_is_dead_when_it_is_back(
    database, breakable, person
):
    url = breakable.url
    async with process(database, url) as store, process(database, url) as other:
        token, session = await begin(store, person)
        os.kill(breakable.pid, signal.SIGKILL)
        breakable._process.wait()

        await revoke(store, session)
        breakable.start()
        await other.link.standing()

        with pytest.raises(Unauthenticated):
            await other.check(token)
        await until(lambda: not store._undead)


async def test_a_revocation_that_died_with_its_process_while_redis_was_away_holds(
    database, breakable, person
):
    url = breakable.url
    async with process(database, url) as other:
        async with process(database, url) as store:
            token, session = await begin(store, person)
            os.kill(breakable.pid, signal.SIGKILL)
            breakable._process.wait()
            await revoke(store, session)

        breakable.start()
        await other.link.standing()

        with pytest.raises(Unauthenticated):
            await other.check(token)


async def test_a_session_revoked_while_redis_hung_is_dead_when_it_goes_on(
    database, breakable, person
):
    url = breakable.url
    async with process(database, url) as store, process(database, url) as other:
        token, session = await begin(store, person)
        os.kill(breakable.pid, signal.SIGSTOP)
        await revoke(store, session)
        for process_ in (store, other):
            with pytest.raises(Unauthenticated):
                await process_.check(token)

        await until(lambda: not other.link.stands)
        os.kill(breakable.pid, signal.SIGCONT)
        await other.link.standing()

        with pytest.raises(Unauthenticated):
            await other.check(token)


async def test_a_redis_that_hangs_is_left_alone(database, breakable, person):
    async def ask(*_):
        raise AssertionError("Redis was asked")

    async with process(database, breakable.url) as store:
        token, session = await begin(store, person)
        os.kill(breakable.pid, signal.SIGSTOP)
        await until(lambda: not store.link.stands)
        store._refill_script = ask

        found = await store.check(token)

        os.kill(breakable.pid, signal.SIGCONT)
    assert found.id == session.id


async def test_a_copy_is_compared_with_its_row_again_and_again(store, person, monkeypatch):
    token, _ = await begin(store, person)
    monkeypatch.setattr(sessions, "RECHECK_SECONDS", 0.0)
    store._database = counted = Counting(store._database)

    await store.check(token)

    assert counted.used == 1


async def test_another_s_copy_under_one_s_key_is_not_believed(store, person):
    mine, session = await begin(store, person)
    theirs, _ = await begin(store, person)
    copy = await store._redis.get(sessions._named(theirs).key)

    await store._redis.set(sessions._named(mine).key, copy)

    assert await store.check(mine) == session


async def test_a_new_key_seals_and_the_old_one_still_opens(database, servers, person, steady):
    old, new = Seal({"k1": KEY}), Seal({"k2": b"2" * 32, "k1": KEY})
    url = servers.valkey.url
    async with process(database, url, old) as before, process(database, url, new) as after:
        token, session = await begin(before, person)
        newer, _ = await begin(after, person)

        assert await after.check(token) == session
        with pytest.raises(Unauthenticated):
            await before.check(newer)


async def test_a_full_redis_ends_no_session(database, breakable, person):
    async with process(database, breakable.url) as store:
        await store._redis.config_set("maxmemory", 1)

        token, session = await begin(store, person)

        assert await store.check(token) == session
