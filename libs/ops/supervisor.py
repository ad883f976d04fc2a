"""Keeps processes running: starts them in groups, restarts what dies, stops in reverse order."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ops.errors import StackFailure
from ops.processes import Process, ProcessSpec
from ops.together import together

T = TypeVar("T")

# A process that lived shorter than this probably cannot start: it is restarted ever more slowly,
# unless somebody killed it.
STEADY_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
RETRY_SECONDS = 0.5


def restart_delay_seconds(early_deaths: int) -> float:
    """How long to wait before a restart, after so many early deaths in a row.

    The first restarts come within a second, so that a process killed twice is back at once.
    """
    if early_deaths <= 1:
        return 0.0
    doublings = min(early_deaths - 2, 16)
    return min(FIRST_DELAY_SECONDS * float(2**doublings), LONGEST_DELAY_SECONDS)


class ProcessExited(StackFailure):
    """A process that had to keep running ended while the stack was starting."""

    def __init__(self, process: Process) -> None:
        code = process.exit_code
        killed = code is not None and code < 0
        how = f"was killed by signal {-(code or 0)}" if killed else f"ended with exit code {code}"
        super().__init__(
            f"{process.spec.name} {how} ({process.spec.log}).", process.spec.log_tail()
        )


class Keeper:
    """Owns one spec: at most one process of it runs, and none after `stop`."""

    def __init__(
        self,
        spec: ProcessSpec,
        supervisor: "Supervisor",
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.spec = spec
        self._before = before
        self.pid: int | None = None
        self._supervisor = supervisor
        self._stopping = asyncio.Event()
        self._spawned = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(), name=f"keep {spec.name}")

    async def spawned(self) -> None:
        """Wait for the first process, or raise what kept it from starting."""
        await asyncio.wait([self._spawned, self._task], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """End the process and wait for it."""
        self._stopping.set()
        await self._task

    async def _keep(self) -> None:
        early_deaths = 0
        while not self._stopping.is_set():
            if not await self._prepared():
                await self._pause(RETRY_SECONDS)
                continue
            process = await Process.spawn(self.spec)
            self._announce(process.pid)
            if await self._ended(process):
                process.sweep()
                if not self._supervisor.may_restart(process):
                    break
                is_early = process.age_seconds < STEADY_SECONDS and not process.was_killed
                early_deaths = early_deaths + 1 if is_early else 0
                await self._pause(restart_delay_seconds(early_deaths))
            else:
                await process.stop(self._supervisor.hasten)
        self.pid = None

    async def _prepared(self) -> bool:
        """Whether what has to come before a start has succeeded; the log says why not."""
        if self._before is None:
            return True
        try:
            await self._before()
        except StackFailure as failure:
            if not self._spawned.done():
                raise
            self.spec.note(f"{failure.sentence}\n{failure.log_tail}")
            return False
        return not self._stopping.is_set()

    def _announce(self, pid: int) -> None:
        self.pid = pid
        if not self._spawned.done():
            self._spawned.set_result(None)
        self._supervisor.note_change()

    async def _ended(self, process: Process) -> bool:
        """Wait until the process ends (True) or is to be stopped (False)."""
        end = asyncio.create_task(process.wait())
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([end, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if end.done():
            return True
        end.cancel()
        return False

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


class Supervisor:
    """All processes of a stack.

    Until `settle()` a process that ends is a failure of the start; after it, it is restarted.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.hasten = asyncio.Event()
        self.restarts = 0
        self._on_change = on_change
        self._groups: list[list[Keeper]] = []
        self._settled = False
        self._failure: asyncio.Future[Process] = asyncio.get_running_loop().create_future()

    async def start(
        self, *specs: ProcessSpec, before: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Start these together, as the group that is stopped before all earlier ones.

        `before` is done before each start and restart; while it fails with a StackFailure after
        the first, it is tried again.
        """
        for spec in specs:
            spec.rotate_log()
        group = [Keeper(spec, self, before) for spec in specs]
        self._groups.append(group)
        for keeper in group:
            await keeper.spawned()

    async def complete(self, *specs: ProcessSpec) -> None:
        """Run these to their ends, side by side; a StackFailure if one fails."""
        await together(*(self.output(spec) for spec in specs))

    async def output(self, spec: ProcessSpec) -> bytes:
        """Run `spec` to its end and return its stdout; a StackFailure if it fails."""
        spec.rotate_log()
        process = await Process.spawn(spec, capture=True)
        try:
            output = await process.output()
        finally:
            if process.exit_code is None:
                await process.stop(self.hasten)
        if process.exit_code != 0:
            raise ProcessExited(process)
        return output

    async def while_running(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, given up with ProcessExited when a supervised process ends meanwhile."""
        task = asyncio.create_task(work)
        try:
            either: list[asyncio.Future[Any]] = [task, self._failure]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                raise ProcessExited(self._failure.result())
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def settle(self) -> None:
        """The start is over: from now on a process that ends is restarted."""
        self._settled = True

    async def stop(self) -> None:
        """Stop all groups, the last started first. `hasten.set()` cuts the graces short."""
        while self._groups:
            group = self._groups.pop()
            await asyncio.gather(*(keeper.stop() for keeper in group))

    def pids(self) -> dict[str, list[int]]:
        """The process ids by name."""
        keepers = (keeper for group in self._groups for keeper in group)
        return {keeper.spec.name: [keeper.pid] for keeper in keepers if keeper.pid is not None}

    def note_change(self) -> None:
        """A keeper has started a process."""
        self._on_change()

    def may_restart(self, process: Process) -> bool:
        """A keeper has lost its process: whether it is to start another."""
        if self._settled:
            self.restarts += 1
        elif not self._failure.done():
            self._failure.set_result(process)
        return self._settled
