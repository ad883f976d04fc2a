"""Who changed what, written down by the database itself."""

from alembic import op

from common.audit_tables import audit_tables, audited

revision = "0030_audit_log"
down_revision = "0012_mails"

AUDITED = (
    audited("companies", "company", "tenant_id"),
    audited("customers", "customer"),
    audited("orders", "order"),
    audited("order_lines", "order line", "order_id"),
    audited("shipments", "shipment", "order_id"),
)


def upgrade() -> None:
    op.execute(audit_tables("sales") + "".join(AUDITED))
