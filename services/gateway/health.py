"""Whether the system is well: asked by load balancers, by Kubernetes, and by people."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from common.caller import acting_as, service_caller
from common.channel import Channel
from common.errors import DomainError, Unavailable
from common.health import dependency_up
from erp.jobs.v1.job_service_pb2 import CountReadyRequest

CHECK_SECONDS = 1.0
WATCH_SECONDS = 5.0
# However many ask, the system is looked at once in this time.
_CACHED_SECONDS = 1.0
MOST_WAITING = 1_000

log = structlog.get_logger()

# Returns what it found: "ok" or "degraded"; raises when it failed.
Check = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Report:
    """How the system was at one moment."""

    time: datetime
    checks: Mapping[str, str]

    @property
    def status(self) -> str:
        """In one word."""
        for word, status in (("failed", "unhealthy"), ("degraded", "degraded")):
            if word in self.checks.values():
                return status
        return "healthy"

    def to_json(self) -> bytes:
        """The body of `GET /api/health`."""
        moment = self.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return orjson.dumps({"status": self.status, "timestamp": moment, "checks": self.checks})


class SystemHealth:
    """Looks at everything that the gateway depends on."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._looking: asyncio.Task[Report] | None = None
        self._looked = float("-inf")

    async def report(self) -> Report:
        """How it is, or was a second ago."""
        now = time.monotonic()
        if self._looking is None or (self._looking.done() and now - self._looked > _CACHED_SECONDS):
            self._looking = asyncio.create_task(self._look())
            self._looked = now
        return await asyncio.shield(self._looking)

    async def watch(self) -> None:
        """Look every few seconds, until cancelled, so that Prometheus knows."""
        while True:
            await self.report()
            await asyncio.sleep(WATCH_SECONDS)

    async def _look(self) -> Report:
        found = await asyncio.gather(*(_result_of(*item) for item in self._checks.items()))
        for name, result in zip(self._checks, found, strict=True):
            dependency_up(name, up=result != "failed")
        return Report(datetime.now(UTC), dict(zip(self._checks, found, strict=True)))


class Readiness:
    """Whether this process is to be sent requests: not while it ends or cannot look anybody up."""

    def __init__(self, check: Check) -> None:
        """Look at this every second."""
        self._check = check
        self._passes = False
        self._draining = False

    @property
    def is_ready(self) -> bool:
        """At this moment."""
        return self._passes and not self._draining

    def drain(self) -> None:
        """Never be ready again."""
        self._draining = True

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self._passes = await _result_of("readiness", self._check) == "ok"
            await asyncio.sleep(CHECK_SECONDS)


async def _result_of(name: str, check: Check) -> str:
    task = asyncio.ensure_future(check())
    # Not cancelled when time is up: it may be holding a connection.
    done, _ = await asyncio.wait({task}, timeout=CHECK_SECONDS)
    if done and task.exception() is None:
        return task.result()
    task.add_done_callback(lambda late: late.cancelled() or late.exception())
    why = str(task.exception()) if done else f"no answer within {CHECK_SECONDS} s"
    log.warning("health check failed", check=name, why=why)
    return "failed"


def is_there(ask: Callable[[], Awaitable[object]]) -> Check:
    """A check that something answers at all."""

    async def check() -> str:
        await ask()
        return "ok"

    return check


def serves(channel: Channel) -> Check:
    """A check that a service says it is serving."""
    rpc = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        HealthCheckRequest.SerializeToString,
        HealthCheckResponse.FromString,
    )

    async def check() -> str:
        with acting_as(service_caller("gateway", None)):
            answer = await rpc(HealthCheckRequest(), timeout=CHECK_SECONDS)
        if answer.status != HealthCheckResponse.SERVING:
            raise Unavailable(channel.service)
        return "ok"

    return check


def queues_are_short(services: Mapping[str, Any]) -> Check:
    """A check that no more than a thousand jobs of all services wait for a worker.

    Args:
        services: their erp.jobs.v1.JobService. Who cannot be asked is left out: that it is away is
            another check's business.
    """
    request = CountReadyRequest(limit=MOST_WAITING + 1)

    async def count(service: str) -> int:
        try:
            with acting_as(service_caller("gateway", None)):
                return int((await services[service].CountReady(request)).ready)
        except DomainError as error:
            log.info("jobs not counted", service=service, error=str(error))
            return 0

    async def check() -> str:
        waiting = sum(await asyncio.gather(*map(count, services)))
        return "degraded" if waiting > MOST_WAITING else "ok"

    return check
