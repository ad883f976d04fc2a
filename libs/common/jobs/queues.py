"""How much waits in each queue, and for how long."""

from collections.abc import Sequence
from typing import Any

from prometheus_client import Gauge
from sqlalchemy import Row, text

from common.database import Database, Transaction
from common.jobs.tables import QUEUES, SYSTEM_REASON

__all__ = ["count_ready", "list_queues", "measure_queues"]

_READY = Gauge("kv_erp_job_queue_ready", "Jobs that wait for a worker.", ["service", "queue"])
_AGE = Gauge(
    "kv_erp_job_queue_oldest_seconds",
    "How long the oldest job that waits for a worker has been ready.",
    ["service", "queue"],
)

_LIST = text("""
    SELECT queue, count(*) FILTER (WHERE state = 'ready') AS ready,
           count(*) FILTER (WHERE state = 'delayed') AS delayed,
           count(*) FILTER (WHERE state = 'running') AS running,
           coalesce(CAST(extract(epoch FROM clock_timestamp() -
               min(ready_at) FILTER (WHERE state = 'ready')) AS bigint), 0) AS oldest_seconds
    FROM unnest(CAST(:queues AS text[])) AS known (queue)
    LEFT JOIN jobs USING (queue) GROUP BY queue
    ORDER BY array_position(CAST(:queues AS text[]), queue)
""")
_MEASURE = text("""
    SELECT queue, count(*) AS ready,
           CAST(extract(epoch FROM clock_timestamp() - min(ready_at)) AS float8) AS seconds
    FROM jobs WHERE state = 'ready' GROUP BY queue
""")
_COUNT = text("""
    SELECT count(*) FROM (SELECT FROM jobs WHERE state = 'ready' LIMIT :limit) AS ready
""")


async def list_queues(tx: Transaction) -> Sequence[Row[Any]]:
    """The tenant's queues in the order in which they are emptied."""
    return await tx.rows(_LIST, {"queues": list(QUEUES)})


async def count_ready(database: Database, limit: int) -> int:
    """How many jobs of all tenants wait for a worker; counts no further than the limit."""
    async with database.system_transaction(SYSTEM_REASON) as connection:
        return int((await connection.execute(_COUNT, {"limit": limit})).scalar_one())


async def measure_queues(service: str, database: Database) -> None:
    """Tell Prometheus how much waits."""
    async with database.system_transaction(SYSTEM_REASON) as connection:
        rows = (await connection.execute(_MEASURE)).all()
    waiting = {row.queue: row for row in rows}
    for queue in QUEUES:
        row = waiting.get(queue)
        _READY.labels(service, queue).set(row.ready if row else 0)
        _AGE.labels(service, queue).set(row.seconds if row else 0)
