"""Tenants can be deleted: a row without a name keeps their id and short name from coming again."""

from alembic import op

from common.audit_tables import audited
from common.schema import protect, removable

revision = "0060_deleted_tenants"
down_revision = "0052_orders_of_lists"

TABLES = """
    ALTER TABLE tenants
        DROP CONSTRAINT tenants_state,
        ADD CONSTRAINT tenants_state CHECK (state IN ('active', 'suspended', 'deleted'));

    -- Rows of the platform, about tenants that are deleted.
    CREATE TABLE tenant_deletions (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        -- The tenant that is deleted.
        id uuid NOT NULL,
        slug text NOT NULL,
        operator text NOT NULL,
        reason text NOT NULL,
        state text NOT NULL DEFAULT 'waiting',
        -- How many rows each service had of it.
        found jsonb NOT NULL DEFAULT '{}',
        removed_tables int NOT NULL DEFAULT 0,
        total_tables int NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT tenant_deletions_state CHECK (
            state IN ('waiting', 'running', 'refused', 'finished')),
        CONSTRAINT tenant_deletions_finished CHECK (
            (state IN ('refused', 'finished')) = (finished_at IS NOT NULL))
    );
"""
SECRETS = """
    COMMENT ON COLUMN sessions.hash IS 'secret';
    COMMENT ON COLUMN sessions.sealed IS 'secret';
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(protect("gateway", "tenant_deletions"))
    progress = ("found", "removed_tables", "total_tables")
    op.execute(audited("tenant_deletions", "tenant deletion", hidden=progress))
    op.execute(removable("gateway"))
    op.execute(SECRETS)
