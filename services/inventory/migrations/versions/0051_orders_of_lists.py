"""Each order that a list offers has its index."""

from alembic import op

from common.schema import ordered

revision = "0051_orders_of_lists"
down_revision = "0050_search"
contract = "its indexes were made by hand before, CONCURRENTLY"

# As the list orders those that do not expire: first.
_EXPIRING = """
    CREATE INDEX IF NOT EXISTS reservations_by_expires_at
        ON reservations (tenant_id, coalesce(expires_at, '0001-01-01T00:00:00Z'::timestamptz), id);
"""


def upgrade() -> None:
    op.execute(ordered("products", "name", "list_price_minor", "created_at", "updated_at"))
    op.execute(ordered("warehouses", "name", "created_at", "updated_at"))
    op.execute(ordered("stock_movements", "created_at"))
    op.execute(ordered("transfers", "created_at", "updated_at"))
    op.execute(ordered("stock_counts", "created_at", "updated_at"))
    op.execute(ordered("reservations", "created_at", "updated_at") + _EXPIRING)
