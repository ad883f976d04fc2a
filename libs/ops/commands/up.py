"""`kv-erp up`: the local stack in the foreground, until Ctrl-C."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.backups import BackupStore
from ops.commands.console import dev_directory, failures_as_sentences, out
from ops.errors import StackFailure
from ops.progress import Progress
from ops.stack import Stack

Fsync = Annotated[
    bool,
    typer.Option(
        envvar="KV_ERP_DEV_FSYNC",
        help="Whether commits wait for the disk. Without, a power cut loses data: for tests.",
    ),
]


def up(
    replicas: Annotated[
        int, typer.Option(min=0, max=4, help="PostgreSQL replicas that answer reads.")
    ] = 0,
    failover: Annotated[
        bool, typer.Option("--failover", help="A replica takes over when the primary dies.")
    ] = False,
    backups: Annotated[
        Path | None,
        typer.Option(help="Directory to archive the log in, for `kv-erp backup`; none if absent."),
    ] = None,
    backup_key: Annotated[
        Path | None,
        typer.Option(
            envvar="KV_ERP_BACKUP_KEY_FILE",
            help="File of the key to encrypt the log with, from `kv-erp backup key`.",
        ),
    ] = None,
    fsync: Fsync = True,
) -> None:
    """Start PostgreSQL, Valkey, every service, worker and the gateway; Ctrl-C stops them all."""
    with failures_as_sentences():
        if failover and not replicas:
            raise StackFailure("--failover needs --replicas of at least 1.")
        stack = Stack(
            dev_directory(),
            progress=Progress(out),
            replicas=replicas,
            failover=failover,
            fsync=fsync,
            backups=BackupStore(backups, backup_key) if backups else None,
        )
        interrupted = asyncio.run(_run(stack))
    if interrupted:
        raise typer.Exit(130)


async def _run(stack: Stack) -> bool:
    """Run until a signal; whether it came before the stack was ready."""
    stopping = asyncio.Event()

    def interrupt() -> None:
        if stopping.is_set():
            stack.hasten()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt)

    stopped = asyncio.create_task(stopping.wait())
    start = asyncio.create_task(stack.start())
    try:
        await asyncio.wait([start, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            return True
        start.result()
        _invite(stack.state)
        await stopped
        return False
    finally:
        start.cancel()
        await asyncio.wait([start])
        stopped.cancel()
        await stack.stop()


def _invite(state: dict[str, Any]) -> None:
    """Print the ready line, then what to try."""
    gateway = state["gateway"]
    token = state["tenants"]["acme"]["token"]
    for line in (
        "",
        f"ready {gateway}",
        "",
        "Try in another terminal:",
        "  make demo                     an order, from the customer to the ledger",
        f"  curl -H 'Authorization: Bearer {token}' {gateway}/api/v1/products",
        f"  {gateway}/api/docs",
        "  kv-erp mail list              what customers were written",
        "",
        "Ctrl-C stops everything.",
    ):
        out.out(line, highlight=False)
