"""Each order that a list of people, companies and webhooks offers has its index."""

from alembic import op

from common.schema import ordered

revision = "0052_orders_of_lists"
down_revision = "0051_orders_of_lists"
contract = "its indexes were made by hand before, CONCURRENTLY"

# Operators see all companies.
_TENANTS = "".join(
    f"CREATE INDEX IF NOT EXISTS tenants_by_{column} ON tenants ({column}, id);"
    for column in ("name", "created_at", "updated_at")
)


def upgrade() -> None:
    op.execute(ordered("users", "name", "created_at", "updated_at"))
    op.execute(ordered("roles", "created_at", "updated_at"))
    op.execute(ordered("webhooks", "created_at", "updated_at"))
    op.execute(ordered("webhook_deliveries", "created_at"))
    op.execute(ordered("operator_actions", "created_at"))
    op.execute(_TENANTS)
