"""How much waits in each queue, and for how long."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text

from common.database import Database, Transaction
from common.jobs.tables import QUEUES, SYSTEM_REASON

__all__ = ["count_ready", "list_queues"]

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
