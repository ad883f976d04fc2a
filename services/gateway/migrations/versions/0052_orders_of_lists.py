"""Each order that a list of people, companies and webhooks offers has its index."""

from common.indexes import Index, make_indexes, ordered

revision = "0052_orders_of_lists"
down_revision = "0051_orders_of_lists"

# Operators see all companies.
_TENANTS = [
    Index(f"tenants_by_{column}", "tenants", f"{column}, id")
    for column in ("name", "created_at", "updated_at")
]


def upgrade() -> None:
    make_indexes(
        *ordered("users", "name", "created_at", "updated_at"),
        *ordered("roles", "created_at", "updated_at"),
        *ordered("webhooks", "created_at", "updated_at"),
        *ordered("webhook_deliveries", "created_at"),
        *ordered("operator_actions", "created_at"),
        *_TENANTS,
    )
