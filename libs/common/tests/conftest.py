"""A small database of its own, so that these tests need no service."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from common import audit_seals, event_log, figures, outbox, partitions
from common.audit_tables import audit_tables, audited
from common.database import Database
from common.jobs.enqueueing import store_jobs
from common.jobs.tables import SYSTEM_REASON as JOBS
from common.jobs.tables import job_tables
from common.kept_answers import idempotency_keys
from common.partitions import rolling_partitions
from common.schema import event_tables, number_series, partitioned_events, protect, traced
from common.testing import ServiceDatabase, TestServers
from ops.urls import with_account, with_database

_NOTES = """
    CREATE TABLE notes (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        body text NOT NULL,
        secret text,
        version bigint NOT NULL DEFAULT 1,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT notes_body_key UNIQUE (tenant_id, body)
    );
"""


@pytest.fixture(scope="session")
def scratch(servers: TestServers) -> ServiceDatabase:
    """The database "scratch" with the event tables and one table of notes."""
    with psycopg.connect(servers.postgres.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE scratch")
        connection.execute("CREATE ROLE scratch_app LOGIN PASSWORD 'scratch'")
        connection.execute("CREATE ROLE scratch_system LOGIN PASSWORD 'scratch'")
    url = with_database(servers.postgres.superuser_url, "scratch")
    with psycopg.connect(url) as connection:
        tables = (
            event_tables("scratch")
            + number_series("scratch")
            + rolling_partitions("scratch")
            + idempotency_keys("scratch")
            + partitioned_events("scratch")
            + partitions.ANSWERS.roll()
            + partitions.EVENTS.roll()
            + audit_tables("scratch")
            + job_tables("scratch")
            + traced("events", "jobs")
            + _NOTES
            + protect("scratch", "notes")
            + audited("notes", "note", hidden=("secret",))
        )
        connection.execute(tables.encode())
    return ServiceDatabase(
        app=with_account(url, "scratch_app", "scratch"),
        system=with_account(url, "scratch_system", "scratch"),
        owner=url,
        operator=url,
    )


@pytest.fixture(scope="session")
async def database(scratch: ServiceDatabase) -> AsyncIterator[Database]:
    """The scratch database as a service called "notes" would open it."""
    database = Database(
        scratch.app,
        scratch.system,
        system_reasons=frozenset(
            {
                event_log.SYSTEM_REASON,
                partitions.SYSTEM_REASON,
                audit_seals.SYSTEM_REASON,
                JOBS,
                figures.SYSTEM_REASON,
            }
        ),
        write_events=outbox.write_events("notes"),
        write_jobs=store_jobs({}),
    )
    yield database
    await database.close()
