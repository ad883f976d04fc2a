"""Who changed what, written down by the database itself."""

from alembic import op

from common.audit_tables import audit_tables, audited

revision = "0030_audit_log"
down_revision = "0011_people"

AUDITED = (
    audited("tenants", "tenant"),
    audited("users", "user", hidden=("password_hash", "setup_hash")),
    audited("roles", "role"),
    audited("user_roles", "user role", "user_id"),
    audited("api_tokens", "API token", hidden=("hash",)),
    audited("operator_actions", "operator action", "tenant_id"),
)


def upgrade() -> None:
    op.execute(audit_tables("gateway") + "".join(AUDITED))
