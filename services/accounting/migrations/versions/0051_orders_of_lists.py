"""Each order that a list offers has its index."""

from alembic import op

from common.indexes import make_indexes, ordered

revision = "0051_orders_of_lists"
down_revision = "0041_traced_failures"


def upgrade() -> None:
    make_indexes(
        *ordered("accounts", "name", "created_at", key="code"),
        *ordered("journal_entries", "date", "created_at", "posted_at"),
        *ordered("invoices", "date", "due_date", "gross_minor", "amount_due_minor", "created_at"),
        *ordered("credit_notes", "customer_id", "gross_minor", "created_at"),
        *ordered("payments", "amount_minor", "created_at"),
        *ordered("tax_rates", "name", "rate", key="code"),
    )
    # All that it did, journal_entries_by_date does.
    op.execute("DROP INDEX IF EXISTS journal_entries_date")
