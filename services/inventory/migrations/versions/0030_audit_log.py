"""Who changed what, written down by the database itself."""

from alembic import op

from common.audit_tables import audit_tables, audited

revision = "0030_audit_log"
down_revision = "0010_jobs"

AUDITED = (
    audited("companies", "company", "tenant_id"),
    audited("products", "product"),
    audited("warehouses", "warehouse"),
    audited("receipts", "receipt"),
    audited("adjustments", "adjustment"),
    audited("reservations", "reservation"),
    audited("transfers", "transfer"),
    audited("transfer_lines", "transfer line", "transfer_id"),
    audited("stock_counts", "stock count"),
    audited("stock_count_lines", "stock count line", "count_id"),
)


def upgrade() -> None:
    op.execute(audit_tables("inventory") + "".join(AUDITED))
