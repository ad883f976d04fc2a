"""A job that failed for good keeps its trace: who retries it goes on there."""

from alembic import op

from common.schema import traced

revision = "0041_traced_failures"
down_revision = "0040_traces"


def upgrade() -> None:
    op.execute(traced("failed_jobs"))
