"""Who changed what, written down by the database itself."""

from alembic import op

from common.audit_tables import audit_tables, audited

revision = "0030_audit_log"
down_revision = "0010_jobs"

AUDITED = (
    audited("tenants", "tenant"),
    audited("users", "user", "id", hidden=("password_hash",)),
    audited("api_tokens", "API token", "id", hidden=("hash",)),
)


def upgrade() -> None:
    op.execute(audit_tables("gateway") + "".join(AUDITED))
