"""Streaming replicas of the embedded PostgreSQL."""

import shutil
from pathlib import Path

from ops.ports import HOST
from ops.postgres import SUPERUSER, EmbeddedPostgres, account_for, give
from ops.processes import ProcessSpec
from ops.programs import run_program

# What the primary keeps for a replica that is away for a while.
PRIMARY_SETTINGS = {"wal_keep_size": "256MB"}


class EmbeddedReplica(EmbeddedPostgres):
    """A replica of `primary`, made anew from it at each start; the primary has to run by then.

    Args:
        primary: what it follows.
        directory: where its copy lies; what was there is replaced.
        name: its name as a process, and in the primary's pg_stat_replication.
        port: where it listens; any free one without.
        log: its log file.
    """

    title = "PostgreSQL replica"

    def __init__(
        self,
        primary: EmbeddedPostgres,
        directory: Path,
        *,
        name: str = "postgres-replica-1",
        port: int | None = None,
        log: Path | None = None,
    ) -> None:
        self.name = name
        upstream = (
            f"host={HOST} port={primary.port} user={SUPERUSER} password={primary.password}"
            f" application_name={name}"
        )
        settings = {
            **primary.settings,
            "shared_buffers": "32MB",
            "cluster_name": name,
            "primary_conninfo": upstream,
            "wal_retrieve_retry_interval": "200ms",
            # The primary keeps the rows that a long read here still needs.
            "hot_standby_feedback": "on",
        }
        super().__init__(
            directory, port=port, password=primary.password, log=log, settings=settings
        )
        self._primary = primary

    def process(self) -> ProcessSpec:
        """The server as a process to supervise; call `prepare()` first."""
        return self._named(self.name)

    def make_cluster(self) -> None:
        """Copy the primary as it is now."""
        shutil.rmtree(self.directory, ignore_errors=True)
        copy_server(self._primary, self.directory)

    def has_cluster(self) -> bool:
        """Never: the primary may have lost what this one has, or have gone on without it."""
        return False


def copy_server(source: EmbeddedPostgres, directory: Path) -> None:
    """Copy a running server into a new directory, to be started as its standby."""
    directory.mkdir(mode=0o700, parents=True)
    account = account_for(directory)
    if account is not None:
        give(directory, account)
    run_program(
        "pg_basebackup",
        *(f"--pgdata={directory}", "--checkpoint=fast", "--wal-method=stream", "--no-sync"),
        url=source.superuser_url,
        account=account,
    )
    (directory / "standby.signal").touch()
    if account is not None:
        give(directory / "standby.signal", account)
