"""Which revisions a database lacks, and whether they may be applied while work goes on."""

from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory

from common.testing import TestServers
from ops import migrations, revisions
from ops.credentials import DATABASES
from ops.urls import with_database

REVISION = '''"""{title}."""
from alembic import op
revision = "{revision}"
down_revision = {before}
{contract}
def upgrade() -> None:
    op.execute("{sql}")
'''


@pytest.fixture
def scratch(servers: TestServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database at revision 1 of a service that has three more."""
    (tmp_path / "versions").mkdir()
    written = (
        ("1", "", "CREATE TABLE notes (a int)"),
        ("2", "", "ALTER TABLE notes ADD b int"),
        ("3", "", "ALTER TABLE notes DROP a"),
        ("4", 'contract = "c is read by nobody"', "ALTER TABLE notes DROP c"),
    )
    for revision, contract, sql in written:
        before = None if revision == "1" else str(int(revision) - 1)
        text = REVISION.format(
            title=sql, revision=revision, before=repr(before), contract=contract, sql=sql
        )
        (tmp_path / "versions" / f"{revision}.py").write_text(text)
    monkeypatch.setattr(migrations, "folder_of", lambda _: tmp_path)
    monkeypatch.setattr(revisions, "folder_of", lambda _: tmp_path)
    url = servers.postgres.superuser_url
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS notes")
        server.execute("CREATE DATABASE notes")
    return with_database(url, "notes")


def test_a_new_database_may_get_everything(scratch: str) -> None:
    found = migrations.pending("notes", scratch)

    assert [one.revision for one in found] == ["1", "2", "3", "4"]
    assert not any(one.is_refused for one in found)


def test_one_in_use_gets_what_only_adds_and_what_says_that_it_takes_away(scratch: str) -> None:
    with psycopg.connect(scratch) as database:
        database.execute("CREATE TABLE alembic_version AS SELECT '1' AS version_num")

    adds, drops, contracts = migrations.pending("notes", scratch)

    assert (adds.findings, adds.is_refused) == ((), False)
    assert drops.is_refused
    assert "notes: drops a column" in str(drops.findings[0])
    assert contracts.findings
    assert contracts.contract == "c is read by nobody"
    assert not contracts.is_refused


@pytest.mark.parametrize("service", DATABASES)
def test_the_newest_revision_is_the_one_that_alembic_takes_for_it(service: str) -> None:
    folder = revisions.folder_of(service)

    newest = revisions.newest_of(folder)

    assert newest == set(ScriptDirectory(str(folder)).get_heads())
    assert len(newest) == 1


def test_a_schema_is_the_newest_at_the_last_revision_only(scratch: str) -> None:
    new = revisions.is_newest("notes", scratch)
    with psycopg.connect(scratch) as database:
        database.execute("CREATE TABLE alembic_version AS SELECT '3' AS version_num")
    behind = revisions.is_newest("notes", scratch)
    with psycopg.connect(scratch) as database:
        database.execute("UPDATE alembic_version SET version_num = '4'")
    there = revisions.is_newest("notes", scratch)

    assert (new, behind, there) == (False, False, True)
