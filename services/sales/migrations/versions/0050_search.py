"""Customers are found by their words."""

from alembic import op

from common.search import word_table

revision = "0050_search"
down_revision = "0041_traced_failures"


def upgrade() -> None:
    op.execute(word_table("sales", "customers", "number", "name", "email"))
