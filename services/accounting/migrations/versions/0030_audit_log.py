"""Who changed what, written down by the database itself."""

from alembic import op

from common.audit_tables import audit_tables, audited

revision = "0030_audit_log"
down_revision = "0010_jobs"

AUDITED = (
    audited("companies", "company", "tenant_id"),
    audited("accounts", "account"),
    audited("journal_entries", "journal entry"),
    audited("entry_drafts", "entry draft"),
    audited("entry_draft_lines", "entry draft line", "draft_id"),
    audited("invoices", "invoice"),
    audited("credit_notes", "credit note"),
    audited("payments", "payment"),
    audited("allocations", "allocation", "payment_id"),
    audited("tax_rates", "tax rate"),
    audited("periods", "period"),
)


def upgrade() -> None:
    op.execute(audit_tables("accounting") + "".join(AUDITED))
