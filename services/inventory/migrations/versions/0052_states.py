"""Products and stock counts are found by their state."""

from alembic import op

from common.schema import ordered

revision = "0052_states"
down_revision = "0051_orders_of_lists"
contract = "its indexes were made by hand before, CONCURRENTLY"


def upgrade() -> None:
    op.execute(ordered("products", "state") + ordered("stock_counts", "state"))
