"""Reads on a replica: fresh enough, or from the primary."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from common import consistency, ids
from common.consistency import Positions, Reading
from common.database import Database
from common.replicas import ReplicaFailed
from common.testing import ServiceDatabase, TestServers, as_user
from ops.ports import HOST
from ops.replica import EmbeddedReplica

_INSERT = text("INSERT INTO notes (id, body) VALUES (:id, :body)")
_BODIES = text("SELECT body, pg_is_in_recovery() AS on_replica FROM notes")


@pytest.fixture(scope="module")
def replica(
    servers: TestServers, scratch: ServiceDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedReplica]:
    """A replica of the test server."""
    folder = tmp_path_factory.mktemp("replica")
    with EmbeddedReplica(servers.postgres, Path(folder) / "data") as replica:
        yield replica


@pytest.fixture
async def notes(scratch: ServiceDatabase, replica: EmbeddedReplica) -> AsyncIterator["Notes"]:
    """The scratch database as a process with that replica has it."""
    notes = Notes(
        Database(
            scratch.app,
            service="notes",
            replicas=[f"{HOST}:{replica.port}"],
            pool_size=3,
            most_lag_seconds=1.0,
        )
    )
    with as_user(ids.new()):
        await until_replica_answers(notes)
    yield notes
    await notes.database.close()


class Notes:
    """Writes and reads notes as requests do."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def write(self, body: str) -> Positions:
        """Write a note; the positions that its answer would carry."""
        written = consistency.collect()
        async with self.database.tenant_transaction() as tx:
            await tx.execute(_INSERT, {"id": ids.new(), "body": body})
        return written

    async def read(self, positions: Positions | None) -> tuple[set[str], bool]:
        """The bodies, and whether a replica answered."""
        wanted = None if positions is None else Reading(positions)
        with consistency.reading(wanted):
            async with self.database.read_transaction() as tx:
                bodies = {row.body for row in await tx.rows(_BODIES)}
                on_replica = bool(await tx.scalar(text("SELECT pg_is_in_recovery()")))
        assert on_replica == bool(wanted and wanted.from_replica)
        return bodies, on_replica


async def until_replica_answers(notes: Notes, *, within: float = 10) -> None:
    async with asyncio.timeout(within):
        while not (await notes.read({}))[1]:
            await asyncio.sleep(0.02)


@contextmanager
def replay_paused(replica: EmbeddedReplica) -> Iterator[None]:
    """Let the replica receive everything and show none of it."""
    with psycopg.connect(replica.superuser_url, autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        while connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() != (
            "paused",
        ):
            time.sleep(0.01)
        yield
        connection.execute("SELECT pg_wal_replay_resume()")


async def test_only_who_says_so_is_answered_by_a_replica(notes: Notes, tenant: UUID) -> None:
    with as_user(tenant):
        assert await notes.read({}) == (set(), True)
        assert await notes.read(None) == (set(), False)
        with consistency.reading(Reading({})):
            async with notes.database.read_transaction(fresh=True) as tx:
                assert not await tx.scalar(text("SELECT pg_is_in_recovery()"))


async def test_a_writer_sees_its_write_while_others_are_answered_by_a_late_replica(
    notes: Notes, replica: EmbeddedReplica, tenant: UUID
) -> None:
    with as_user(tenant):
        with replay_paused(replica):
            written = await notes.write("mine")

            assert await notes.read(written) == ({"mine"}, False)
            assert await notes.read({}) == (set(), True)

        async with asyncio.timeout(10):
            while not (await notes.read(written))[1]:
                await asyncio.sleep(0.02)
        assert await notes.read(written) == ({"mine"}, True)


async def test_a_hundred_writers_always_read_their_own_writes(notes: Notes, tenant: UUID) -> None:
    async def write_and_read(turn: int) -> bool:
        written = await notes.write(f"note {turn}")
        bodies, on_replica = await notes.read(written)
        assert f"note {turn}" in bodies
        await asyncio.sleep(0.01)
        bodies, later_on_replica = await notes.read(written)
        assert f"note {turn}" in bodies
        return on_replica or later_on_replica

    with as_user(tenant):
        outcomes = [
            await asyncio.gather(
                *(asyncio.create_task(write_and_read(turn * 4 + part)) for part in range(4))
            )
            for turn in range(25)
        ]

    assert any(any(group) for group in outcomes)


async def test_a_position_of_the_future_and_another_services_are_harmless(
    notes: Notes, tenant: UUID
) -> None:
    with as_user(tenant):
        assert await notes.read({"notes": 2**64 - 1}) == (set(), False)
        assert await notes.read({"sales": 2**64 - 1}) == (set(), True)


async def test_a_replica_that_is_too_far_behind_answers_nobody(
    notes: Notes, replica: EmbeddedReplica, tenant: UUID
) -> None:
    with as_user(tenant):
        with replay_paused(replica):
            await notes.write("late")

            async with asyncio.timeout(10):
                while (await notes.read({}))[1]:
                    await asyncio.sleep(0.02)

        await until_replica_answers(notes)


async def test_a_frozen_replica_costs_a_quarter_of_a_second_once(
    notes: Notes, replica: EmbeddedReplica, tenant: UUID
) -> None:
    backends = [replica.pid, *children_of(replica.pid)]
    with as_user(tenant):
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            answered = [await notes.read({}) for _ in range(20)]
            seconds = time.monotonic() - started
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
        assert answered == [(set(), False)] * 20
        assert seconds < 1
        await until_replica_answers(notes)


async def test_a_read_that_its_replica_breaks_off_says_that_the_primary_can(
    notes: Notes, replica: EmbeddedReplica, tenant: UUID
) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'scratch_app'"
    with as_user(tenant), consistency.reading(Reading({})):
        with pytest.raises(ReplicaFailed):
            async with notes.database.read_transaction() as tx:
                await tx.rows(_BODIES)
                with psycopg.connect(replica.superuser_url) as connection:
                    connection.execute(end)
                await tx.rows(_BODIES)
        assert not (await notes.read({}))[1]
        await until_replica_answers(notes)


async def test_a_dead_replica_is_passed_over_until_it_is_back(
    notes: Notes, replica: EmbeddedReplica, tenant: UUID
) -> None:
    with as_user(tenant):
        written = await notes.write("kept")
        replica.stop()

        assert [await notes.read(written) for _ in range(20)] == [({"kept"}, False)] * 20

        replica.start()
        await until_replica_answers(notes)
        bodies, _ = await notes.read(written)
        assert bodies == {"kept"}


def children_of(pid: int | None) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
