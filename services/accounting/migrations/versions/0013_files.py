"""Reports in files."""

from alembic import op

from common.files.tables import export_tables

revision = "0013_files"
down_revision = "0010_jobs"


def upgrade() -> None:
    op.execute(export_tables("accounting"))
