"""No change escapes the audit log, nobody can touch it, and whoever does is found out."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from common import audit_log, audit_seals, ids, origin
from common.audit_log import AuditLogServicer
from common.caller import Caller, acting_as
from common.errors import BrokenRule, InvalidRequest
from common.group_commit import GroupCommit
from common.origin import Author, Place
from common.testing import as_user, rows_of
from erp.audit.v1 import audit_log_pb2 as pb

_WRITE = text("INSERT INTO notes (id, body, secret) VALUES (:id, :body, :secret)")
_LATER = UUID(int=2**128 - 1)


async def write(tx, note_id, body="first", secret="canary-1"):
    await tx.execute(_WRITE, {"id": note_id, "body": body, "secret": secret})


async def entries_of(database, **wanted):
    request = pb.ListEntriesRequest(limit=100, **wanted)
    return list((await AuditLogServicer("notes", database).ListEntries(request)).entries)


def fields_of(entry):
    return {
        change.field: (
            change.before if change.HasField("before") else None,
            change.after if change.HasField("after") else None,
        )
        for change in entry.changes
    }


async def test_a_time_within_the_millisecond_of_an_entry_lies_before_it(database, tenant):
    """A record says when it was made to the microsecond, and its entry to the millisecond."""
    note = str(ids.new())

    with as_user(tenant):
        await database.run(lambda tx: write(tx, note))
        (made,) = await entries_of(database, record_id=note)
        within = Timestamp()
        within.FromMicroseconds(made.time.ToMicroseconds() + 637)
        since = await entries_of(database, record_id=note, start_time=within)
        until = await entries_of(database, record_id=note, end_time=within)

    assert since == [made]
    assert until == []


async def test_each_change_says_who_what_and_from_where(database, tenant):
    note = ids.new()
    place = Place("erp.notes.v1.Notes/Write", "203.0.113.7", "curl/8 \x00\n")
    clerk = Caller(tenant, "user:clerk", frozenset(), ("gateway",), "request-1")

    with acting_as(clerk):
        origin.come_from(place)
        await database.run(lambda tx: write(tx, note))
        async with database.tenant_transaction() as tx:
            await tx.execute(text("UPDATE notes SET body = 'second', version = version + 1"))
        async with database.tenant_transaction() as tx:
            await tx.execute(text("DELETE FROM notes"))
        deleted, changed, created = await entries_of(database, record_id=str(note))

    assert [entry.action for entry in (created, changed, deleted)] == [
        "created",
        "changed",
        "deleted",
    ]
    assert {entry.kind for entry in (created, changed, deleted)} == {"note"}
    assert fields_of(created)["body"] == (None, "first")
    assert fields_of(changed) == {"body": ("first", "second"), "version": ("1", "2")}
    assert fields_of(deleted)["body"] == ("second", None)
    author = pb.AuditAuthor(
        actor="user:clerk",
        via=["gateway"],
        request_id="request-1",
        rpc="erp.notes.v1.Notes/Write",
        address="203.0.113.7",
        agent="curl/8",
    )
    assert [list(entry.authors) for entry in (created, changed, deleted)] == [[author]] * 3


async def test_entries_are_found_by_filter_and_told_from_the_first(database, tenant):
    note = ids.new()
    with as_user(tenant):
        await database.run(lambda tx: write(tx, note))
        async with database.tenant_transaction() as tx:
            await tx.execute(text("UPDATE notes SET body = 'second', version = version + 1"))
        created, changed = await entries_of(database, order_by="time")
        begin, end = (entry.time.ToJsonString() for entry in (created, changed))
        later = await entries_of(database, filter=f'action = changed AND time >= "{end}"')
        others = await entries_of(database, filter=f'kind != note OR time < "{begin}"')
        next_ones = await entries_of(database, order_by="time", after_id=created.id)
        with pytest.raises(InvalidRequest, match="/filter must not name before"):
            await entries_of(database, filter="before:x")

    assert [entry.action for entry in (created, changed)] == ["created", "changed"]
    assert (later, next_ones, others) == ([changed], [changed], [])


async def test_secrets_are_in_no_entry(database, scratch, tenant):
    note = ids.new()
    with as_user(tenant):
        await database.run(lambda tx: write(tx, note))
        async with database.tenant_transaction() as tx:
            await tx.execute(text("UPDATE notes SET secret = 'canary-2'"))
        changed, _ = await entries_of(database, record_id=str(note))

    written = rows_of(scratch.operator, "SELECT before::text, after::text FROM audit_entries")
    assert fields_of(changed) == {"secret": ("…", "…")}
    assert "canary" not in str(written)


async def test_what_is_rolled_back_leaves_no_entry(database, tenant):
    note = ids.new()
    with as_user(tenant):
        with pytest.raises(BrokenRule):
            async with database.tenant_transaction() as tx:
                await write(tx, note)
                raise BrokenRule
        assert await entries_of(database) == []


@dataclass
class Note:
    id: UUID


async def test_commands_that_share_a_transaction_are_put_down_to_their_own_callers(
    database, tenant
):
    together: list[int] = []

    async def decide(tx, notes):
        together.append(len(notes))
        for note in notes:
            await write(tx, note.id, body=str(note.id))
        return notes

    group = GroupCommit(database, decide)
    notes = [Note(ids.new()) for _ in range(12)]

    async def run(number):
        with as_user(tenant, request_id=f"request-{number}") as caller:
            subject = f"user:{number % 3}"
            with acting_as(Caller(tenant, subject, caller.permissions, (), caller.request_id)):
                return await group.run(notes[number])

    await asyncio.gather(*(asyncio.create_task(run(number)) for number in range(12)))
    with as_user(tenant):
        found = {entry.record_id: entry for entry in await entries_of(database)}
        by_one = await entries_of(database, actor="user:1")

    assert max(together) > 1
    for number, note in enumerate(notes):
        (author,) = found[str(note.id)].authors
        assert (author.actor, author.request_id) == (f"user:{number % 3}", f"request-{number}")
    assert {entry.record_id for entry in by_one} == {str(note.id) for note in notes[1::3]}


async def test_work_for_several_names_them_all_where_none_alone_did_it(database, tenant):
    clerks = [Author(f"user:{number}", request_id=f"request-{number}") for number in range(2)]
    with as_user(tenant), origin.on_behalf_of(clerks):
        await database.run(lambda tx: write(tx, ids.new()))
        (entry,) = await entries_of(database)

    assert [author.actor for author in entry.authors] == ["user:0", "user:1"]


async def test_who_works_past_our_code_is_named_too(database, scratch, tenant):
    note = ids.new()
    with as_user(tenant):
        await database.run(lambda tx: write(tx, note))
    with psycopg.connect(scratch.operator) as connection:
        connection.execute("UPDATE notes SET body = 'by hand' WHERE id = %s", [note])

    with as_user(tenant):
        changed, _ = await entries_of(database, record_id=str(note))
    (author,) = changed.authors
    assert author.actor.startswith("database:")
    assert fields_of(changed) == {"body": ("first", "by hand")}


async def test_what_no_row_tells_can_be_said(database, tenant):
    with as_user(tenant):
        async with database.tenant_transaction() as tx:
            await audit_log.record(tx, "user", "clerk", "login refused", {"why": "password"})
        (entry,) = await entries_of(database, kind="user")

    assert (entry.action, entry.record_id) == ("login refused", "clerk")
    assert fields_of(entry) == {"why": (None, "password")}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET kind = 'other'",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_changes",
        "UPDATE audit_seals SET hash = ''",
        "TRUNCATE audit_entries",
    ],
)
async def test_the_application_can_only_add(database, tenant, statement):
    with as_user(tenant), pytest.raises(ProgrammingError, match="permission denied"):
        async with database.tenant_transaction() as tx:
            await tx.execute(text(statement))


async def test_no_tenant_sees_anothers_entries(database, tenant):
    with as_user(tenant):
        await database.run(lambda tx: write(tx, ids.new()))
    with as_user(ids.new()):
        assert await entries_of(database) == []


async def seal_all(database, largest=2):
    async with database.tenant_transaction() as tx:
        while await audit_seals.seal(tx, _LATER, largest):
            pass


async def broken_seals(database, **wanted):
    answer = await AuditLogServicer("notes", database).VerifySeals(pb.VerifySealsRequest(**wanted))
    return [(seal.number, seal.detail) for seal in answer.broken], answer


@pytest.fixture
async def sealed(database, tenant):
    """Six notes of one tenant under three seals."""
    with as_user(tenant):
        for number in range(6):
            await database.run(lambda tx, number=number: write(tx, ids.new(), body=str(number)))
        await seal_all(database)
        yield tenant


async def test_what_nobody_touched_fits_its_seals(database, sealed):
    broken, answer = await broken_seals(database)

    assert broken == []
    assert (answer.number, len(answer.hash), answer.has_more) == (3, 64, False)


@pytest.mark.parametrize(
    ("touch", "found"),
    [
        ('UPDATE audit_entries SET after = after || \'{{"body": "forged"}}\' WHERE {fourth}', {2}),
        ("UPDATE audit_entries SET record_id = 'other' WHERE {fourth}", {2}),
        ("DELETE FROM audit_entries WHERE {fourth}", {2}),
        (
            (
                "INSERT INTO audit_entries SELECT tenant_id, (left(id::text, 35) || "
                "CASE right(id::text, 1) WHEN '0' THEN '1' ELSE '0' END)::uuid, change_id, kind, "
                "'slipped in', action, before, after FROM audit_entries WHERE {fourth}"
            ),
            {2},
        ),
        (
            (
                'UPDATE audit_changes SET authors = \'[{{"actor": "user:other"}}]\' WHERE id = '
                "(SELECT change_id FROM audit_entries WHERE {fourth})"
            ),
            {2},
        ),
        ("UPDATE audit_seals SET digest = 'forged' WHERE number = 2 AND {mine}", {2}),
        ("UPDATE audit_seals SET hash = 'forged' WHERE number = 2 AND {mine}", {2, 3}),
        ("DELETE FROM audit_seals WHERE number = 2 AND {mine}", {3}),
        ("DELETE FROM audit_seals WHERE number = 1 AND {mine}", {2}),
    ],
)
async def test_whoever_touches_it_is_found_out(database, scratch, sealed, touch, found):
    mine = f"tenant_id = '{sealed}'"
    fourth = (
        f"{mine} AND id = (SELECT id FROM audit_entries WHERE {mine} ORDER BY id OFFSET 3 LIMIT 1)"
    )
    with psycopg.connect(scratch.operator) as connection:
        touched = connection.execute(touch.format(mine=mine, fourth=fourth).encode()).rowcount

    broken, _ = await broken_seals(database)

    assert touched == 1
    assert {number for number, _ in broken} - {0} == found


@pytest.mark.parametrize(
    ("touch", "undo"),
    [
        (
            "UPDATE audit_entries SET record_id = 'other' WHERE {mine}",
            "UPDATE audit_entries SET record_id = '{note}' WHERE {mine}",
        ),
        ("DELETE FROM audit_entries WHERE {mine}", ""),
        ("UPDATE audit_changes SET authors = '[]' WHERE {mine}", ""),
    ],
)
async def test_it_is_found_out_before_there_is_a_seal(database, scratch, tenant, touch, undo):
    note = ids.new()
    names = {"mine": f"tenant_id = '{tenant}'", "note": note}
    with as_user(tenant), psycopg.connect(scratch.operator, autocommit=True) as operator:
        await database.run(lambda tx: write(tx, note))
        untouched, _ = await broken_seals(database)
        operator.execute(touch.format(**names).encode())
        touched, _ = await broken_seals(database, newest=2)
        if undo:
            operator.execute(undo.format(**names).encode())
            mended, _ = await broken_seals(database)
            assert mended == []

    assert untouched == []
    assert [number for number, _ in touched] == [0]


async def test_the_newest_seals_alone_show_what_was_done_to_them(database, scratch, sealed):
    fine, _ = await broken_seals(database, newest=2)
    with psycopg.connect(scratch.operator) as connection:
        command = "UPDATE audit_seals SET hash = 'forged' WHERE number = 3 AND tenant_id = %s"
        connection.execute(command, [sealed])

    broken, _ = await broken_seals(database, newest=2)

    assert fine == []
    assert [number for number, _ in broken] == [3]


async def test_the_duty_seals_what_is_settled_and_nothing_younger(database, scratch, tenant):
    with as_user(tenant):
        for _ in range(2):
            await database.run(lambda tx: write(tx, ids.new(), body=str(ids.new())))
    duty = audit_seals.seal_audit_log("notes", database)

    await duty.work()
    early = rows_of(scratch.operator, "SELECT 1 FROM audit_seals WHERE tenant_id = %s", tenant)
    with psycopg.connect(scratch.operator) as connection:
        # As if it had been written ten minutes ago.
        connection.execute(
            "UPDATE audit_entries SET id = uuidv7(interval '-10 minutes') WHERE tenant_id = %s",
            [tenant],
        )
    await duty.work()
    await duty.work()

    late = rows_of(
        scratch.operator, "SELECT number, entries FROM audit_seals WHERE tenant_id = %s", tenant
    )
    assert early == []
    assert late == [(1, 2)]
