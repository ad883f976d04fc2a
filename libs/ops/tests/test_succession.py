"""Failover by hand, between two servers of the operator's."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from ops.errors import StackFailure
from ops.main import app
from ops.postgres import EmbeddedPostgres
from ops.replica import PRIMARY_SETTINGS, EmbeddedReplica
from ops.succession import promote, rejoin, standbys_of
from ops.tests.conditions import until_blocking


class Pair:
    """A primary, and a standby that follows it."""

    def __init__(self, folder: Path) -> None:
        self.old = EmbeddedPostgres(folder / "old", settings=PRIMARY_SETTINGS)
        self.old.start()
        self.standby = EmbeddedReplica(self.old, folder / "standby")
        self.standby.start()
        run(self.old, "CREATE TABLE entries (text text)")
        exists = "SELECT to_regclass('entries') IS NOT NULL"
        until_blocking(lambda: run(self.standby, exists) == [(True,)])

    def stop(self) -> None:
        self.standby.stop()
        self.old.stop()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.stop()


def run(server: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def write(server: EmbeddedPostgres, text: str) -> None:
    run(server, f"INSERT INTO entries VALUES ('{text}')")


def entries(server: EmbeddedPostgres) -> set[object]:
    return {text for (text,) in run(server, "SELECT text FROM entries")}


def test_a_living_primary_is_not_replaced_behind_its_back(pair: Pair) -> None:
    with pytest.raises(StackFailure, match="still takes writes"):
        promote(pair.standby.superuser_url, pair.old.superuser_url, fence=False)

    assert run(pair.standby, "SELECT pg_is_in_recovery()") == [(True,)]


def test_a_fenced_primary_takes_no_write_and_its_last_word_is_kept(pair: Pair) -> None:
    write(pair.old, "last")

    timeline = promote(pair.standby.superuser_url, pair.old.superuser_url, fence=True)

    assert timeline == 2
    assert entries(pair.standby) == {"last"}
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        write(pair.old, "stray")
    write(pair.standby, "next")


def test_a_dead_primary_comes_back_as_a_standby_without_what_nobody_else_has(pair: Pair) -> None:
    write(pair.old, "common")
    until_blocking(lambda: "common" in entries(pair.standby))
    assert pair.standby.pid is not None
    os.kill(pair.standby.pid, signal.SIGSTOP)
    for process in children_of(pair.standby.pid):
        os.kill(process, signal.SIGSTOP)
    write(pair.old, "seen by nobody")
    assert pair.old.pid is not None
    os.kill(pair.old.pid, signal.SIGKILL)
    pair.old.stop()
    for process in (*children_of(pair.standby.pid), pair.standby.pid):
        os.kill(process, signal.SIGCONT)
    until_blocking(pair.standby.is_ready)

    promote(pair.standby.superuser_url, pair.old.superuser_url, fence=False)
    write(pair.standby, "after")
    changed = rejoin(pair.old.directory, pair.standby.superuser_url, "old")
    again = EmbeddedPostgres(
        pair.old.directory, password=pair.old.password, settings=PRIMARY_SETTINGS
    )

    with again:
        assert changed
        until_blocking(lambda: "after" in entries(again))
        # The standby may have got it all the same before it was stopped; both agree, whatever.
        assert entries(again) == entries(pair.standby) >= {"common", "after"}
        assert [one["name"] for one in standbys_of(pair.standby.superuser_url)] == ["old"]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_server_that_nobody_succeeded_is_left_as_it_is(pair: Pair) -> None:
    with pytest.raises(StackFailure, match="is running"):
        rejoin(pair.old.directory, pair.standby.superuser_url, "old")
    pair.old.stop()

    assert not rejoin(pair.old.directory, pair.standby.superuser_url, "old")
    assert not (pair.old.directory / "standby.signal").exists()


def test_what_is_no_standby_is_not_promoted(pair: Pair) -> None:
    command = ["db", "promote", "--standby", pair.old.superuser_url, "--yes"]

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 1
    assert "nothing to promote" in " ".join(done.stderr.split())
