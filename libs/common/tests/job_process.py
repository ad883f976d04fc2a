"""The service "notes" as a worker process that tests kill: `python -m common.tests.job_process`.

What a job does is the id of the order in its message. At a named point it waits for ever, at its
first attempt only, with the process's id as its progress, so that a test knows whom to strike.
"""

import asyncio
import os
import signal
import sys

from sqlalchemy import text

from common import jobs
from common.command_line import WorkerOptions, service_command_line
from common.database import Transaction
from common.process import Stop
from common.runtime import Runtime
from common.settings import Settings
from erp.sales.v1.events_pb2 import OrderCancelled, OrderSettled, OrderShipped

BEFORE_EFFECT, AFTER_COMMIT, KILL, LONG = "before effect", "after commit", "kill", "long"
_EFFECT = text("INSERT INTO effects (job_id, name, attempt) VALUES (:job_id, :name, :attempt)")


async def take_effect(
    tx: Transaction, work: jobs.Work[OrderSettled] | jobs.Work[OrderShipped], name: str
) -> None:
    await tx.execute(_EFFECT, {"job_id": work.id, "name": name, "attempt": work.attempt})


@jobs.handles(OrderSettled, timeout=600, backoff=0.1)
async def settle(work: jobs.Work[OrderSettled]) -> None:
    what = work.message.order_id
    if what == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if what.startswith((BEFORE_EFFECT, LONG)) and work.attempt == 1:
        await work.report(os.getpid(), os.getpid() + 1)
        await asyncio.sleep(600)
    async with work.completion() as tx:
        await take_effect(tx, work, what)
    if what == AFTER_COMMIT:
        await asyncio.sleep(600)


@jobs.handles(OrderCancelled)
async def do_nothing(work: jobs.Work[OrderCancelled]) -> None:
    """Leaves its completion to the engine."""


@jobs.handles(OrderShipped)
async def finish(work: jobs.Work[OrderShipped]) -> None:
    async with work.completion() as tx:
        await take_effect(tx, work, work.message.order_id)


async def serve(settings: Settings, stop: Stop) -> None:
    raise NotImplementedError


async def work(settings: Settings, stop: Stop, options: WorkerOptions) -> None:
    handlers = sys.modules[__name__]
    await Runtime("notes", settings, handlers=[handlers]).work(stop, options)


if __name__ == "__main__":
    service_command_line("notes", serve, work, lambda _: None)
