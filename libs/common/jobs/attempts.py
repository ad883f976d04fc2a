"""One attempt at a job: runs its handler, minds its time, and records how it ended."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog

from common import caller, deadline, spans, tracing
from common.connections import TooBusy
from common.database import Database, Transaction
from common.deadline import DeadlineExceeded
from common.errors import OutcomeUnknown, Unavailable
from common.interruption import Interrupted, Interruption
from common.jobs import settling
from common.jobs.claims import Claimed
from common.jobs.completions import Completions
from common.jobs.handlers import Handling
from common.jobs.settling import Superseded
from common.jobs.work import Work
from common.spans import Kind
from common.tracing import Trace

__all__ = ["Attempt", "Limits", "Outcome"]

# A job has not failed when the database was away; it is tried again after this.
_AWAY_SECONDS = 1.0
# How an attempt ended is recorded as soon as the database answers.
_RECORD_AGAIN_SECONDS = 0.5
# A handler that does not end when it is told to is left to itself after this.
_ENDING_SECONDS = 5.0

log = structlog.get_logger()


class Outcome(Enum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PARKED = "parked"
    # It has not failed, and is tried again.
    POSTPONED = "postponed"
    # It is another attempt's now.
    SUPERSEDED = "superseded"
    # Its worker ends and gives it back.
    STOPPED = "stopped"


class Stopped(Interrupted):
    """The worker is told to end and can wait no longer."""


class TimedOut(Interrupted):
    """The attempt has had its time."""


@dataclass(frozen=True)
class Limits:
    """What holds for jobs whose handler and enqueuer say nothing else."""

    tries: int
    timeout_seconds: float


class Attempt:
    """Runs one handler once.

    Args:
        service: on whose account.
        database: the service's.
        completions: the worker's.
        handling: the handler.
        claimed: the job.
        limits: the worker's.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        completions: Completions,
        handling: Handling,
        claimed: Claimed,
        limits: Limits,
    ) -> None:
        self.claimed = claimed
        self._caller = caller.service_caller(service, claimed.tenant_id, claimed.request_id)
        self._database = database
        self._completions = completions
        self._handling = handling
        self._tries = claimed.tries or handling.tries or limits.tries
        self._timeout_seconds = handling.timeout_seconds or limits.timeout_seconds
        self._interruption = Interruption()
        self._overdue = False
        self._work: Work[Any] = Work(handling.message, claimed, database, completions)

    @property
    def is_to_live(self) -> bool:
        """Whether to prolong its lease: not once it is late and does not end."""
        return not self._overdue

    def supersede(self) -> None:
        """Say that another attempt has taken over."""
        if not self._work.completing:
            self._interruption.interrupt(Superseded(str(self.claimed.id)))

    def stop(self) -> None:
        """Say that the worker has to end."""
        self._interruption.interrupt(Stopped(str(self.claimed.id)))

    async def run(self) -> Outcome:
        """Run the handler and record how it ended."""
        started = time.perf_counter()
        trace = tracing.continued(self.claimed.traceparent)
        with (
            caller.acting_as(self._caller),
            tracing.working_for({self.claimed.request_id: trace.header}, trace),
        ):
            outcome = await self._run()
            self._tell(trace, outcome, time.perf_counter() - started)
        return outcome

    def _tell(self, trace: Trace, outcome: Outcome, seconds: float) -> None:
        job = self.claimed
        log.info(
            "job ended",
            job=job.name,
            id=str(job.id),
            queue=job.queue,
            attempt=job.attempt,
            outcome=outcome.value,
            duration_ms=round(seconds * 1000, 2),
        )
        attributes: dict[str, str | int] = {
            "messaging.system": "kv-erp",
            "messaging.operation.type": "process",
            "messaging.destination.name": job.queue,
            "messaging.message.id": str(job.id),
            "kv_erp.tenant": str(job.tenant_id),
            "kv_erp.request_id": job.request_id,
            "kv_erp.attempt": job.attempt,
        }
        failed = outcome is Outcome.FAILED
        spans.record(
            f"process {job.name}", Kind.CONSUMER, trace, seconds, attributes, failed=failed
        )

    async def _run(self) -> Outcome:
        handler = asyncio.create_task(self._handle())
        done, _ = await asyncio.wait({handler}, timeout=self._timeout_seconds)
        if not done:
            self._interruption.interrupt(TimedOut(str(self.claimed.id)))
            done, _ = await asyncio.wait({handler}, timeout=_ENDING_SECONDS)
        if not done:
            self._overdue = True
            log.warning("job does not end", job=self.claimed.name, id=str(self.claimed.id))
        outcome = await self._recorded(handler)
        if not handler.done():
            # Until it ends after all, it takes the place of another.
            await asyncio.wait({handler})
        return outcome

    async def _handle(self) -> None:
        deadline.start(self._timeout_seconds)
        with self._interruption.allowed():
            await self._handling.handler(self._work)

    async def _recorded(self, handler: asyncio.Task[None]) -> Outcome:
        error = _error_of(handler, self._interruption.why)
        while True:
            try:
                return await self._record(error)
            except Superseded:
                log.info("job superseded", job=self.claimed.name, id=str(self.claimed.id))
                return Outcome.SUPERSEDED
            except (Unavailable, OutcomeUnknown, TooBusy, DeadlineExceeded) as away:
                log.info("end of a job not recorded yet", error=str(away))
                await asyncio.sleep(_RECORD_AGAIN_SECONDS)

    async def _record(self, error: BaseException | None) -> Outcome:
        if self._work.completed:
            if error is not None:
                log.warning("completed job failed afterwards", exc_info=error)
            return Outcome.SUCCEEDED
        if self._work.parked:
            return Outcome.PARKED
        if error is None:
            await self._complete()
            return Outcome.SUCCEEDED
        if isinstance(error, Superseded):
            raise error
        if isinstance(error, Stopped):
            return Outcome.STOPPED
        if _is_the_databases(error):
            await self._postpone(error)
            return Outcome.POSTPONED
        return await self._fail(error)

    async def _complete(self) -> None:
        if self.claimed.has_links or self.claimed.batch_id is not None:
            await self._work.complete(_nothing, None)
        else:
            await self._completions.complete(self.claimed)

    async def _fail(self, error: BaseException) -> Outcome:
        failures = self.claimed.failures + 1
        log.warning(
            "job failed",
            job=self.claimed.name,
            id=str(self.claimed.id),
            attempt=self.claimed.attempt,
            exc_info=None if isinstance(error, TimedOut) else error,
        )
        sentence = self._sentence(error)
        async with self._database.tenant_transaction() as tx:
            if failures >= self._tries:
                await settling.park(tx, self.claimed, sentence)
                return Outcome.PARKED
            seconds = settling.backoff_seconds(self._handling.backoff_seconds, failures)
            await settling.postpone(tx, self.claimed, sentence, seconds)
        return Outcome.FAILED

    def _sentence(self, error: BaseException) -> str:
        if self._interruption.why is not None:
            return f"It took longer than {self._timeout_seconds:g} seconds."
        return f"{type(error).__name__}: {error}"

    async def _postpone(self, error: BaseException) -> None:
        async with self._database.tenant_transaction() as tx:
            sentence = self._sentence(error)
            await settling.postpone(tx, self.claimed, sentence, _AWAY_SECONDS, failed=False)


async def _nothing(tx: Transaction, values: Sequence[None]) -> None:
    """The effect of jobs that have none."""


def _error_of(handler: asyncio.Task[None], why: Interrupted | None) -> BaseException | None:
    """What kept the handler from doing its job; None when it did it."""
    if not handler.done():
        return why
    if handler.cancelled():
        return why or asyncio.CancelledError("the handler cancelled itself")
    error = handler.exception()
    # What it made of being stopped tells less than why it was.
    return why if error is not None and isinstance(why, (Superseded, Stopped)) else error


def _is_the_databases(error: BaseException) -> bool:
    return isinstance(error, OutcomeUnknown) or (
        isinstance(error, Unavailable) and error.what == "The database"
    )
