"""One child process: how it is started, and how it is made to end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

LAUNCH = Path(__file__).with_name("launch.py")
GRACE_SECONDS = 15.0


@dataclass(frozen=True)
class Account:
    """The user that a process runs as when that isn't ours."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A process as data: what to run, with what environment, and how to end it."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    # Tried in turn, `grace_seconds` apart.
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)
    grace_seconds: float = GRACE_SECONDS
    # What the kernel sends when the parent dies without stopping it.
    orphan_signal: signal.Signals = signal.SIGKILL
    account: Account | None = None
    directory: Path = field(default_factory=Path.cwd)

    @property
    def launch_argv(self) -> list[str]:
        """The command line that starts it as a child of this process."""
        account = f"{self.account.uid}:{self.account.gid}" if self.account else "-"
        parent = str(os.getpid())
        launcher = [sys.executable, "-I", "-S", str(LAUNCH), parent, str(int(self.orphan_signal))]
        return [*launcher, account, *self.argv]

    def rotate_log(self) -> None:
        """Begin a new log file, keeping the last one as `.log.1`."""
        if self.log.exists():
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))

    def open_log(self) -> IO[bytes]:
        """The log file, to be written at its end."""
        return self.log.open("ab")

    def note(self, text: str) -> None:
        """Write a line of ours into the log."""
        with self.open_log() as log:
            log.write(f"{text.strip()}\n".encode())

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log, empty if there is none."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def spawn_blocking(spec: ProcessSpec) -> subprocess.Popen[bytes]:
    """Start `spec` without an event loop.

    The kernel ends it with the thread that called, so that has to be one that stays.
    """
    with spec.open_log() as log:
        return subprocess.Popen(
            spec.launch_argv,
            env=dict(spec.environment),
            cwd=spec.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def stop_blocking(spec: ProcessSpec, process: subprocess.Popen[bytes]) -> None:
    """Send the stop signals in turn until the process has ended."""
    for stop_signal in spec.stop_signals:
        process.send_signal(stop_signal)
        try:
            process.wait(spec.grace_seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    process.wait()


class Process:
    """One run of a spec. Starts in the event loop's thread, which must be the main one."""

    def __init__(self, spec: ProcessSpec, child: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self.pid = child.pid
        self._child = child
        self._started = time.monotonic()

    @classmethod
    async def spawn(cls, spec: ProcessSpec, *, capture: bool = False) -> Self:
        """Start `spec`; with `capture`, its stdout is kept for `output()` instead of logged."""
        with spec.open_log() as log:
            child = await asyncio.create_subprocess_exec(
                *spec.launch_argv,
                env=dict(spec.environment),
                cwd=spec.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else log,
                stderr=log,
                # Ctrl-C in the terminal reaches the supervisor alone, which knows the order.
                start_new_session=True,
            )
        return cls(spec, child)

    @property
    def age_seconds(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self._started

    async def wait(self) -> int:
        """Wait until it has ended; its exit code, or minus the signal."""
        return await self._child.wait()

    async def output(self) -> bytes:
        """Read its stdout to the end, then wait as `wait` does."""
        output, _ = await self._child.communicate()
        return output

    @property
    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL, which is no doing of its own."""
        return self.exit_code == -signal.SIGKILL

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.returncode

    async def stop(self, hasten: asyncio.Event | None = None) -> None:
        """End it by its stop signals in turn; `hasten` skips what is left of the current grace."""
        for stop_signal in self.spec.stop_signals:
            self._signal(stop_signal)
            if await self._ended_within(self.spec.grace_seconds, hasten):
                break
        await self.wait()
        self.sweep()

    def sweep(self) -> None:
        """Kill what an ended process left of its own group (processes that it had started)."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def _signal(self, number: signal.Signals) -> None:
        try:
            self._child.send_signal(number)
        except ProcessLookupError:
            return

    async def _ended_within(self, seconds: float, hasten: asyncio.Event | None) -> bool:
        waits = [asyncio.ensure_future(self.wait())]
        if hasten is not None and not hasten.is_set():
            waits.append(asyncio.ensure_future(_true_when(hasten)))
        try:
            # Once hastened, only the last signal is worth a wait; a moment for the ones before it.
            limit = seconds if hasten is None or not hasten.is_set() else min(seconds, 1.0)
            await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            return waits[0].done()
        finally:
            for wait in waits:
                wait.cancel()


async def _true_when(event: asyncio.Event) -> int:
    await event.wait()
    return 1
