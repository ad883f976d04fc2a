"""The embedded PostgreSQL and Valkey, and the databases in them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from ops.credentials import DATABASES, Credentials
from ops.databases import prepare_databases
from ops.errors import StackFailure
from ops.ports import HOST
from ops.postgres import EmbeddedPostgres
from ops.tests.conditions import is_running, until_blocking
from ops.urls import with_account, with_database
from ops.valkey import EmbeddedValkey


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("server") / "postgres") as postgres:
        yield postgres


@pytest.fixture(scope="module")
def credentials(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Credentials:
    credentials = Credentials(tmp_path_factory.mktemp("credentials") / "secrets.json")
    assert prepare_databases(postgres.superuser_url, credentials) == set(DATABASES)
    return credentials


def url_of(postgres: EmbeddedPostgres, credentials: Credentials, role: str, database: str) -> str:
    """How `role` connects to `database`."""
    url = with_account(postgres.superuser_url, role, credentials.role_password(role))
    return with_database(url, database)


def ask(url: str, query: str) -> object:
    """The first column of the first row."""
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def proceed(pid: int) -> None:
    """Let a stopped process go on, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_durability_is_as_in_production(postgres: EmbeddedPostgres) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert ask(postgres.superuser_url, f"SHOW {setting}") == "on"


def test_a_wrong_password_is_refused(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(with_account(postgres.superuser_url, "postgres", "guess"))


def test_it_listens_on_the_loopback_only(postgres: EmbeddedPostgres) -> None:
    assert ask(postgres.superuser_url, "SHOW listen_addresses") == HOST
    assert ask(postgres.superuser_url, "SHOW unix_socket_directories") == ""


def test_two_run_side_by_side(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "other") as other:
        assert other.port != postgres.port
        assert ask(other.superuser_url, "SELECT 1") == ask(postgres.superuser_url, "SELECT 1")


def test_what_was_committed_is_there_after_the_server_was_killed(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path / "postgres")
    first.start()
    with psycopg.connect(first.superuser_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.stop()

    with EmbeddedPostgres(tmp_path / "postgres", password=first.password) as second:
        answer = ask(second.superuser_url, "SELECT answer FROM kept")

    assert answer == 42


def test_a_broken_initdb_leaves_nothing_that_looks_like_a_cluster(tmp_path: Path) -> None:
    leftover = tmp_path / "postgres.new"
    leftover.mkdir()
    (leftover / "PG_VERSION").write_text("18")

    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        assert ask(postgres.superuser_url, "SELECT 1") == 1


def test_a_server_that_cannot_start_shows_why(tmp_path: Path) -> None:
    with pytest.raises(StackFailure, match="PostgreSQL did not start") as failure:
        EmbeddedPostgres(tmp_path / "postgres", settings={"work_mem": "much"}).start()

    assert "work_mem" in failure.value.log_tail


def test_a_server_whose_parent_was_killed_ends_before_the_next_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"""
import signal, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from ops.postgres import EmbeddedPostgres
postgres = EmbeddedPostgres(Path({str(tmp_path)!r}) / "postgres", password="same")
postgres.start()
print(postgres.pid, flush=True)
signal.pause()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        os.kill(orphan, signal.SIGSTOP)
        parent.kill()

    # It goes on ending only when its successor is seen to wait for it.
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda s: (proceed(orphan), sleep(s)))
    successor = EmbeddedPostgres(tmp_path / "postgres", password="same")
    try:
        successor.prepare()
        monkeypatch.undo()
        # Had it not waited, the orphan would stand still for ever.
        until_blocking(lambda: not is_running(orphan))
    finally:
        proceed(orphan)

    with successor:
        assert ask(successor.superuser_url, "SELECT 1") == 1


def test_preparing_twice_changes_nothing(
    postgres: EmbeddedPostgres, credentials: Credentials
) -> None:
    assert prepare_databases(postgres.superuser_url, credentials) == set()


@pytest.mark.parametrize("database", DATABASES)
def test_only_the_owner_may_create_tables(
    postgres: EmbeddedPostgres, credentials: Credentials, database: str
) -> None:
    for kind in ("app", "system"):
        url = url_of(postgres, credentials, f"{database}_{kind}", database)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(url, "CREATE TABLE intruder ()")

    with psycopg.connect(
        url_of(postgres, credentials, f"{database}_owner", database)
    ) as connection:
        connection.execute("CREATE TABLE own ()")
        connection.rollback()


def test_a_service_cannot_reach_the_database_of_another(
    postgres: EmbeddedPostgres, credentials: Credentials
) -> None:
    for kind in ("owner", "app", "system"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            ask(url_of(postgres, credentials, f"sales_{kind}", "accounting"), "SELECT 1")


def test_no_service_role_can_step_past_row_security(
    postgres: EmbeddedPostgres, credentials: Credentials
) -> None:
    query = "SELECT count(*) FROM pg_roles WHERE rolname ~ '_(owner|app|system)$' AND (rolsuper"
    query += " OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)"

    assert ask(postgres.superuser_url, query) == 0


def test_a_server_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        url = f"postgresql://postgres:x@{HOST}:{unused.getsockname()[1]}/postgres"

        with pytest.raises(StackFailure, match="Preparing the databases failed"):
            prepare_databases(url, Credentials(tmp_path / "secrets.json"))


def say(valkey: EmbeddedValkey, command: str) -> bytes:
    """Valkey's answer to an inline command."""
    with socket.create_connection((HOST, valkey.port)) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(256)


def test_valkey_keeps_what_it_was_told_over_a_restart(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as first:
        say(first, "SET answer 42")

    with EmbeddedValkey(tmp_path / "valkey") as second:
        assert b"42" in say(second, "GET answer")


def test_valkey_has_sixteen_databases(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as valkey:
        assert b"16" in say(valkey, "CONFIG GET databases")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may hand a process to another user")
def test_as_root_it_runs_as_nobody_in_a_directory_closed_to_all_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    with EmbeddedPostgres(closed / "postgres") as postgres:
        status = Path(f"/proc/{postgres.pid}/status").read_text()

    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert "0" not in uids
    assert closed.stat().st_mode & 0o777 == 0o700
