"""Work that comes again and again, enqueued once a tick however many workers there are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import text

from common.database import Database
from common.duties import Duty
from common.jobs.bell import JobBell
from common.jobs.enqueueing import INSERT, NewJob, Woken, columns_of, name_of, unique_id
from common.jobs.tables import SYSTEM_REASON

__all__ = ["SERVICE_WIDE", "Schedule", "keep_schedules", "schedules_of"]

# Whose job it is that a service does once for itself.
SERVICE_WIDE = UUID(int=0)
_DAY_SECONDS = 86_400.0
_LOOK_SECONDS = 1.0

# The row decides: whoever moves it to a new tick enqueues, in the same transaction. A schedule that
# is seen for the first time waits for its next tick. Ticks that were missed count as one.
_DUE = text("""
    WITH planned AS (
        SELECT name, to_timestamp(period * floor(
            (extract(epoch FROM clock_timestamp()) - shift) / period) + shift) AS tick
        FROM unnest(CAST(:names AS text[]), CAST(:periods AS float8[]), CAST(:shifts AS float8[]))
             AS schedule (name, period, shift)
    )
    INSERT INTO job_schedules AS schedule (tenant_id, name, tick)
    SELECT :nobody, name, tick FROM planned WHERE NOT EXISTS (
        SELECT FROM job_schedules AS last
        WHERE last.tenant_id = :nobody AND last.name = planned.name AND last.tick >= planned.tick
    )
    ON CONFLICT (tenant_id, name) DO UPDATE SET tick = excluded.tick
        WHERE schedule.tick < excluded.tick
    RETURNING schedule.name, old.tick IS NOT NULL AS is_due
""")


@dataclass(frozen=True)
class Schedule:
    """A job that is enqueued by the clock. A constant of a module with handlers.

    A tick whose last job is not done yet is left out.

    Args:
        name: what it is, unique in its service.
        message: the job.
        every_seconds: how often; ticks are multiples of it since 1970, UTC.
        daily_at: or once a day at this time, UTC, as "03:30".
        tenants: a query for `tenant_id`: a job for each; one for the service when absent, which
            belongs to the nil tenant.
        queue: its handler's when absent.
    """

    name: str
    message: Message
    every_seconds: float | None = None
    daily_at: str | None = None
    tenants: str | None = None
    queue: str | None = None

    def __post_init__(self) -> None:
        if (self.every_seconds is None) == (self.daily_at is None):
            raise ValueError(f"schedule {self.name!r} needs every_seconds or daily_at")
        if self.every_seconds is not None and self.every_seconds < _LOOK_SECONDS:
            raise ValueError(f"schedule {self.name!r} comes at most once a second")

    @property
    def period(self) -> float:
        """Seconds from tick to tick."""
        return self.every_seconds or _DAY_SECONDS

    @property
    def shift(self) -> float:
        """Seconds from midnight to the first tick."""
        if self.daily_at is None:
            return 0.0
        hours, minutes = map(int, self.daily_at.split(":"))
        return hours * 3600.0 + minutes * 60.0

    def job_of(self, tenant_id: UUID) -> NewJob:
        """One tick's job of a tenant."""
        name, key = name_of(self.message), f"schedule:{self.name}"
        payload = self.message.SerializeToString()
        job_id = unique_id(tenant_id, name, key)
        return NewJob(job_id, name, payload, "", queue=self.queue, unique_key=key)


def schedules_of(modules: Iterable[ModuleType | SimpleNamespace]) -> list[Schedule]:
    """The schedules among the constants of these modules."""
    found = (item for module in modules for item in vars(module).values())
    return [item for item in found if isinstance(item, Schedule)]


def keep_schedules(
    database: Database, schedules: Sequence[Schedule], queues: Mapping[str, str], bell: JobBell
) -> Duty:
    """The duty to enqueue what is due."""
    by_name = {schedule.name: schedule for schedule in schedules}
    parameters = {
        "names": list(by_name),
        "periods": [schedule.period for schedule in by_name.values()],
        "shifts": [schedule.shift for schedule in by_name.values()],
        "nobody": SERVICE_WIDE,
    }

    async def enqueue_due() -> None:
        woken: list[Woken] = []
        async with database.system_transaction(SYSTEM_REASON) as connection:
            for row in (await connection.execute(_DUE, parameters)).all():
                if row.is_due:
                    woken += await _enqueue(connection, by_name[row.name], queues)
        bell.ring(woken)

    return Duty("enqueue what is due", _LOOK_SECONDS, enqueue_due)


async def _enqueue(connection: Any, schedule: Schedule, queues: Mapping[str, str]) -> list[Woken]:
    tenants = [SERVICE_WIDE]
    if schedule.tenants is not None:
        tenants = list((await connection.execute(text(schedule.tenants))).scalars())
    jobs = [schedule.job_of(tenant_id) for tenant_id in tenants]
    rows = (await connection.execute(INSERT, columns_of(tenants, jobs, queues))).all()
    return [Woken(row.queue, row.id) for row in rows]
