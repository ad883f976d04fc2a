"""Each order that a list offers has its index."""

from common.indexes import Index, make_indexes, ordered

revision = "0051_orders_of_lists"
down_revision = "0050_search"

# As the list orders those that do not expire: first.
_EXPIRING = Index(
    "reservations_by_expires_at",
    "reservations",
    "tenant_id, coalesce(expires_at, '0001-01-01T00:00:00Z'::timestamptz), id",
)


def upgrade() -> None:
    make_indexes(
        *ordered("products", "name", "list_price_minor", "created_at", "updated_at"),
        *ordered("warehouses", "name", "created_at", "updated_at"),
        *ordered("stock_movements", "created_at"),
        *ordered("transfers", "created_at", "updated_at"),
        *ordered("stock_counts", "created_at", "updated_at"),
        *ordered("reservations", "created_at", "updated_at"),
        _EXPIRING,
    )
