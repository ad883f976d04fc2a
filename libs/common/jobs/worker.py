"""The process that does a service's jobs."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from redis.asyncio import Redis
from redis.exceptions import RedisClusterException

from common import caller
from common.database import Database
from common.errors import DomainError
from common.jobs import settling
from common.jobs.attempts import Attempt, Limits, Outcome
from common.jobs.bell import JobBell, next_woken
from common.jobs.claims import WORKER_DIED, Claimed, Claims, Key
from common.jobs.completions import Completions
from common.jobs.handlers import Handling
from common.redis_link import AWAY
from common.settings import Settings

__all__ = ["JobWorker", "Pace"]

POLL_SECONDS = 2.0
POLL_SECONDS_WITHOUT_REDIS = 0.25
TICK_SECONDS = 1.0
# While jobs end one by one, the next ones are claimed together.
GATHERING_SECONDS = 0.003
# For each place, so many jobs at hand, those included that have only to be completed.
COMPLETING_FOR_EACH = 4
# At the end: for what is being stopped to reach the end of its transaction.
STOPPING_SECONDS = 2.0

_DONE = Counter(
    "kv_erp_jobs_total", "Attempts at jobs, by how they ended.", ["service", "job", "outcome"]
)
_DURATION = Histogram(
    "kv_erp_job_duration_seconds",
    "Time from an attempt's start to its record.",
    ["service", "job"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)

log = structlog.get_logger()


@dataclass(frozen=True)
class Pace:
    """How many jobs a worker runs at once, and how soon others notice its death."""

    concurrency: int = 32
    lease_seconds: float = 8.0
    heartbeat_seconds: float = 2.0
    # For running jobs to finish at the end.
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.lease_seconds <= 3 * self.heartbeat_seconds:
            raise ValueError("a lease must be more than three heartbeats: jobs would run twice")

    @classmethod
    def of(cls, settings: Settings) -> "Pace":
        """What the environment says."""
        return cls(
            settings.job_concurrency,
            settings.job_lease_seconds,
            settings.job_heartbeat_seconds,
            settings.shutdown_grace_seconds,
        )


class JobWorker:
    """Claims jobs, runs them, and takes over those of dead workers.

    Args:
        service: whose jobs.
        database: its database.
        handlings: by the full name of what they handle; other jobs are left to other workers.
        queues: in the order in which they are emptied.
        redis: where the ids of ready jobs are.
        bell: wakes workers.
        limits: for jobs that set none.
        pace: how many at once, and how soon the dead are noticed.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        handlings: Mapping[str, Handling],
        queues: Sequence[str],
        redis: Redis,
        bell: JobBell,
        limits: Limits,
        pace: Pace,
    ) -> None:
        self._service = service
        self._database = database
        self._handlings = handlings
        self._queues = queues
        self._redis = redis
        self._bell = bell
        self._limits = limits
        self._pace = pace
        self._claims = Claims(database, list(handlings), pace.lease_seconds)
        self._freed = asyncio.Event()
        self._completions = Completions(self._claims, database, self._freed.set)
        self._running: dict[Key, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._given_back: list[Claimed] = []
        self._woken = asyncio.Event()
        self._waiting: asyncio.Task[float] | None = None
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop` is called, then finish or give back what is running."""
        claiming = asyncio.create_task(self._claim())
        loops: list[Coroutine[Any, Any, None]] = [
            self._repeat(self._beat, self._pace.heartbeat_seconds),
            self._repeat(self._tick, TICK_SECONDS),
        ]
        minding = [asyncio.create_task(loop) for loop in loops]
        try:
            # Ends when it is told to; a claim that is under way is let finish.
            await claiming
        finally:
            self.stop()
            await self._finish()
            self._finished.set()
            await asyncio.gather(*minding)

    def stop(self) -> None:
        """Take on nothing new."""
        self._stopping.set()
        self._freed.set()
        self._woken.set()

    async def _claim(self) -> None:
        while not self._stopping.is_set():
            if self._room() < self._pace.concurrency / 2:
                await self._gather()
            room = self._room()
            if room <= 0:
                continue
            self._woken.clear()
            taken = await self._take(room)
            if not taken:
                await self._wait_for_more(room)
        if self._waiting is not None:
            self._waiting.cancel()

    def _room(self) -> int:
        """How many jobs to take on: what has only to be completed leaves its place to others."""
        held, most = len(self._running), self._pace.concurrency
        return min(most - held + self._completions.waiting, most * COMPLETING_FOR_EACH - held)

    async def _gather(self) -> None:
        if self._room() <= 0:
            self._freed.clear()
            await self._freed.wait()
        await asyncio.sleep(GATHERING_SECONDS)

    async def _take(self, most: int) -> list[Claimed]:
        try:
            taken = await self._claims.take(self._queues, most)
        except DomainError as error:
            log.info("no jobs claimed", error=str(error))
            return []
        except Exception:
            log.exception("no jobs claimed")
            return []
        if self._stopping.is_set():
            self._given_back += taken
            return []
        for claimed in taken:
            self._start(claimed)
        return taken

    async def _wait_for_more(self, room: int) -> None:
        """Wait until Redis or this process knows of a job, or it is time to look."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._listen(room))
        woken = asyncio.create_task(self._woken.wait())
        await asyncio.wait({self._waiting, woken}, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        if self._waiting.done():
            pause = self._waiting.result()
            self._waiting = None
            if pause:
                await asyncio.sleep(pause)

    async def _listen(self, most: int) -> float:
        """Wait for ids in Redis; returns for how long to sleep without it."""
        try:
            await next_woken(self._redis, self._service, self._queues, most, POLL_SECONDS)
        except (*AWAY, RedisClusterException) as error:
            log.debug("polling for jobs", error=repr(error))
            return POLL_SECONDS_WITHOUT_REDIS
        return 0.0

    def _start(self, claimed: Claimed) -> None:
        handling = self._handlings[claimed.name]
        attempt = self._running[claimed.key] = Attempt(
            self._service, self._database, self._completions, handling, claimed, self._limits
        )
        task = asyncio.create_task(self._run(claimed.key, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: Key, attempt: Attempt) -> None:
        name = attempt.claimed.name
        try:
            with _DURATION.labels(self._service, name).time():
                outcome = await attempt.run()
            _DONE.labels(self._service, name, outcome.value).inc()
            if outcome is Outcome.STOPPED:
                self._given_back.append(attempt.claimed)
        except Exception:
            # Its lease ends and another attempt is made.
            log.exception("attempt broke off", job=name, id=str(attempt.claimed.id))
        finally:
            del self._running[key]
            self._freed.set()

    async def _beat(self) -> None:
        attempts = [attempt for attempt in self._running.values() if attempt.is_to_live]
        if attempts:
            alive = await self._claims.beat([attempt.claimed for attempt in attempts])
            for attempt in attempts:
                if attempt.claimed.key not in alive:
                    attempt.supersede()

    async def _tick(self) -> None:
        """What time makes ready: delayed jobs, and those of the dead."""
        self._tell(await self._claims.promote())
        died = await self._claims.reap()
        self._tell(died.ready)
        for claimed in died.parked:
            await self._park(claimed)

    def _tell(self, jobs: Sequence[Any]) -> None:
        if jobs:
            self._bell.ring(jobs)
            self._woken.set()

    async def _park(self, claimed: Claimed) -> None:
        log.warning("job kills its workers", job=claimed.name, id=str(claimed.id))
        mine = caller.service_caller(self._service, claimed.tenant_id, claimed.request_id)
        with caller.acting_as(mine):
            async with self._database.tenant_transaction() as tx:
                await settling.park(tx, claimed, WORKER_DIED)

    async def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while not self._finished.is_set():
            try:
                await work()
            except DomainError as error:
                log.info("not minded", work=work.__name__, error=str(error))
            except settling.Superseded as error:
                log.info("parked by another", job=str(error))
            except Exception:
                log.exception("not minded", work=work.__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._finished.wait()

    async def _finish(self) -> None:
        """Let running jobs finish for the grace, then give the rest back for others to take."""
        await self._ended_within(self._pace.grace_seconds)
        for attempt in self._running.values():
            attempt.stop()
        await self._ended_within(STOPPING_SECONDS)
        rest = [attempt.claimed for attempt in self._running.values()]
        held = self._given_back + rest
        if held:
            log.info("jobs given back", jobs=len(held), still_running=len(rest))
            try:
                self._bell.ring(await self._claims.release(held))
                await self._bell.flush()
            except DomainError as error:
                log.info("jobs not given back, their leases end", error=str(error))

    async def _ended_within(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
