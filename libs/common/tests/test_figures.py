"""What a worker reads from its service's tables for Prometheus."""

import asyncio
from uuid import UUID

import psycopg
from prometheus_client import REGISTRY

from common import figures, jobs
from common.database import Database
from common.figures import OF_EVERY_DATABASE
from common.testing import ServiceDatabase
from common.tests.job_work import enqueued, eventually, forget_jobs
from erp.sales.v1.events_pb2 import OrderSettled

MINUTE = 60


def shown(name: str, queue: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"service": "notes", "queue": queue})


async def test_how_much_waits_in_each_queue_and_for_how_long(
    scratch: ServiceDatabase, database: Database, tenant: UUID
) -> None:
    forget_jobs(scratch)
    settled = OrderSettled(order_id="1")
    for _ in range(3):
        await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, settled, queue="high"))
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, settled, queue="low"))
    late = lambda tx: jobs.enqueue(tx, settled, queue="low", delay_seconds=3600)  # noqa: E731
    await enqueued(database, tenant, late)
    with psycopg.connect(scratch.operator) as connection:
        aged = "UPDATE jobs SET ready_at = ready_at - interval '1 minute' WHERE queue = 'high'"
        connection.execute(aged)

    reading = asyncio.create_task(figures.show("notes", database, OF_EVERY_DATABASE))
    await eventually(lambda: shown("kv_erp_queue_oldest_seconds", "high") is not None)
    reading.cancel()

    waiting = {queue: shown("kv_erp_queue_waiting", queue) for queue in ("high", "default", "low")}
    assert waiting == {"high": 3, "default": 0, "low": 1}
    oldest = shown("kv_erp_queue_oldest_seconds", "high")
    assert oldest is not None
    assert MINUTE <= oldest < 2 * MINUTE
    assert shown("kv_erp_queue_oldest_seconds", "default") == 0
    forget_jobs(scratch)
