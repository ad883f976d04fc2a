"""Mails to customers, and what companies are called in them."""

from alembic import op

from common.schema import protect

revision = "0012_mails"
down_revision = "0011_expiring_orders"

MAILS = """
    ALTER TABLE companies ADD COLUMN name text NOT NULL DEFAULT '';

    CREATE TABLE mails (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        kind text NOT NULL,
        subject_id uuid NOT NULL,
        job_id uuid NOT NULL,
        state text NOT NULL,
        recipient text NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, kind, subject_id),
        CONSTRAINT mails_state_check CHECK (state IN ('sending', 'sent', 'unknown'))
    ) WITH (fillfactor = 70);
"""


def upgrade() -> None:
    op.execute(MAILS + protect("sales", "mails"))
