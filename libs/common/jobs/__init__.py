"""Work that is done later, by a worker: enqueued with the transaction that wants it.

The rows are in each service's PostgreSQL, which alone decides who does what; Redis only wakes.
"""

from common.jobs.batches import batch
from common.jobs.enqueueing import chain, enqueue
from common.jobs.handlers import handles
from common.jobs.schedules import SERVICE_WIDE, Schedule
from common.jobs.settling import Superseded
from common.jobs.work import Work

__all__ = [
    "SERVICE_WIDE",
    "Schedule",
    "Superseded",
    "Work",
    "batch",
    "chain",
    "enqueue",
    "handles",
]
