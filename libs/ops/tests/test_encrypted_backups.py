"""Encrypted backups: only the key opens them, no byte can be changed, and a copy is as good."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ops import archive_segment
from ops.archive_segment import SEALED
from ops.backups import PARTS, Backup, BackupStore
from ops.errors import StackFailure
from ops.main import app
from ops.postgres import UNSYNCED, EmbeddedPostgres
from ops.restore import Restore
from ops.tests.ledger import Ledger, entries


def key_file(folder: Path) -> Path:
    made = kv_erp("key", str(folder / "key"))
    assert made.exit_code == 0, made.stderr
    return folder / "key"


def kv_erp(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["backup", *arguments])


@dataclass
class Kept:
    """A backup whose log goes on: what was written before it, after it, and after all."""

    ledger: Ledger
    backup: Backup
    key: Path

    @property
    def store(self) -> BackupStore:
        return self.ledger.store

    def with_key(self, key: Path | None) -> BackupStore:
        return BackupStore(self.store.directory, key)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("sealed")
    key = key_file(folder)
    store = BackupStore(folder / "it's 100% ours", key)
    store.prepare()
    settings = {**store.wal.server_settings(300), **UNSYNCED}
    with EmbeddedPostgres(folder / "postgres", settings=settings) as postgres:
        ledger = Ledger(postgres, store)
        ledger.write("before")
        backup = store.create(postgres.superuser_url)
        ledger.write("after")
        ledger.archived()
        yield Kept(ledger, backup, key)


@pytest.fixture
def other_key(tmp_path: Path) -> Path:
    return key_file(tmp_path)


def test_everything_that_holds_data_is_sealed_and_all_of_it_comes_back(
    kept: Kept, tmp_path: Path
) -> None:
    files = [*kept.store.folder(kept.backup.id).iterdir(), *kept.store.wal.files()]
    verified = kv_erp("verify", f"--store={kept.store.directory}", f"--key-file={kept.key}")
    Restore(store=kept.store, backup=kept.backup, directory=tmp_path / "restored").run()

    assert verified.exit_code == 0, verified.stderr
    assert {file.read_bytes()[:8] for file in files} == {b"KVERP-B1"}
    assert len(files) > len(PARTS)
    assert entries(tmp_path / "restored", kept.ledger) == ["before", "after"]


@pytest.mark.parametrize("command", ["verify", "restore"])
def test_a_wrong_key_and_none_are_refused_in_one_sentence(
    kept: Kept, other_key: Path, tmp_path: Path, command: str
) -> None:
    into = [f"--into={tmp_path / 'restored'}"] if command == "restore" else []
    asked = (command, *into, f"--store={kept.store.directory}")

    wrong, none = kv_erp(*asked, f"--key-file={other_key}"), kv_erp(*asked)

    assert (wrong.exit_code, none.exit_code) == (1, 1)
    assert f"was encrypted with key {kept.backup.key_id}, but" in sentence(wrong)
    assert "is encrypted: name the file of its key with --key-file" in sentence(none)
    assert not (tmp_path / "restored").exists()


def sentence(result: Result) -> str:
    """What was told after the steps: one line that begins with `error:`."""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in result.stderr
    return line


def test_a_backup_goes_on_being_read_with_its_old_key_below_a_new_one(
    kept: Kept, other_key: Path
) -> None:
    both = other_key.with_name("both")
    both.write_text(other_key.read_text() + kept.key.read_text())

    kept.with_key(both).verify(kept.backup)


def test_no_plain_backup_is_made_by_who_forgets_the_key(kept: Kept) -> None:
    with pytest.raises(StackFailure, match="is encrypted: name the file of its key"):
        kept.with_key(None).create(kept.ledger.postgres.superuser_url)


@pytest.mark.parametrize("harm", ["a changed byte", "a cut", "another backup's file", "no file"])
def test_what_was_changed_is_found(kept: Kept, tmp_path: Path, harm: str) -> None:
    store = BackupStore(tmp_path / "harmed", kept.key)
    shutil.copytree(kept.store.directory, store.directory)
    base, log, _ = (store.folder(kept.backup.id) / f"{name}.sealed" for name in PARTS)
    content = bytearray(base.read_bytes())
    match harm:
        case "a changed byte":
            content[len(content) // 2] ^= 1
            base.write_bytes(content)
        case "a cut":
            # Exactly behind a chunk: only that the last one is not marked as such tells.
            base.write_bytes(content[: 48 + (1 << 20) + 16])
        case "another backup's file":
            base.write_bytes(log.read_bytes())
        case "no file":
            base.unlink()

    with pytest.raises(StackFailure, match=r"is damaged, or is not the file|lacks base"):
        store.verify(kept.backup)


def test_a_damaged_segment_ends_a_restore_with_an_error_not_early(
    kept: Kept, tmp_path: Path
) -> None:
    store = BackupStore(tmp_path / "harmed", kept.key)
    shutil.copytree(kept.store.directory, store.directory)
    last = max(store.wal.files())
    last.write_bytes(last.read_bytes()[:-1])

    with pytest.raises(StackFailure, match="Replaying the log failed"):
        Restore(store=store, backup=kept.backup, directory=tmp_path / "restored").run()


@pytest.mark.parametrize("key", ["/no/such/key", ""])
def test_a_segment_whose_key_cannot_be_had_is_no_end_of_the_log(
    kept: Kept, tmp_path: Path, key: str
) -> None:
    segment = max(kept.store.wal.files()).name.removesuffix(SEALED)
    options = ["--key-file", key] if key else []
    command = [sys.executable, "-I", archive_segment.__file__, *options, "fetch", segment]

    done = subprocess.run(
        [*command, tmp_path / "segment", kept.store.wal.directory], capture_output=True, check=False
    )

    assert (done.returncode, (tmp_path / "segment").exists()) == (126, False)


def test_a_copy_elsewhere_is_made_step_by_step_and_restores_alone(
    kept: Kept, tmp_path: Path
) -> None:
    to = [f"--store={kept.store.directory}", f"--to={tmp_path / 'mount'}", "--json"]
    unmounted = kv_erp("copy", *to)
    first, again = kv_erp("copy", "--begin", *to), kv_erp("copy", *to)
    copy = BackupStore(tmp_path / "mount", kept.key)
    copy.verify(kept.backup)
    Restore(store=copy, backup=kept.backup, directory=tmp_path / "restored").run()

    assert (unmounted.exit_code, "say --begin once" in unmounted.stderr) == (1, True)
    assert json.loads(first.stdout)["backups"] == [kept.backup.id]
    assert json.loads(again.stdout) == {"backups": [], "log_files": 0, "removed": []}
    told = (kept.store.directory / "kv_erp_backup_copy.prom").read_text()
    assert "\nkv_erp_backup_last_copy_timestamp_seconds " in told
    assert entries(tmp_path / "restored", kept.ledger) == ["before", "after"]


def test_a_copy_keeps_its_own_number_of_backups(kept: Kept, tmp_path: Path) -> None:
    store = BackupStore(tmp_path / "store", kept.key)
    shutil.copytree(kept.store.directory, store.directory)
    to = [f"--store={store.directory}", f"--to={tmp_path / 'mount'}", "--keep=1", "--json"]
    kv_erp("copy", "--begin", *to)
    # Its name is its age; what it holds does not matter here.
    newer = kept.backup.id.replace("20", "21", 1)
    shutil.copytree(store.folder(kept.backup.id), store.folder(newer))
    details = json.loads(store.folder(kept.backup.id).with_suffix(".json").read_text())
    store.folder(newer).with_suffix(".json").write_text(json.dumps(details | {"id": newer}))

    done = json.loads(kv_erp("copy", *to).stdout)

    assert (done["backups"], done["removed"]) == ([newer], [kept.backup.id])
    assert [one.id for one in BackupStore(tmp_path / "mount").backups()] == [newer]


@pytest.mark.parametrize("content", ["", "short\n", "c2hvcnQ=\n", "\0\n"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)

    with pytest.raises(StackFailure, match="must hold a key of 32 bytes in base64"):
        BackupStore(tmp_path, tmp_path / "key")
