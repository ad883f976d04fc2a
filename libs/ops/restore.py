"""Makes a cluster out of a base backup and the archived log, as it was at one moment."""

import gzip
import json
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ops.backups import PARTS, Backup, BackupStore
from ops.errors import StackFailure
from ops.ports import HOST, Ports
from ops.postgres import ENVIRONMENT, account_for, give, postgres_binary
from ops.processes import Account, ProcessSpec, spawn_blocking, stop_blocking
from ops.programs import run_program
from ops.progress import Progress, quiet
from ops.sealed_files import SUFFIX

POLL_SECONDS = 0.1
_TOO_EARLY = "recovery ended before configured recovery target was reached"
_LAST = re.compile(r"last completed transaction was at log time (.+)")


@dataclass(frozen=True, kw_only=True)
class Restore:
    """What is to be restored, and where to.

    Attributes:
        store: where the backups are.
        backup: the base to begin with.
        directory: the new cluster's; it must not exist, or be empty.
        moment: everything that was committed up to then; None for all that is there.
        timeline: which history to follow, when there were several: "latest" or a number.
        tail: pg_wal of the lost server, if it can still be read: what was not archived yet.
        archiving: whether the new cluster goes on in the store's archive, as its own successor.
    """

    store: BackupStore
    backup: Backup
    directory: Path
    moment: datetime | None = None
    timeline: str = "latest"
    tail: Path | None = None
    archiving: bool = False

    def run(self, progress: Progress | None = None) -> str:
        """Restore; the time of the last transaction that is in it, as the server's log says it.

        Raises:
            StackFailure: the archive ends before `moment`, or something is damaged or in the way.
        """
        progress = progress or quiet()
        self._claim()
        fresh = self.directory.with_name(f"{self.directory.name}.restoring")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account = account_for(fresh)
        with progress.counting("Unpacking") as on_percent:
            unpack(self.store, self.backup, fresh, on_percent)
        with progress.step("Verifying"):
            run_program("pg_verifybackup", "--quiet", str(fresh))
        (fresh / "recovery.signal").touch()
        if account is not None:
            give_all(fresh, account)
        with progress.step("Replaying the log"):
            last = self._replay(fresh, account)
        if self.directory.exists():
            self.directory.rmdir()
        fresh.rename(self.directory)
        return last

    def _claim(self) -> None:
        if self.directory.exists() and any(self.directory.iterdir()):
            raise StackFailure(f"{self.directory} is not empty; nothing is restored over it.")
        folder = self.store.folder(self.backup.id)
        if {file.name.removesuffix(SUFFIX) for file in folder.iterdir()} - set(PARTS):
            raise StackFailure("The backup has tablespaces of its own; restore it by hand.")
        self.store.wal.check_keys(self.backup.start, self.store.keys)
        major = self.backup.server_version.split(".")[0]
        ours = run_program("postgres", "--version").split()[2].split(".")[0]
        if major != ours:
            raise StackFailure(f"The backup is of PostgreSQL {major}; {ours} is installed here.")

    def _replay(self, cluster: Path, account: Account | None) -> str:
        """Start the cluster, wait until it has replayed and begun a history of its own, stop it."""
        log = cluster.with_name(f"{cluster.name}.log")
        log.unlink(missing_ok=True)
        with Ports() as ports:
            port = ports.take("restore")
            server = ProcessSpec(
                name="postgres-restore",
                argv=(str(postgres_binary("postgres")), "-D", str(cluster), *self._options(port)),
                environment=ENVIRONMENT,
                log=log,
                account=account,
                directory=Path("/"),
            )
            with _running(server) as process:
                while not _accepts(port):
                    if process.poll() is not None:
                        raise self._failure(log.read_text(errors="replace"))
                    time.sleep(POLL_SECONDS)
        said = log.read_text(errors="replace")
        log.unlink()
        last = _LAST.search(said)
        return last[1].strip() if last else self.backup.finished_at

    def _options(self, port: int) -> Iterator[str]:
        """Settings for this one start, above all files: none of them stays."""
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "port": str(port),
            # Nobody reads half a recovery, and an accepted connection means that it is over.
            "hot_standby": "off",
            "restore_command": self.store.wal.fetch_command(self.tail),
            "recovery_target_action": "promote",
            "recovery_target_timeline": self.timeline,
            "synchronous_standby_names": "",
            "archive_mode": "on" if self.archiving else "off",
            "archive_command": self.store.wal.store_command(),
            "logging_collector": "off",
            "log_min_messages": "log",
        }
        if self.moment is not None:
            settings["recovery_target_time"] = self.moment.isoformat()
        for name, value in settings.items():
            yield from ("-c", f"{name}={value}")

    def _failure(self, said: str) -> StackFailure:
        if _TOO_EARLY in said:
            last = _LAST.search(said)
            when = last[1].strip() if last else "the end of the backup"
            return StackFailure(
                f"The archive's last transaction is of {when}, before the moment asked for;"
                " without a moment everything that is there is restored."
            )
        return StackFailure("Replaying the log failed.", "\n".join(said.splitlines()[-20:]))


def unpack(
    store: BackupStore, backup: Backup, cluster: Path, on_percent: Callable[[int], None]
) -> None:
    """Unpack the archives of a base backup into a cluster's directory, decrypted on the way.

    What is damaged raises before anything of its chunk is written; what was unpacked by then is
    removed with the unfinished cluster.
    """
    base, log, manifest = PARTS
    with store.part(backup, manifest) as source, (cluster / manifest).open("wb") as target:
        shutil.copyfileobj(source, target)
    total = sum(entry["Size"] for entry in json.loads((cluster / manifest).read_text())["Files"])
    done = 0
    for name, directory in ((base, cluster), (log, cluster / "pg_wal")):
        with (
            store.part(backup, name) as packed,
            gzip.open(packed) as content,
            tarfile.open(fileobj=content, mode="r|") as tar,
        ):
            for member in tar:
                tar.extract(member, directory, filter="data")
                done += member.size
                on_percent(min(100, 100 * done // total))


def give_all(directory: Path, account: Account) -> None:
    """Make a directory and all that is in it the account's own."""
    for path in (directory, *directory.rglob("*")):
        give(path, account)


@contextmanager
def _running(server: ProcessSpec) -> "Iterator[subprocess.Popen[bytes]]":
    process = spawn_blocking(server)
    try:
        yield process
    finally:
        if process.poll() is None:
            stop_blocking(server, process)


def _accepts(port: int) -> bool:
    """Whether the server accepts connections, which takes no password to find out."""
    try:
        run_program("pg_isready", f"--host={HOST}", f"--port={port}", "--timeout=1")
    except StackFailure:
        return False
    return True
