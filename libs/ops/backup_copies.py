"""A second place for backups: everything that a store holds, file by file, and with its own age."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.backups import Backup, BackupStore
from ops.errors import StackFailure
from ops.files import write_json
from ops.progress import Progress, quiet
from ops.wal import stored_segment

_METRIC = "kv_erp_backup_last_copy_timestamp_seconds"


@dataclass(frozen=True)
class Copied:
    """What one round of copying has brought to the other place."""

    backups: list[str]
    log_files: int
    removed: list[str]


@dataclass(frozen=True)
class BackupCopy:
    """Keeps the newest `keep` backups of a store, and the log since, in another directory as well.

    The copy is a store itself: it can be listed, verified and restored from. What is there is not
    read again and never replaced. It needs no key; what is encrypted stays so.
    """

    store: BackupStore
    elsewhere: BackupStore
    keep: int

    def begin(self) -> None:
        """Make the directory of a copy that is to be."""
        self.elsewhere.prepare()

    def run(self, progress: Progress | None = None) -> Copied:
        """Copy what is not there yet, then remove what is older than the newest `keep` backups.

        Raises:
            StackFailure: nothing was ever begun there: what should be mounted may not be.
        """
        progress = progress or quiet()
        if self.elsewhere.directory.resolve() == self.store.directory.resolve():
            raise StackFailure(f"{self.store.directory} is the store itself: --to another place.")
        if not (self.elsewhere.directory / "base").is_dir():
            raise StackFailure(
                f"There is no copy of backups in {self.elsewhere.directory}: if all that should be"
                " mounted there is, say --begin once."
            )
        with self.store.alone(), self.elsewhere.alone():
            there = {backup.id for backup in self.elsewhere.backups()}
            fresh = [one for one in self.store.backups()[-self.keep :] if one.id not in there]
            with progress.step(f"Backups: {len(fresh)}"):
                for backup in fresh:
                    self._copy(backup)
            files = list(self._log_files())
            with progress.step(f"Files of the log: {len(files)}"):
                for file in files:
                    _copy_whole(file, self.elsewhere.wal.directory)
            removed = self.elsewhere.prune_alone(self.keep)
        if self.elsewhere.backups():
            self.elsewhere.write_metrics()
        self._write_metric()
        return Copied([one.id for one in fresh], len(files), [one.id for one in removed])

    def _write_metric(self) -> None:
        lines = (
            f"# HELP {_METRIC} When the second place last had all that there was.",
            f"# TYPE {_METRIC} gauge",
            f"{_METRIC} {time.time():.0f}",
        )
        self.store.tell("kv_erp_backup_copy.prom", lines)

    def _copy(self, backup: Backup) -> None:
        folder = self.elsewhere.folder(backup.id)
        unfinished = folder.with_name(f".{backup.id}")
        unfinished.mkdir(mode=0o700)
        for file in self.store.folder(backup.id).iterdir():
            _copy_whole(file, unfinished)
        write_json(folder.with_suffix(".json"), asdict(backup))
        unfinished.rename(folder)

    def _log_files(self) -> Iterator[Path]:
        """What the kept backups need of the log, and histories; all while there is no backup."""
        kept = self.elsewhere.backups()[-self.keep :]
        first = min((backup.start.number for backup in kept), default=0)
        for file in self.store.wal.files():
            segment = stored_segment(file)
            is_needed = segment is None or segment.number >= first
            if is_needed and not (self.elsewhere.wal.directory / file.name).exists():
                yield file


def _copy_whole(file: Path, directory: Path) -> None:
    """Copy a file, complete and on disk or not at all."""
    fresh = directory / f".{file.name}"
    with file.open("rb") as source, fresh.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    fresh.rename(directory / file.name)
