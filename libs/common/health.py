"""grpc.health.v1: whether the process lives, and whether it can serve."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from grpc_health.v1.health import aio as grpc_health  # type: ignore[attr-defined]
from grpc_health.v1.health_pb2 import HealthCheckResponse
from prometheus_client import Gauge

from common.tasks import end

__all__ = ["Check", "Health", "dependency_up"]

log = structlog.get_logger()

# Returns when all is well, raises when not.
Check = Callable[[], Awaitable[object]]

_UP = Gauge(
    "kv_erp_dependency_up",
    "1 while what the process depends on answered when it was last asked.",
    ["dependency"],
)

_INTERVAL_SECONDS = 1.0
_LIVENESS = "liveness"


def dependency_up(name: str, *, up: bool) -> None:
    """Tell Prometheus whether something that the process depends on answers."""
    _UP.labels(name).set(up)


class Health:
    """Answers "liveness" while the process runs, all other names while its checks pass."""

    def __init__(self, service_names: Sequence[str], checks: Mapping[str, Check]) -> None:
        self.servicer = grpc_health.HealthServicer()
        self._names = ("", "readiness", *service_names)
        self._checks = {name: _Watched(name, check) for name, check in checks.items()}
        self._ready = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Check once, then again every second."""
        await self.servicer.set(_LIVENESS, HealthCheckResponse.SERVING)
        await self._refresh()
        self._task = asyncio.create_task(self._watch())

    async def drain(self) -> None:
        """Say "not serving" from now on, whatever the checks find; the process still lives."""
        if self._task is not None:
            await end(self._task)
        await self._say(ready=False)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            await self._refresh()

    async def _refresh(self) -> None:
        passed = await asyncio.gather(*(check.passes() for check in self._checks.values()))
        await self._say(ready=all(passed))

    async def _say(self, *, ready: bool) -> None:
        status = HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self.servicer.set(name, status)


class _Watched:
    """A check that has a second to answer; never cancelled, as it may be holding a connection."""

    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._task: asyncio.Task[object] | None = None
        self._failing = False

    async def passes(self) -> bool:
        """Whether the check succeeds within a second."""
        # One that still hangs from last time is asked again, not doubled.
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())
        await asyncio.wait({self._task}, timeout=1.0)
        problem = self._task.result() if self._task.done() else "no answer within a second"
        self._report(problem)
        return problem is None

    async def _run(self) -> object:
        try:
            await self._check()
        except Exception as error:  # noqa: BLE001 (whatever it is, the check has not passed)
            return error
        return None

    def _report(self, problem: object) -> None:
        dependency_up(self._name, up=problem is None)
        if bool(problem) != self._failing:
            self._failing = bool(problem)
            if problem:
                log.warning(
                    "health check fails", check=self._name, problem=str(problem) or repr(problem)
                )
            else:
                log.info("health check passes again", check=self._name)
