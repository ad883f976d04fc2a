"""The tables behind jobs, in each service's own database."""

from common.partitions import FINISHED_JOBS
from common.schema import protect
from common.settings.jobs import QUEUES

__all__ = ["MOST_DEATHS", "QUEUES", "SYSTEM_REASON", "job_tables"]

SYSTEM_REASON = "jobs"
# A job whose worker died so often is what kills them.
MOST_DEATHS = 3

# Jobs that are to be done. What is done leaves the table, so it stays as small as the backlog.
JOBS = """
    CREATE TABLE jobs (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        name text NOT NULL,
        queue text NOT NULL,
        state text NOT NULL,
        payload bytea NOT NULL,
        request_id text NOT NULL,
        unique_key text,
        tries int,
        -- Links of its chain that follow, erp.jobs.v1.Links.
        links bytea,
        chain_id uuid,
        batch_id uuid,
        ready_at timestamptz NOT NULL,
        attempt int NOT NULL DEFAULT 0,
        failures int NOT NULL DEFAULT 0,
        deaths int NOT NULL DEFAULT 0,
        -- The fence: names the attempt that may finish the job.
        claim uuid,
        lease_until timestamptz,
        started_at timestamptz,
        done bigint NOT NULL DEFAULT 0,
        total bigint NOT NULL DEFAULT 0,
        error text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT jobs_queue CHECK (queue IN ('high', 'default', 'low')),
        CONSTRAINT jobs_state CHECK (state IN ('delayed', 'ready', 'running')),
        CONSTRAINT jobs_claim CHECK ((state = 'running') = (claim IS NOT NULL)),
        CONSTRAINT jobs_lease CHECK ((state = 'running') = (lease_until IS NOT NULL))
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
            autovacuum_vacuum_cost_delay = 0);
    CREATE INDEX jobs_ready ON jobs (queue, tenant_id, ready_at, id) WHERE state = 'ready';
    CREATE INDEX jobs_delayed ON jobs (ready_at) WHERE state = 'delayed';
    CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
    CREATE INDEX jobs_batch ON jobs (tenant_id, batch_id) WHERE batch_id IS NOT NULL;
"""

# What was done, in partitions that are dropped after a week.
FINISHED = """
    CREATE TABLE finished_jobs (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        name text NOT NULL,
        queue text NOT NULL,
        state text NOT NULL,
        request_id text NOT NULL,
        chain_id uuid,
        batch_id uuid,
        attempt int NOT NULL,
        done bigint NOT NULL,
        total bigint NOT NULL,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id, finished_at),
        CONSTRAINT finished_jobs_state CHECK (state IN ('succeeded', 'cancelled'))
    ) PARTITION BY RANGE (finished_at);
"""

# A batch counts what left its jobs. Each job leaves once, so a duplicate counts nothing.
BATCHES = """
    CREATE TABLE job_batches (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        name text NOT NULL,
        total int NOT NULL,
        succeeded int NOT NULL DEFAULT 0,
        failed int NOT NULL DEFAULT 0,
        cancelled int NOT NULL DEFAULT 0,
        -- What is enqueued when all succeeded, when the first failed, and in the end; each once.
        then_link bytea,
        catch_link bytea,
        finally_link bytea,
        request_id text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        cancelled_at timestamptz,
        finished_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT job_batches_count CHECK (succeeded + failed + cancelled <= total)
    ) WITH (fillfactor = 50);
    CREATE INDEX job_batches_finished ON job_batches (finished_at) WHERE finished_at IS NOT NULL;
"""

# When each schedule last enqueued. The row is the lock by which a tick is enqueued once. Schedules
# are the service's: their tenant is the nil UUID.
SCHEDULES = """
    CREATE TABLE job_schedules (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        name text NOT NULL,
        tick timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, name)
    );
"""

# Parked events (kind 'event') are there already. Of a job, `id` is the failure's own and `job_id`
# the job's: a job that is retried may fail again.
FAILED = """
    ALTER TABLE failed_jobs
        ADD COLUMN job_id uuid,
        ADD COLUMN queue text NOT NULL DEFAULT '',
        ADD COLUMN unique_key text,
        ADD COLUMN tries int,
        ADD COLUMN deaths int NOT NULL DEFAULT 0,
        ADD COLUMN links bytea,
        ADD COLUMN chain_id uuid,
        ADD COLUMN batch_id uuid,
        ADD COLUMN done bigint NOT NULL DEFAULT 0,
        ADD COLUMN total bigint NOT NULL DEFAULT 0,
        ADD COLUMN created_at timestamptz,
        ADD COLUMN started_at timestamptz,
        -- Of an event: since when a worker is to try it again.
        ADD COLUMN retry_wanted_at timestamptz,
        ADD CONSTRAINT failed_jobs_kind CHECK (kind IN ('event', 'job')),
        ADD CONSTRAINT failed_jobs_job CHECK ((kind = 'job') = (job_id IS NOT NULL));
    CREATE INDEX failed_jobs_job_id ON failed_jobs (tenant_id, job_id) WHERE job_id IS NOT NULL;
    CREATE INDEX failed_jobs_retry ON failed_jobs (retry_wanted_at)
        WHERE retry_wanted_at IS NOT NULL;
"""


def job_tables(service: str) -> str:
    """SQL that creates and protects the tables of jobs; needs `event_tables`, partitions."""
    tables = ("jobs", "finished_jobs", "job_batches", "job_schedules")
    return (
        JOBS
        + FINISHED
        + BATCHES
        + SCHEDULES
        + FAILED
        + "".join(protect(service, table) for table in tables)
        + f"""
        REVOKE UPDATE, DELETE ON finished_jobs FROM {service}_app;
        GRANT INSERT, UPDATE, DELETE ON jobs TO {service}_system;
        GRANT INSERT ON finished_jobs TO {service}_system;
        GRANT INSERT, UPDATE ON job_schedules TO {service}_system;
        GRANT DELETE ON job_batches TO {service}_system;
        """
        + FINISHED_JOBS.roll()
    )
