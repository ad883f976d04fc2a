"""Base backups of a PostgreSQL server and the log since then, in one directory."""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any

import psycopg

from ops.backup_keys import BackupKeys, needed
from ops.errors import StackFailure
from ops.files import read_json, write_json
from ops.programs import run_program
from ops.progress import Progress, quiet
from ops.sealed_files import SUFFIX, Unsealed, seal
from ops.wal import Segment, WalArchive

PARTS = ("base.tar.gz", "pg_wal.tar.gz", "backup_manifest")
_ID = "%Y%m%dT%H%M%SZ"
_MANIFEST = "backup_manifest"
_METRIC = "kv_erp_backup_last_success_timestamp_seconds"


@dataclass(frozen=True, kw_only=True)
class Backup:
    """One base backup: everything that a server held at `finished_at`, by the server's clock."""

    id: str
    started_at: str
    finished_at: str
    timeline: int
    first_segment: str
    bytes: int
    server_version: str
    databases: list[str]
    # Whether the server archived its log; without, the backup can be restored to its end only.
    archiving: bool
    # With which key it is encrypted; empty when it is not.
    key_id: str = ""

    @property
    def start(self) -> Segment:
        """The first segment of the log that restoring needs."""
        segment = Segment.parse(self.first_segment)
        assert segment is not None
        return segment

    @property
    def end(self) -> datetime:
        """The earliest moment to which it can be restored."""
        return datetime.fromisoformat(self.finished_at)


class BackupStore:
    """A directory of base backups (`base/`) and archived log (`wal/`).

    A backup holds every row and the hashes of the roles' passwords: guard the directory as the
    server itself, or name a `key_file`, under whose first key all that is written is encrypted. It
    holds no key and no password in clear, and its names tell none.
    """

    def __init__(self, directory: Path, key_file: Path | None = None) -> None:
        self.directory = directory.absolute()
        self.key_file = key_file.absolute() if key_file else None
        self.keys = BackupKeys.read(key_file) if key_file else None
        self.wal = WalArchive(self.directory / "wal", self.key_file)

    def folder(self, backup_id: str) -> Path:
        """Where a backup lies."""
        return self.directory / "base" / backup_id

    def _details(self, backup_id: str) -> Path:
        return self.directory / "base" / f"{backup_id}.json"

    def prepare(self) -> None:
        """Make the directory, closed to others, and its archive."""
        (self.directory / "base").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.wal.prepare()

    def backups(self) -> list[Backup]:
        """All complete backups, the oldest first."""
        files = sorted((self.directory / "base").glob("[0-9]*.json"))
        return [Backup(**read_json(file)) for file in files if file.with_suffix("").is_dir()]

    def get(self, backup_id: str) -> Backup:
        """A backup by its id; a StackFailure if there is none."""
        for backup in self.backups():
            if backup.id == backup_id:
                return backup
        raise StackFailure(f"There is no backup {backup_id} in {self.directory}.")

    def before(self, moment: datetime | None) -> Backup:
        """The newest backup that ended by `moment`; a StackFailure if there is none."""
        backups = [one for one in self.backups() if moment is None or one.end <= moment]
        if not backups:
            when = f" that ended by {moment.isoformat()}" if moment else ""
            raise StackFailure(f"There is no backup{when} in {self.directory}.")
        return backups[-1]

    def create(self, url: str, progress: Progress | None = None) -> Backup:
        """Copy the server at `url` (of a superuser or a replication role) and verify the copy."""
        self.prepare()
        with self.alone():
            return self._create(url, progress or quiet())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who changes what is kept, and remove what somebody killed left behind."""
        if not (self.directory / "base").is_dir():
            raise StackFailure(f"There is no backup in {self.directory}.")
        with (self.directory / "base" / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                sentence = f"Another backup, copy or removal is under way in {self.directory}."
                raise StackFailure(sentence) from error
            for left in (self.directory / "base").glob(".[0-9]*"):
                shutil.rmtree(left)
            yield

    def _create(self, url: str, progress: Progress) -> Backup:
        about = _about(url) | {"key_id": self._key_for_new()}
        backup_id = time.strftime(_ID, time.gmtime())
        unfinished = self.directory / "base" / f".{backup_id}"
        try:
            with progress.counting("Copying") as on_percent:
                run_program(
                    "pg_basebackup",
                    *(f"--pgdata={unfinished}", "--format=tar", "--compress=client-gzip:1"),
                    *("--wal-method=stream", "--checkpoint=fast", "--progress"),
                    f"--label=kv-erp {backup_id}",
                    url=url,
                    on_percent=on_percent,
                )
            with progress.step("Verifying"):
                verify_tar(unfinished)
            backup = _described(backup_id, unfinished, about, _clock(url))
            if self.keys:
                with progress.step("Encrypting"):
                    seal_all(unfinished, self.keys, backup_id)
            write_json(self._details(backup_id), asdict(backup))
            unfinished.rename(self.folder(backup_id))
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        self.write_metrics()
        return backup

    def verify(self, backup: Backup) -> None:
        """Compare every byte with the manifest, and look for gaps in the archived log since.

        Raises:
            StackFailure: says what is damaged or lacking.
        """
        if backup.key_id:
            for name in PARTS:
                with self.part(backup, name) as whole:
                    while whole.read(1 << 20):
                        pass
        else:
            verify_tar(self.folder(backup.id))
        self.wal.check_keys(backup.start, self.keys)
        gap = self.wal.first_gap_after(backup.start) if backup.archiving else None
        if gap is not None:
            name = Segment(gap, backup.timeline).name
            raise StackFailure(
                f"The archive lacks segment {name[8:]}: nothing after it can be had."
            )

    @contextmanager
    def part(self, backup: Backup, name: str) -> Iterator[BufferedReader]:
        """One file of a backup, decrypted as it is read; a StackFailure if it is not there."""
        file = self.folder(backup.id) / (f"{name}{SUFFIX}" if backup.key_id else name)
        try:
            source = file.open("rb")
        except FileNotFoundError as error:
            raise StackFailure(f"Backup {backup.id} lacks {file.name}.") from error
        with source:
            sealed_as = f"{backup.id}/{name}"
            if backup.key_id:
                source = BufferedReader(Unsealed(source, needed(self.keys), sealed_as))
            yield source

    def _key_for_new(self) -> str:
        """The id of the key for a new backup; a StackFailure where only earlier ones had one."""
        if self.keys is None and any(one.key_id for one in self.backups()[-1:]):
            needed(self.keys)
        return self.keys.first.hex() if self.keys else ""

    def prune(self, keep: int) -> list[Backup]:
        """Remove all but the newest `keep` backups, and the log that no kept one needs."""
        with self.alone():
            return self.prune_alone(keep)

    def prune_alone(self, keep: int) -> list[Backup]:
        """`prune` for who is `alone()` already."""
        backups = self.backups()
        dropped, kept = backups[: max(0, len(backups) - keep)], backups[-keep:]
        for backup in dropped:
            doomed = self.folder(backup.id).with_name(f".{backup.id}.dropped")
            self.folder(backup.id).rename(doomed)
            shutil.rmtree(doomed)
            self._details(backup.id).unlink()
        if dropped:
            self.wal.remove_before(min(backup.start for backup in kept))
        return dropped

    def write_metrics(self) -> None:
        """Tell node_exporter's textfile collector when the last backup succeeded."""
        newest = self.backups()[-1]
        lines = (
            f"# HELP {_METRIC} When the last base backup was complete and verified.",
            f"# TYPE {_METRIC} gauge",
            f"{_METRIC} {newest.end.timestamp():.0f}",
            "# HELP kv_erp_backup_last_success_bytes Compressed size of that backup.",
            "# TYPE kv_erp_backup_last_success_bytes gauge",
            f"kv_erp_backup_last_success_bytes {newest.bytes}",
        )
        self.tell("kv_erp_backup.prom", lines)

    def tell(self, name: str, lines: Iterable[str]) -> None:
        """Leave metrics for node_exporter's textfile collector, in one step."""
        fresh = self.directory / f".{name}"
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(self.directory / name)


