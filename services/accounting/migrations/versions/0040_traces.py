"""Events and jobs know the trace of what caused them."""

from alembic import op

from common.schema import traced

revision = "0040_traces"
down_revision = "0031_audited_cascades"


def upgrade() -> None:
    op.execute(traced("events", "jobs"))
