"""Exports of all that is held of a company: what was asked for, and the archive in parts."""

from alembic import op

from common.audit_tables import audited
from common.schema import protect_all

revision = "0061_tenant_exports"
down_revision = "0060_deleted_tenants"

_TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"

TABLES = f"""
    CREATE TABLE tenant_exports (
        {_TENANT},
        id uuid NOT NULL,
        job_id uuid NOT NULL,
        requested_by text NOT NULL,
        state text NOT NULL DEFAULT 'waiting',
        done_tables int NOT NULL DEFAULT 0,
        total_tables int NOT NULL DEFAULT 0,
        total_rows bigint NOT NULL DEFAULT 0,
        bytes bigint NOT NULL DEFAULT 0,
        sha256 text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        expires_at timestamptz NOT NULL DEFAULT now() + interval '7 days',
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT tenant_exports_state CHECK (state IN ('waiting', 'running', 'finished')),
        CONSTRAINT tenant_exports_finished CHECK ((state = 'finished') = (finished_at IS NOT NULL))
    );
    CREATE INDEX tenant_exports_age ON tenant_exports (expires_at);

    CREATE TABLE tenant_export_parts (
        {_TENANT},
        export_id uuid NOT NULL,
        number int NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (tenant_id, export_id, number),
        CONSTRAINT tenant_export_parts_export FOREIGN KEY (tenant_id, export_id)
            REFERENCES tenant_exports (tenant_id, id) ON DELETE CASCADE
    );
    -- An archive holds none of another.
    COMMENT ON COLUMN tenant_export_parts.body IS 'secret';
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(protect_all("gateway", ["tenant_exports", "tenant_export_parts"]))
    progress = ("done_tables", "total_tables", "total_rows", "bytes")
    op.execute(audited("tenant_exports", "tenant export", hidden=progress))
