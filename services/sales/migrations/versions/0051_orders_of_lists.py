"""Each order that a list offers has its index."""

from common.indexes import Index, make_indexes, ordered

revision = "0051_orders_of_lists"
down_revision = "0050_search"

# As the list orders drafts, which have neither: first.
_CONFIRMED = [
    Index("orders_by_number", "orders", "tenant_id, coalesce(number, ''), id"),
    Index(
        "orders_by_confirmed_at",
        "orders",
        "tenant_id, coalesce(confirmed_at, '0001-01-01T00:00:00Z'::timestamptz), id",
    ),
]


def upgrade() -> None:
    make_indexes(
        *ordered("customers", "name", "email", "created_at", "updated_at"),
        *ordered("orders", "gross_minor", "created_at"),
        *_CONFIRMED,
    )
