"""An import says who asked for it."""

from alembic import op

revision = "0062_import_authors"
down_revision = "0061_audit_disturbances"


def upgrade() -> None:
    op.execute("ALTER TABLE imports ADD COLUMN requested_by text NOT NULL DEFAULT ''")
