"""Each order that a list offers has its index."""

from alembic import op

from common.schema import ordered

revision = "0051_orders_of_lists"
down_revision = "0050_search"
contract = "its indexes were made by hand before, CONCURRENTLY"

# As the list orders drafts, which have neither: first.
_CONFIRMED = """
    CREATE INDEX IF NOT EXISTS orders_by_number
        ON orders (tenant_id, coalesce(number, ''), id);
    CREATE INDEX IF NOT EXISTS orders_by_confirmed_at
        ON orders (tenant_id, coalesce(confirmed_at, '0001-01-01T00:00:00Z'::timestamptz), id);
"""


def upgrade() -> None:
    op.execute(ordered("customers", "name", "email", "created_at", "updated_at"))
    op.execute(ordered("orders", "gross_minor", "created_at") + _CONFIRMED)
