"""One PostgreSQL server of several, which leads the others or follows the one that does."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from ops.errors import StackFailure
from ops.ports import HOST
from ops.postgres import SUPERUSER, EmbeddedPostgres, account_for, give
from ops.processes import ProcessSpec
from ops.programs import run_program
from ops.replica import PRIMARY_SETTINGS, copy_server


class Node(EmbeddedPostgres):
    """A server that can change its part. Its name is what others call it in replication."""

    title = "PostgreSQL"

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        port: int,
        password: str,
        log: Path,
        settings: Mapping[str, str],
    ) -> None:
        self.name = name
        own = {
            **settings,
            **PRIMARY_SETTINGS,
            "cluster_name": name,
            "wal_retrieve_retry_interval": "200ms",
            "hot_standby_feedback": "on",
            # There is no archive to recover from, only what it has itself.
            "restore_command": "false",
            # A walsender that hears nothing lets go of a standby that stands still.
            "wal_sender_timeout": "5s",
            "wal_receiver_timeout": "5s",
        }
        super().__init__(directory, port=port, password=password, log=log, settings=own)

    def process(self) -> ProcessSpec:
        """The server as a process to supervise."""
        return self._named(self.name)

    def prepare_to_lead(self) -> None:
        """Let it start as a primary that waits for nobody, with an empty cluster if it has none."""
        self.settings.pop("primary_conninfo", None)
        self.settings["synchronous_standby_names"] = ""
        self.prepare()
        following = self.directory / "standby.signal"
        if following.exists():
            # Recovery ends in a timeline of its own, by which others see where they parted.
            following.rename(self.directory / "recovery.signal")

    def prepare_to_follow(self, leader: "Node", *, anew: bool) -> None:
        """Let it start as a standby of `leader`; `anew`, or because it must be, as a copy of it.

        Raises:
            StackFailure: the leader does not answer, or could not be copied.
        """
        self._await_predecessor()
        if not leader.is_ready():
            raise StackFailure(f"{self.name} waits for {leader.name}.")
        if anew:
            self._copy(leader)
        elif not (self.directory / "standby.signal").exists():
            # It was the primary once: whatever it has that the leader has not is undone.
            try:
                self._rewind(leader)
            except StackFailure:
                self._copy(leader)
        self.settings["synchronous_standby_names"] = ""
        self.settings["primary_conninfo"] = (
            f"host={HOST} port={leader.port} user={SUPERUSER} password={self.password}"
            f" application_name={self.name}"
        )
        self._write_settings()
        self._give_new("standby.signal")

    def wait_for(self, standbys: Collection[str]) -> None:
        """From the next reload on, let each commit wait until one of these standbys has it."""
        self.settings["synchronous_standby_names"] = standby_names(standbys)
        self._write_settings()

    def _copy(self, leader: "Node") -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        copy_server(leader, self.directory)

    def _rewind(self, leader: "Node") -> None:
        if not self.has_cluster():
            raise StackFailure(f"{self.name} has no cluster yet.")
        run_program(
            "pg_rewind",
            f"--target-pgdata={self.directory}",
            f"--source-server=host={HOST} port={leader.port} user={SUPERUSER} dbname=postgres",
            url=leader.superuser_url,
            account=account_for(self.directory),
        )

    def _give_new(self, name: str) -> None:
        file = self.directory / name
        file.touch()
        account = account_for(self.directory)
        if account is not None:
            give(file, account)


def standby_names(standbys: Collection[str]) -> str:
    """The value of synchronous_standby_names by which any one of these has to confirm."""
    if not standbys:
        return ""
    quoted = (f'"{name}"' for name in sorted(standbys))
    return f"ANY 1 ({', '.join(quoted)})"
