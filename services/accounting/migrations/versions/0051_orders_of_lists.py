"""Each order that a list offers has its index."""

from alembic import op

from common.schema import ordered

revision = "0051_orders_of_lists"
down_revision = "0041_traced_failures"
contract = "its indexes were made by hand before, CONCURRENTLY"


def upgrade() -> None:
    op.execute(ordered("accounts", "name", "created_at", key="code"))
    op.execute(ordered("journal_entries", "date", "created_at", "posted_at"))
    # All that it did, journal_entries_by_date does.
    op.execute("DROP INDEX IF EXISTS journal_entries_date")
    op.execute(
        ordered("invoices", "date", "due_date", "gross_minor", "amount_due_minor", "created_at")
    )
    op.execute(ordered("credit_notes", "customer_id", "gross_minor", "created_at"))
    op.execute(ordered("payments", "amount_minor", "created_at"))
    op.execute(ordered("tax_rates", "name", "rate", key="code"))
