"""Each order that a list offers has its index."""

from alembic import op

from common.schema import ordered

revision = "0051_orders_of_lists"
down_revision = "0041_traced_failures"
contract = "its indexes were made by hand before, CONCURRENTLY"

# As the list orders those that do not expire: first.
_EXPIRING = """
    CREATE INDEX IF NOT EXISTS api_tokens_by_expires_at
        ON api_tokens (tenant_id, coalesce(expires_at, '0001-01-01T00:00:00Z'::timestamptz), id);
"""


def upgrade() -> None:
    op.execute(ordered("api_tokens", "name", "created_at") + _EXPIRING)
