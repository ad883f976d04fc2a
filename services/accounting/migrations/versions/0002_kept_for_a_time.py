"""Answers kept for requests that come again, and events in partitions."""

from alembic import op

from common import partitions
from common.kept_answers import idempotency_keys
from common.schema import partitioned_events

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(partitions.rolling_partitions("accounting"))
    op.execute(idempotency_keys("accounting") + partitioned_events("accounting"))
    op.execute(partitions.ANSWERS.roll() + partitions.EVENTS.roll())
