"""Answers kept for requests that come again."""

from alembic import op

from common.kept_answers import KEPT_DAYS, TABLE, idempotency_keys
from common.partitions import rolled, rolling_partitions

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(rolling_partitions("accounting") + idempotency_keys("accounting"))
    op.execute(rolled(TABLE, KEPT_DAYS))
