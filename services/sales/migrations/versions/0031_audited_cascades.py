"""What goes with a record is written down as well."""

from alembic import op

from common.audit_tables import cascades_audited

revision = "0031_audited_cascades"
down_revision = "0031_files"


def upgrade() -> None:
    op.execute(cascades_audited())
