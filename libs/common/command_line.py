"""The command line that all services have: `python -m inventory server`, `worker`, `migrate`."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from common import process
from common.process import Stop
from common.settings import Settings, SettingsError, load_settings
from common.settings.jobs import QUEUES
from common.variables import seconds

__all__ = ["WorkerOptions", "service_command_line"]

_MOST_TRIES = 100
_SHORTEST_TIMEOUT_SECONDS = 0.1


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker process is to work on, and how."""

    # In this order: the first is emptied before the second is looked at. All of them when empty.
    queues: tuple[str, ...]
    tries: int
    timeout_seconds: float


Serve = Callable[[Settings, Stop], Coroutine[Any, Any, None]]
Work = Callable[[Settings, Stop, WorkerOptions], Coroutine[Any, Any, None]]
Migrate = Callable[[Settings], object]


def service_command_line(
    name: str, serve: Serve, work: Work, migrate: Migrate, arguments: Sequence[str] | None = None
) -> None:
    """Run the process that the command line asks for; wrong settings end it with a sentence."""
    options = _parser(name).parse_args(arguments)
    try:
        settings = load_settings()
        if options.command == "server":
            _server(name, serve, settings, options)
        elif options.command == "worker":
            _worker(name, work, settings, options)
        else:
            migrate(settings)
    except SettingsError as error:
        process.stop_misconfigured(error)


def _server(name: str, serve: Serve, settings: Settings, options: argparse.Namespace) -> None:
    settings = dataclasses.replace(settings, workers=options.workers or settings.workers)
    if settings.workers > 1:
        if settings.grpc_bind.port == 0:
            raise SettingsError(
                "More than one worker process needs a fixed port in KV_ERP_GRPC_BIND."
            )
        process.run_copies([sys.executable, "-m", name, "server"], settings)
    process.run(serve, settings, name)


def _worker(name: str, work: Work, settings: Settings, options: argparse.Namespace) -> None:
    worker_options = WorkerOptions(
        tuple(dict.fromkeys(options.queue)), options.tries, options.timeout
    )

    async def main(settings: Settings, stop: Stop) -> None:
        await work(settings, stop, worker_options)

    process.run(main, settings, f"{name}-worker")


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("server", help="serve gRPC")
    server.add_argument(
        "--workers", type=int, help="processes on one port (default: KV_ERP_WORKERS)"
    )
    worker = commands.add_parser("worker", help="apply events and run jobs")
    worker.add_argument(
        "--queue",
        type=_queues,
        action="extend",
        default=[],
        metavar="{high,default,low}",
        help="one or several, also as high,default; the first is emptied first; all if absent",
    )
    worker.add_argument(
        "--tries",
        type=_tries,
        default=3,
        help="failures before a job that says nothing itself is parked (default: 3)",
    )
    worker.add_argument(
        "--timeout",
        type=_seconds,
        default=60,
        help="seconds for one attempt of a job that says nothing itself (default: 60)",
    )
    commands.add_parser("migrate", help="bring the database to the newest schema")
    return parser


def _queues(text: str) -> list[str]:
    named = text.split(",")
    for name in named:
        if name not in QUEUES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(QUEUES)}")
    return named


def _tries(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _MOST_TRIES):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MOST_TRIES}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        return seconds(_SHORTEST_TIMEOUT_SECONDS)(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
