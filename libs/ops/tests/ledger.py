"""A server that archives its log, and what comes back of it."""

from datetime import datetime
from pathlib import Path

import psycopg

from ops.backups import BackupStore
from ops.postgres import EmbeddedPostgres
from ops.tests.conditions import until_blocking


class Ledger:
    """A server that archives, with one table to write in."""

    def __init__(self, postgres: EmbeddedPostgres, store: BackupStore) -> None:
        self.postgres, self.store = postgres, store
        self.run("CREATE TABLE entries (text text, at timestamptz DEFAULT clock_timestamp())")

    def run(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.postgres.superuser_url, autocommit=True) as server:
            cursor = server.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def write(self, text: str) -> datetime:
        """Write an entry; a moment by which it is committed, before anything that follows."""
        self.run(f"INSERT INTO entries VALUES ('{text}')")
        ((now,),) = self.run("SELECT clock_timestamp()")
        return now

    def archived(self) -> None:
        """Return when all that was written is in the archive."""
        # An empty segment would not be switched.
        self.run("SELECT pg_create_restore_point('archived')")
        ((name,),) = self.run("SELECT pg_walfile_name(pg_switch_wal())")
        until_blocking(lambda: any(self.store.wal.directory.glob(f"{name}.gz*")))


def entries(directory: Path, ledger: Ledger) -> list[object]:
    """What a restored cluster holds."""
    with (
        EmbeddedPostgres(directory, password=ledger.postgres.password) as postgres,
        psycopg.connect(postgres.superuser_url) as server,
    ):
        return [text for (text,) in server.execute("SELECT text FROM entries ORDER BY at")]
