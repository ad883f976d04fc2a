"""Commands that are only rehearsed."""

import asyncio
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from common import idempotency, ids, numbers, outbox
from common.database import Database, Transaction
from common.errors import BrokenRule, DomainError
from common.group_commit import GroupCommit
from common.idempotency import KeyedRequest
from common.rehearsal import NotRehearsable, demand_real, rehearsing
from common.testing import ServiceDatabase, as_user, rows_of
from erp.events.v1 import events_pb2
from erp.sales.v1.events_pb2 import CustomerCreated

_INSERT = text("INSERT INTO notes (id, body) VALUES (:id, :body)")
_TABLES = ("notes", "events", "event_heads", "number_series", "idempotency_keys")


async def write_note(tx: Transaction, body: str) -> str:
    """A command with all that commands do."""
    (number,) = await numbers.take(tx, "N", 1, year=0)
    note_id = ids.new()
    await tx.execute(_INSERT, {"id": note_id, "body": body})
    outbox.publish(tx, CustomerCreated(customer_id=str(note_id), name=body))
    tx.outdate(note_id)
    return number


async def write_notes(tx: Transaction, bodies: list[str]) -> list[str | DomainError]:
    return [await write_note(tx, body) for body in bodies]


def stored(scratch: ServiceDatabase, tenant: UUID) -> dict[str, int]:
    counts = {}
    for table in _TABLES:
        query = f"SELECT count(*) FROM {table} WHERE tenant_id = %s"
        [(counts[table],)] = rows_of(scratch.operator, query, tenant)
    return counts


async def test_a_rehearsed_command_answers_and_leaves_nothing(
    database: Database, scratch: ServiceDatabase, tenant: UUID
) -> None:
    before = stored(scratch, tenant)

    with as_user(tenant), rehearsing() as rehearsed:
        numbers_taken = [await database.run(lambda tx: write_note(tx, "oak")) for _ in range(2)]

    assert numbers_taken == ["N-000001", "N-000001"]
    assert [event.name for event in rehearsed.told(CustomerCreated)] == ["oak", "oak"]
    assert stored(scratch, tenant) == before
    with as_user(tenant):
        assert await database.run(lambda tx: write_note(tx, "oak")) == "N-000001"


async def test_what_is_done_in_earnest_at_the_same_time_stays(
    database: Database, scratch: ServiceDatabase, tenant: UUID
) -> None:
    notes = GroupCommit[str, str](database, write_notes)

    async def write(body: str, *, rehearse: bool) -> str:
        with as_user(tenant):
            if not rehearse:
                return await notes.run(body)
            with rehearsing():
                return await notes.run(body)

    await asyncio.gather(*(write(f"note {place}", rehearse=place % 2 == 0) for place in range(20)))

    rows = rows_of(scratch.operator, "SELECT body FROM notes WHERE tenant_id = %s", tenant)
    assert {body for (body,) in rows} == {f"note {place}" for place in range(1, 20, 2)}
    assert stored(scratch, tenant)["events"] == 10


async def test_a_rehearsed_command_is_refused_like_any_other(
    database: Database, tenant: UUID
) -> None:
    async def refuse(_: Transaction, commands: list[str]) -> list[str | DomainError]:
        return [BrokenRule() for _ in commands]

    with as_user(tenant), rehearsing(), pytest.raises(BrokenRule):
        await GroupCommit[str, str](database, refuse).run("oak")


async def test_checks_that_wait_for_the_commit_are_made(
    database: Database, scratch: ServiceDatabase, tenant: UUID
) -> None:
    table = f"pairs_{tenant.hex}"
    with_check = f"""
        CREATE TABLE {table} (id int PRIMARY KEY,
            other int REFERENCES {table} DEFERRABLE INITIALLY DEFERRED);
        GRANT ALL ON {table} TO scratch_app
    """
    _run(scratch.owner, with_check)

    with as_user(tenant), rehearsing(), pytest.raises(Exception, match="foreign key"):
        async with database.tenant_transaction() as tx:
            await tx.execute(text(f"INSERT INTO {table} VALUES (1, 2)"))


def _run(url: str, sql: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(sql.encode())


async def test_a_rehearsal_keeps_no_answer(
    database: Database, scratch: ServiceDatabase, tenant: UUID
) -> None:
    with as_user(tenant), rehearsing():
        request = KeyedRequest.of("/x/Y", "key", events_pb2.Event(), events_pb2.Event)
        with idempotency.carrying_out(request):
            await database.run(lambda tx: write_note(tx, "oak"))

    assert stored(scratch, tenant)["idempotency_keys"] == 0


def test_what_no_rollback_takes_back_is_refused() -> None:
    demand_real()
    with rehearsing(), pytest.raises(NotRehearsable):
        demand_real()
