"""The database "scratch" on any server: all tables that services share, and two of its own."""

import psycopg

from common.audit_disturbances import disturbances_kept
from common.audit_tables import audit_tables, audited
from common.jobs.tables import job_tables
from common.kept_answers import idempotency_keys
from common.partitions import ANSWERS, EVENTS, rolling_partitions
from common.schema import event_tables, number_series, partitioned_events, protect, traced
from common.testing import ServiceDatabase
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
# What jobs did. Nothing in it keeps a job from doing it twice: that would be counted.
_EFFECTS = """
    CREATE TABLE effects (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL DEFAULT uuidv7(),
        job_id uuid NOT NULL,
        name text NOT NULL,
        attempt int NOT NULL,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, id)
    );
"""


def make_scratch(superuser_url: str) -> ServiceDatabase:
    """Make the database and its roles; returns where it is."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE scratch")
        connection.execute("CREATE ROLE scratch_app LOGIN PASSWORD 'scratch'")
        connection.execute("CREATE ROLE scratch_system LOGIN PASSWORD 'scratch'")
    url = with_database(superuser_url, "scratch")
    with psycopg.connect(url) as connection:
        tables = (
            event_tables("scratch")
            + number_series("scratch")
            + rolling_partitions("scratch")
            + idempotency_keys("scratch")
            + partitioned_events("scratch")
            + ANSWERS.roll()
            + EVENTS.roll()
            + audit_tables("scratch")
            + disturbances_kept("scratch")
            + job_tables("scratch")
            + traced("events", "jobs", "failed_jobs")
            + _NOTES
            + protect("scratch", "notes")
            + audited("notes", "note", hidden=("secret",))
            + _EFFECTS
            + protect("scratch", "effects")
        )
        connection.execute(tables.encode())
    return ServiceDatabase(
        app=with_account(url, "scratch_app", "scratch"),
        system=with_account(url, "scratch_system", "scratch"),
        owner=url,
        operator=url,
    )
