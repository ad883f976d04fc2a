"""How workers run jobs."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Variable, seconds, whole

# In the order in which they are emptied. Here, since the command line loads nothing of jobs.
QUEUES = ("high", "default", "low")


@dataclass(frozen=True)
class JobSettings:
    """How many jobs a worker runs, and how soon others notice its death."""

    job_concurrency: Annotated[
        int,
        Variable(
            "KV_ERP_JOB_CONCURRENCY", "Jobs that a worker runs at the same time.", whole(1, 200)
        ),
    ] = 32
    job_lease_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_JOB_LEASE_SECONDS",
            "A worker that is silent for so long is dead: others take its jobs over.",
            seconds(0.1),
        ),
    ] = 8.0
    job_heartbeat_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_JOB_HEARTBEAT_SECONDS",
            "How often a worker says that its jobs live: less than a third of the lease.",
            seconds(0.01),
        ),
    ] = 2.0
