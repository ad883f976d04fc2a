"""Jobs: those to be done, those done in the last week, batches and schedules."""

from alembic import op

from common.jobs.tables import job_tables

revision = "0010_jobs"
down_revision = "0002"


def upgrade() -> None:
    op.execute(job_tables("sales"))
