"""The jobs of benchmarks/jobs.py, and the process that does them."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import uvloop
from redis.asyncio import Redis
from sqlalchemy import text

from common import jobs, logging
from common.database import Database, Transaction
from common.jobs.attempts import Limits
from common.jobs.bell import JobBell
from common.jobs.enqueueing import name_of, store_jobs
from common.jobs.handlers import handlings_of
from common.jobs.tables import QUEUES, SYSTEM_REASON
from common.jobs.worker import JobWorker, Pace
from common.redis_clients import Role, connect
from common.settings import load_settings
from erp.sales.v1.events_pb2 import OrderCancelled, OrderConfirmed, OrderSettled, OrderShipped

SERVICE = "notes"
_EFFECT = text("INSERT INTO effects (job_id) SELECT unnest(CAST(:ids AS uuid[]))")


@dataclass(frozen=True)
class Place:
    """Where the servers are."""

    app: str
    system: str
    redis: str

    def open(self, bell: JobBell | None = None) -> Database:
        """The database, as a service opens it."""
        return Database(
            self.app,
            self.system,
            system_reasons=frozenset({SYSTEM_REASON}),
            write_jobs=store_jobs({name_of(OrderShipped): "low"}),
            wake=bell.ring if bell else None,
        )


@jobs.handles(OrderSettled)
async def with_effect(work: jobs.Work[OrderSettled]) -> None:
    """A row, committed with the completion."""
    await work.complete(write_rows, work.id)


async def write_rows(tx: Transaction, ids: Sequence[UUID]) -> None:
    """The effect of several jobs."""
    await tx.execute(_EFFECT, {"ids": list(ids)})


@jobs.handles(OrderConfirmed)
async def with_own_transaction(work: jobs.Work[OrderConfirmed]) -> None:
    """The same in a transaction of its own."""
    async with work.completion() as tx:
        await write_rows(tx, [work.id])


@jobs.handles(OrderCancelled)
async def without_effect(work: jobs.Work[OrderCancelled]) -> None:
    """Nothing; the engine completes it."""


@jobs.handles(OrderShipped, queue="low", timeout=600)
async def hold(work: jobs.Work[OrderShipped]) -> None:
    """Keep whoever takes it first until that process is killed; its id is the job's progress."""
    if work.attempt == 1:
        await work.report(os.getpid(), sys.maxsize)
        await asyncio.sleep(600)


def run_worker(place: Place, concurrency: int, queues: tuple[str, ...] = QUEUES) -> None:
    """The worker process, with the lease and heartbeat of production."""
    # It writes the lines of production, to nowhere.
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    logging.configure(load_settings({"KV_ERP_LOG_FORMAT": "json"}), "notes worker")
    uvloop.run(_work(place, concurrency, queues))


async def _work(place: Place, concurrency: int, queues: tuple[str, ...]) -> None:
    async with Redis.from_url(place.redis) as events:
        bell = JobBell(SERVICE, events)
        ringing = asyncio.create_task(bell.run())
        handlings = handlings_of([sys.modules[__name__]])
        redis, limits, pace = connect(place.redis, Role.QUEUE), Limits(3, 60), Pace(concurrency)
        database = place.open(bell)
        await JobWorker(SERVICE, database, handlings, queues, redis, bell, limits, pace).run()
        ringing.cancel()
