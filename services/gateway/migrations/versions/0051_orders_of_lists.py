"""Each order that a list offers has its index."""

from common.indexes import Index, make_indexes, ordered

revision = "0051_orders_of_lists"
down_revision = "0041_traced_failures"

# As the list orders those that do not expire: first.
_EXPIRING = Index(
    "api_tokens_by_expires_at",
    "api_tokens",
    "tenant_id, coalesce(expires_at, '0001-01-01T00:00:00Z'::timestamptz), id",
)


def upgrade() -> None:
    make_indexes(*ordered("api_tokens", "name", "created_at"), _EXPIRING)
