"""Products and stock counts are found by their state."""

from common.indexes import make_indexes, ordered

revision = "0052_states"
down_revision = "0051_orders_of_lists"


def upgrade() -> None:
    make_indexes(*ordered("products", "state"), *ordered("stock_counts", "state"))
