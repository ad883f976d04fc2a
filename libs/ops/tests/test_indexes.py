"""A table in use gets its indexes while its rows are written, however often that breaks off."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from common import migrations
from common.testing import TestServers, rows_of
from ops.tests.conditions import until_blocking
from ops.urls import with_database

ENVIRONMENT = """
from sqlalchemy import MetaData
from common.migrations import run_environment
run_environment(MetaData())
"""
REVISION = '''"""Notes."""
from alembic import op
from common.indexes import make_indexes, ordered
revision, down_revision = {revision}
def upgrade():
    {change}
'''
CHANGES = {
    ("1", None): "op.execute('CREATE TABLE notes (tenant_id int, id int, body text, at int)')",
    ("2", "1"): "make_indexes(*ordered('notes', 'body', 'at'))",
}
MIGRATE = """
import pathlib, sys
from common import migrations
migrations.migrate(pathlib.Path(sys.argv[1]), sys.argv[2])
"""
WRITE = "INSERT INTO notes VALUES (1, 1, 'a', 1)"
WAITING = (
    "SELECT FROM pg_stat_activity WHERE datname = 'indexed' AND wait_event_type = 'Lock'"
    " AND query ~ 'INDEX +CONCURRENTLY'"
)
INDEXES = (
    "SELECT indexrelid::regclass::text, indisvalid FROM pg_index"
    " WHERE indrelid = 'notes'::regclass ORDER BY 1"
)
READY = [("notes_by_at", True), ("notes_by_body", True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of a service: a table, and then its indexes."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    for (name, before), change in CHANGES.items():
        text = REVISION.format(revision=(name, before), change=change)
        (tmp_path / "versions" / f"{name}.py").write_text(text)
    return tmp_path


@pytest.fixture
def url(servers: TestServers) -> str:
    """An empty database."""
    with psycopg.connect(servers.postgres.superuser_url, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS indexed")
        server.execute("CREATE DATABASE indexed")
    return with_database(servers.postgres.superuser_url, "indexed")


def test_who_writes_in_a_table_waits_for_no_index_of_it(folder: Path, url: str) -> None:
    (later := folder / "versions" / "2.py").rename(folder / "2.py")
    migrations.migrate(folder, url)
    (folder / "2.py").rename(later)
    with psycopg.connect(url) as other:
        other.execute(WRITE)
    with psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as broken:
        writer.execute(WRITE)
        broken.execute("SET statement_timeout = 50")
        with pytest.raises(psycopg.errors.QueryCanceled):
            broken.execute("CREATE INDEX CONCURRENTLY notes_by_body ON notes (tenant_id)")

        command = [sys.executable, "-c", MIGRATE, str(folder), url]
        migrating = [subprocess.Popen(command) for _ in range(2)]
        until_blocking(lambda: rows_of(url, WAITING))
        with psycopg.connect(url) as other:
            other.execute("SET lock_timeout = '1s'")
            other.execute(WRITE)

    assert [process.wait(30) for process in migrating] == [0, 0]
    assert rows_of(url, INDEXES) == READY
    assert "body, id" in str(rows_of(url, "SELECT pg_get_indexdef('notes_by_body'::regclass)"))


def test_a_new_database_gets_its_indexes_with_its_tables(folder: Path, url: str) -> None:
    migrations.migrate(folder, url)

    assert rows_of(url, INDEXES) == READY