def verify_tar(folder: Path) -> None:
    """Compare a base backup with its manifest; a StackFailure says what is damaged."""
    # The log in pg_wal.tar is checked by restoring: the program reads none from a tar file.
    run_program("pg_verifybackup", "--format=tar", "--no-parse-wal", "--quiet", str(folder))


def seal_all(folder: Path, keys: BackupKeys, backup_id: str) -> None:
    """Encrypt every file of a base backup, and leave none of them in clear."""
    for file in sorted(folder.iterdir()):
        with file.open("rb") as source, file.with_name(f"{file.name}{SUFFIX}").open("wb") as target:
            seal(source, target, keys, f"{backup_id}/{file.name}")
            os.fsync(target.fileno())
        file.unlink()


def _about(url: str) -> dict[str, Any]:
    """What a server says of itself before it is copied."""
    query = """
        SELECT clock_timestamp(), current_setting('server_version'),
               current_setting('archive_mode') <> 'off',
               (SELECT array_agg(datname::text ORDER BY datname) FROM pg_database
                WHERE NOT datistemplate AND datname <> 'postgres')
    """
    started_at, version, archiving, databases = _ask(url, query)
    return {
        "started_at": started_at.astimezone(UTC).isoformat(),
        "server_version": re.split(r"\s", version)[0],
        "archiving": archiving,
        "databases": databases or [],
    }


def _clock(url: str) -> str:
    (now,) = _ask(url, "SELECT clock_timestamp()")
    return str(now.astimezone(UTC).isoformat())


def _ask(url: str, query: str) -> tuple[Any, ...]:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as server:
            row = server.execute(query.encode()).fetchone()
    except psycopg.Error as error:
        raise StackFailure(f"The server cannot be asked: {' '.join(str(error).split())}") from error
    assert row is not None
    return row


def _described(backup_id: str, folder: Path, about: dict[str, Any], finished_at: str) -> Backup:
    (written,) = json.loads((folder / _MANIFEST).read_text())["WAL-Ranges"][:1]
    timeline = int(written["Timeline"])
    return Backup(
        id=backup_id,
        finished_at=finished_at,
        timeline=timeline,
        first_segment=Segment.holding(written["Start-LSN"], timeline).name,
        bytes=sum(file.stat().st_size for file in folder.iterdir()),
        **about,
    )
