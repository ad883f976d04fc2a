"""Commands that arrive together share a transaction and nothing else."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import text

from common import ids
from common.database import Database, Transaction
from common.errors import DomainError, NotFound
from common.group_commit import GroupCommit
from common.testing import as_user

_INSERT = text("INSERT INTO notes (id, body) VALUES (:id, :body)")


class Notes:
    """Stores notes in groups, and remembers how large the groups were."""

    def __init__(self) -> None:
        self.groups: list[int] = []

    async def store(self, tx: Transaction, bodies: Sequence[str]) -> list[str | DomainError]:
        self.groups.append(len(bodies))
        await tx.execute(
            _INSERT, [{"id": ids.new(), "body": body} for body in bodies if body != "refused"]
        )
        return [NotFound("note", body) if body == "refused" else body.upper() for body in bodies]


async def stored(database: Database) -> list[str]:
    async with database.read_transaction() as tx:
        return [row.body for row in await tx.rows(text("SELECT body FROM notes ORDER BY body"))]


async def test_what_waits_forms_the_next_transaction(database: Database, tenant: UUID) -> None:
    notes = Notes()
    group: GroupCommit[str, str] = GroupCommit(database, notes.store)

    with as_user(tenant):
        outcomes = await asyncio.gather(*(group.run(f"note {number}") for number in range(50)))

    assert outcomes == [f"NOTE {number}" for number in range(50)]
    assert sum(notes.groups) == 50
    assert len(notes.groups) <= 2


async def test_each_command_gets_its_own_error(database: Database, tenant: UUID) -> None:
    group: GroupCommit[str, str] = GroupCommit(database, Notes().store)

    with as_user(tenant):
        outcomes = await asyncio.gather(
            *map(group.run, ("a", "refused", "b")), return_exceptions=True
        )

        assert await stored(database) == ["a", "b"]
    assert outcomes[0] == "A"
    assert isinstance(outcomes[1], NotFound)
    assert outcomes[2] == "B"


async def test_nobody_fails_for_anothers_sake(database: Database, tenant: UUID) -> None:
    group: GroupCommit[str, str] = GroupCommit(database, Notes().store)

    with as_user(tenant):
        outcomes = await asyncio.gather(
            *map(group.run, ("a", "twin", "twin", "b")), return_exceptions=True
        )

        assert await stored(database) == ["a", "b", "twin"]
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, False, True, False]


async def test_tenants_never_share_a_transaction(database: Database) -> None:
    group: GroupCommit[str, str] = GroupCommit(database, Notes().store)
    tenants = [ids.new(), ids.new()]

    async def run(tenant: UUID, body: str) -> None:
        with as_user(tenant):
            await group.run(body)

    await asyncio.gather(*(run(tenant, f"{body}") for body in range(5) for tenant in tenants))

    for tenant in tenants:
        with as_user(tenant):
            assert await stored(database) == ["0", "1", "2", "3", "4"]


async def test_a_caller_who_leaves_takes_nobody_along(database: Database, tenant: UUID) -> None:
    group: GroupCommit[str, str] = GroupCommit(database, Notes().store)

    with as_user(tenant):
        tasks = [asyncio.create_task(group.run(body)) for body in ("stays", "leaves", "stays too")]
        await asyncio.sleep(0)
        tasks[1].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)

        assert await stored(database) == ["leaves", "stays", "stays too"]
    assert outcomes[0] == "STAYS"
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert outcomes[2] == "STAYS TOO"


async def test_commands_are_completed_before_their_transaction_and_may_fail_there(
    database: Database, tenant: UUID
) -> None:
    async def prepare(bodies: Sequence[str]) -> list[str | DomainError]:
        return [NotFound("place", body) if body == "nowhere" else f"{body}!" for body in bodies]

    group: GroupCommit[str, str] = GroupCommit(database, Notes().store, prepare=prepare)

    with as_user(tenant):
        outcomes = await asyncio.gather(
            *map(group.run, ("here", "nowhere")), return_exceptions=True
        )

    assert outcomes[0] == "HERE!"
    assert isinstance(outcomes[1], NotFound)


async def test_a_lone_failure_reaches_its_caller(database: Database, tenant: UUID) -> None:
    async def broken(tx: Transaction, bodies: Sequence[str]) -> list[str | DomainError]:
        raise LookupError("broken")

    group: GroupCommit[str, str] = GroupCommit(database, broken)

    with as_user(tenant), pytest.raises(LookupError, match="broken"):
        await group.run("a")
