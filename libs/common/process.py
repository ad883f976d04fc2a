"""The life of a process: how it starts, is told to stop, and runs in several copies."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, NoReturn

import uvloop

from common import logging, loop_lag, metrics, spans
from common.rpc_policy import PolicyError
from common.settings import Address, Settings, SettingsError

__all__ = ["EXIT_MISCONFIGURED", "Stop", "run", "run_copies"]

# EX_CONFIG of sysexits.h: starting again would not help.
EXIT_MISCONFIGURED = 78
_RESTART_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


class Stop:
    """Whether the process has been asked to stop, and whether it was asked twice."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hastened = asyncio.Event()

    def request(self) -> None:
        """Ask to stop, or when that has been asked, to make haste."""
        (self.hastened if self.requested.is_set() else self.requested).set()

    async def wait(self) -> None:
        """Wait until the process is to stop."""
        await self.requested.wait()


def run(
    main: Callable[[Settings, Stop], Coroutine[Any, Any, None]], settings: Settings, name: str
) -> None:
    """Run a process until its main function returns; SIGTERM and Ctrl-C ask it to.

    Args:
        main: gets the settings and the `Stop` that it is to wait for.
        settings: what the environment says.
        name: the process in the logs, such as "sales-worker".
    """
    logging.configure(settings, name)
    for sentence in settings.explanations():
        logging.say(sentence)
    metrics.expose(settings.metrics_bind, name)
    try:
        spans.start(settings, name)
    except SettingsError as error:
        stop_misconfigured(error)
    # What is loaded by now stays, and requests leave little in cycles: the collector need not look
    # at everything every 700 objects.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        uvloop.run(_until_stopped(main, settings))
    except (SettingsError, PolicyError) as error:
        stop_misconfigured(error)
    finally:
        spans.stop()


def stop_misconfigured(error: Exception) -> NoReturn:
    """End the process with what is wrong on standard error, and the status that says so."""
    sys.stderr.write(f"{error}\n")
    sys.exit(EXIT_MISCONFIGURED)


async def _until_stopped(
    main: Callable[[Settings, Stop], Coroutine[Any, Any, None]], settings: Settings
) -> None:
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.request)
    watching = asyncio.create_task(loop_lag.watch())
    try:
        await main(settings, stop)
    finally:
        watching.cancel()


def run_copies(command: list[str], settings: Settings) -> None:
    """Run a command in `settings.workers` processes that share the gRPC port, until told to stop.

    One that dies is started again, at most once a second. When one ends with EXIT_MISCONFIGURED,
    so do all.
    """
    copies = _Copies(command, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, copies.stop)
    sys.exit(copies.watch())


class _Copy(NamedTuple):
    """One of several processes of one command."""

    number: int
    started: float
    process: subprocess.Popen[bytes]


class _Copies:
    """Several processes of one command."""

    def __init__(self, command: list[str], settings: Settings) -> None:
        self._command = command
        self._settings = settings
        self._running: dict[int, _Copy] = {}
        self._stopping = False

    def watch(self) -> int:
        """Start all and keep them running; the exit status when all have ended."""
        status = 0
        for index in range(self._settings.workers):
            self._start(index)
        while self._running:
            pid, ended = os.wait()
            copy = self._running.pop(pid)
            copy.process.returncode = code = os.waitstatus_to_exitcode(ended)
            if code == EXIT_MISCONFIGURED:
                status = code
                self.stop(signal.SIGTERM)
            self._replace(copy, code)
        return status

    def stop(self, number: int, _frame: object = None) -> None:
        """Pass the signal on; who ends now is not started again."""
        self._stopping = True
        for pid in self._running:
            # It may have ended by itself just now.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _replace(self, copy: "_Copy", code: int) -> None:
        if self._stopping:
            return
        sys.stderr.write(f"process {copy.number} ended with {code}; starting another\n")
        time.sleep(max(copy.started + _RESTART_SECONDS - time.monotonic(), 0))
        self._start(copy.number)

    def _start(self, index: int) -> None:
        if self._stopping:
            return
        process = subprocess.Popen(  # noqa: S603 (our own command line)
            self._command,
            env=self._environment(index),
            preexec_fn=_end_with_parent,  # noqa: PLW1509 (there is one thread here)
        )
        self._keep(_Copy(index, time.monotonic(), process))

    def _keep(self, copy: _Copy) -> None:
        self._running[copy.process.pid] = copy
        # The signal may have come before there was anybody to pass it on to.
        if self._stopping:
            self.stop(signal.SIGTERM)

    def _environment(self, index: int) -> dict[str, str]:
        own = {"KV_ERP_WORKERS": "1", "KV_ERP_SHARED_PORT": "1"}
        bind = self._settings.metrics_bind
        if bind is not None and bind.port:
            own["KV_ERP_METRICS_BIND"] = str(Address(bind.host, bind.port + index))
        return {**os.environ, **own}


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
