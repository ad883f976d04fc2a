"""Products in files."""

from alembic import op

from common.files.tables import export_tables, import_tables

revision = "0031_files"
down_revision = "0030_audit_log"


def upgrade() -> None:
    op.execute(import_tables("inventory") + export_tables("inventory"))
