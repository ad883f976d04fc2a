"""Failover by hand, on servers of the operator's own: promote a standby, bring the old one back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ops.errors import StackFailure
from ops.postgres import account_for, configured, give, is_served
from ops.programs import run_program

CATCH_UP_SECONDS = 30
PROMOTE_SECONDS = 60
_POLL_SECONDS = 0.1
# Where it writes now; the control file learns that with the first checkpoint after a promotion.
_TIMELINE = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"


def promote(standby_url: str, old_url: str | None, *, fence: bool) -> int:
    """Make a standby the primary; its new timeline.

    Args:
        standby_url: the standby's superuser.
        old_url: the old primary's superuser, to see that it is dead, or to fence it.
        fence: an old primary that still works is made read-only and the standby waits for the rest
            of its log; without, it is a StackFailure.
    """
    with _connected(standby_url, "The standby") as standby:
        if not _value(standby, "SELECT pg_is_in_recovery()"):
            raise StackFailure("That server is no standby: there is nothing to promote.")
        if old_url is not None and (position := _fenced(old_url, fence=fence)):
            _await_replay(standby, position)
        if not _value(standby, f"SELECT pg_promote(true, {PROMOTE_SECONDS})"):
            raise StackFailure(f"The standby was not promoted within {PROMOTE_SECONDS} s.")
        return int(_value(standby, _TIMELINE))


def rejoin(directory: Path, leader_url: str, name: str) -> bool:
    """Make the stopped cluster of `directory` a standby of the primary at `leader_url`.

    Whatever it has that the leader has not is undone. Safe to run before each start: it does
    nothing (and returns False) when the leader does not answer as a primary of a later timeline.
    """
    own = _control(directory)
    if is_served(directory):
        raise StackFailure(f"The server of {directory} is running; stop it first.")
    try:
        with _connected(leader_url, "The leader") as leader:
            if _value(leader, "SELECT pg_is_in_recovery()"):
                return False
            timeline = int(_value(leader, _TIMELINE))
            identity = _value(leader, "SELECT system_identifier FROM pg_control_system()")
    except StackFailure:
        return False
    if str(identity) != own["Database system identifier"]:
        raise StackFailure("The two are not copies of one another.")
    if timeline <= int(own["Latest checkpoint's TimeLineID"]):
        return False
    run_program(
        "pg_rewind",
        f"--target-pgdata={directory}",
        f"--source-server={_without_password(leader_url)}",
        url=leader_url,
        account=account_for(directory),
    )
    _follow(directory, leader_url, name)
    return True


def standbys_of(url: str) -> list[dict[str, Any]]:
    """Who follows the primary at `url`, and how far behind each one is."""
    query = """
        SELECT application_name AS name, state, sync_state AS confirms,
               pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS bytes_behind,
               round(extract(epoch FROM coalesce(replay_lag, '0'))::numeric, 3)::float
                   AS seconds_behind
        FROM pg_stat_replication WHERE application_name <> 'pg_basebackup' ORDER BY 1
    """
    with _connected(url, "The primary") as primary:
        cursor = primary.execute(query.encode())
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def _fenced(old_url: str, *, fence: bool) -> str | None:
    """Where the old primary's log ends once nobody can write to it; None if it is not there."""
    try:
        with psycopg.connect(old_url, autocommit=True, connect_timeout=5) as old:
            if _value(old, "SELECT pg_is_in_recovery()"):
                return None
            if not fence:
                raise StackFailure("The old primary still takes writes: stop it, or say --fence.")
            old.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            old.execute("SELECT pg_reload_conf()")
            old.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return str(_value(old, "SELECT pg_current_wal_flush_lsn()"))
    except psycopg.OperationalError:
        return None


def _await_replay(standby: psycopg.Connection, position: str) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while not _value(standby, f"SELECT pg_last_wal_replay_lsn() >= '{position}'"):
        if time.monotonic() > deadline:
            raise StackFailure(
                f"The standby lacks what the old primary wrote, even after {CATCH_UP_SECONDS} s;"
                " nothing was promoted. The old primary is read-only now."
            )
        time.sleep(_POLL_SECONDS)


def _follow(directory: Path, leader_url: str, name: str) -> None:
    """Standby settings, after all others in the file that wins over all others."""
    parts = conninfo_to_dict(leader_url)
    known = ("host", "port", "user", "password", "sslmode", "sslrootcert")
    upstream = {key: parts[key] for key in known if key in parts}
    lines = (
        configured("primary_conninfo", make_conninfo("", **upstream, application_name=name)),
        # Left by a promotion that fenced it; as a standby it is read-only anyway.
        configured("default_transaction_read_only", "off"),
    )
    with (directory / "postgresql.auto.conf").open("a") as file:
        file.write("\n".join(lines) + "\n")
    (directory / "standby.signal").touch()
    account = account_for(directory)
    if account is not None:
        give(directory / "standby.signal", account)


def _control(directory: Path) -> dict[str, str]:
    lines = run_program("pg_controldata", str(directory)).splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _without_password(url: str) -> str:
    parts = conninfo_to_dict(url)
    return make_conninfo("", **{key: value for key, value in parts.items() if key != "password"})


def _value(server: psycopg.Connection, query: str) -> Any:
    row = server.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def _connected(url: str, who: str) -> Iterator[psycopg.Connection]:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as server:
            yield server
    except psycopg.OperationalError as error:
        raise StackFailure(f"{who} cannot be reached: {' '.join(str(error).split())}") from error
