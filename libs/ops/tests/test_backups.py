"""Backups of a real server, and what comes back out of them."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops import archive_segment
from ops.backups import Backup, BackupStore
from ops.errors import StackFailure
from ops.main import app
from ops.postgres import UNSYNCED, EmbeddedPostgres
from ops.restore import Restore
from ops.tests.ledger import Ledger, entries
from ops.wal import Segment, first_gap


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    folder = tmp_path_factory.mktemp("backups")
    store = BackupStore(folder / "it's 100% ours")
    store.prepare()
    settings = {**store.wal.server_settings(300), **UNSYNCED}
    with EmbeddedPostgres(folder / "postgres", settings=settings) as postgres:
        yield Ledger(postgres, store)


@pytest.fixture(scope="module")
def backup(ledger: Ledger) -> Backup:
    ledger.write("before")
    return ledger.store.create(ledger.postgres.superuser_url)


def test_a_moment_comes_back_to_the_transaction(
    ledger: Ledger, backup: Backup, tmp_path: Path
) -> None:
    moment = ledger.write("in time")
    ledger.write("too late")
    ledger.run("DELETE FROM entries WHERE text = 'before'")
    ledger.archived()

    restore = Restore(
        store=ledger.store, backup=backup, directory=tmp_path / "restored", moment=moment
    )
    last = restore.run()

    assert entries(restore.directory, ledger) == ["before", "in time"]
    assert datetime.fromisoformat(last.replace(" UTC", "+00:00")) <= moment
    ledger.run("INSERT INTO entries VALUES ('before', to_timestamp(0))")


def test_what_was_not_archived_is_taken_from_the_lost_servers_own_log(
    ledger: Ledger, backup: Backup, tmp_path: Path
) -> None:
    ledger.archived()
    moment = ledger.write("on its disk only")
    ledger.write("next")
    wanted = Restore(store=ledger.store, backup=backup, directory=tmp_path / "a", moment=moment)

    with pytest.raises(StackFailure, match="before the moment asked for"):
        wanted.run()
    tail = ledger.postgres.directory / "pg_wal"
    Restore(**{**vars(wanted), "directory": tmp_path / "b", "tail": tail}).run()

    assert entries(tmp_path / "b", ledger)[-1] == "on its disk only"


def test_nothing_is_restored_over_something(ledger: Ledger, backup: Backup, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()

    with pytest.raises(StackFailure, match="is not empty"):
        Restore(store=ledger.store, backup=backup, directory=tmp_path).run()


def test_a_moment_before_every_backup_is_refused(ledger: Ledger, backup: Backup) -> None:
    with pytest.raises(StackFailure, match="no backup that ended by"):
        ledger.store.before(backup.end - timedelta(seconds=1))


def test_a_damaged_byte_and_a_missing_segment_are_found(
    ledger: Ledger, backup: Backup, tmp_path: Path
) -> None:
    ledger.write("x")
    ledger.archived()
    ledger.write("y")
    ledger.archived()
    ledger.store.verify(backup)
    first = ledger.store.wal.directory / f"{backup.first_segment}.gz"
    hidden = first.rename(tmp_path / first.name)

    with pytest.raises(StackFailure, match="lacks segment"):
        ledger.store.verify(backup)
    hidden.rename(first)

    packed = ledger.store.folder(backup.id) / "base.tar.gz"
    whole = packed.read_bytes()
    content = bytearray(gzip.decompress(whole))
    content[len(content) // 2] ^= 1
    packed.write_bytes(gzip.compress(bytes(content), 1))
    with pytest.raises(StackFailure, match="pg_verifybackup failed"):
        ledger.store.verify(backup)
    packed.write_bytes(whole)


def test_the_command_line_tells_what_there_is(ledger: Ledger, backup: Backup) -> None:
    store = ["--store", str(ledger.store.directory), "--json"]

    listed = json.loads(CliRunner().invoke(app, ["backup", "list", *store]).stdout)
    verified = CliRunner().invoke(app, ["backup", "verify", "--rehearse", *store])
    naive = CliRunner().invoke(
        app, ["backup", "restore", "--at", "2026-11-27", "--into", "x", *store]
    )

    assert [one["id"] for one in listed["backups"]] == [backup.id]
    assert json.loads(verified.stdout)["intact"]
    assert naive.exit_code == 1
    assert "time zone" in naive.stderr


def test_no_secret_is_in_a_name_or_a_description(ledger: Ledger, backup: Backup) -> None:
    names = [str(path) for path in ledger.store.directory.rglob("*")]
    described = ledger.store.folder(backup.id).with_suffix(".json").read_text()

    assert ledger.postgres.password not in " ".join([*names, described])
    assert ledger.store.directory.joinpath("base").stat().st_mode & 0o077 == 0


def test_the_newest_success_is_a_metric(ledger: Ledger, backup: Backup) -> None:
    text = (ledger.store.directory / "kv_erp_backup.prom").read_text()

    line = f"kv_erp_backup_last_success_timestamp_seconds {backup.end.timestamp():.0f}"
    assert line in text.splitlines()


def test_pruning_keeps_what_the_kept_backups_need(ledger: Ledger, tmp_path: Path) -> None:
    ledger.archived()
    newest = ledger.store.create(ledger.postgres.superuser_url)
    ledger.archived()

    ledger.store.prune(keep=1)

    assert [one.id for one in ledger.store.backups()] == [newest.id]
    assert min(ledger.store.wal.segments()) >= newest.start
    Restore(store=ledger.store, backup=newest, directory=tmp_path / "restored").run()


def run_script(*arguments: object) -> int:
    command = [sys.executable, "-I", "-S", archive_segment.__file__, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_a_segment_is_archived_once_and_never_replaced(tmp_path: Path) -> None:
    (archive := tmp_path / "wal").mkdir()
    (segment := tmp_path / "segment").write_bytes(os.urandom(1000))
    name = "000000010000000000000001"

    assert run_script("store", segment, archive, name) == 0
    assert run_script("store", segment, archive, name) == 0
    assert run_script("fetch", name, tmp_path / "back", archive) == 0
    assert (tmp_path / "back").read_bytes() == segment.read_bytes()
    segment.write_bytes(b"another history")
    assert run_script("store", segment, archive, name) == 1
    assert run_script("fetch", "0" * 24, tmp_path / "back", archive) == 1
    assert [file.name for file in archive.iterdir()] == [f"{name}.gz"]


def test_segments_are_numbered_over_the_file_names_carry() -> None:
    last = Segment.parse("0000000200000001000000FF")

    assert last == Segment(511, 2)
    assert Segment(512, 2).name == "000000020000000200000000"
    assert Segment.holding("1/FF000028", 2) == last
    assert first_gap(3, [3, 4, 6]) == 5
    assert first_gap(3, [3, 4, 5]) is None


def test_a_time_is_what_the_server_says_not_this_machine(backup: Backup) -> None:
    assert datetime.fromisoformat(backup.started_at) <= backup.end <= datetime.now(UTC)
