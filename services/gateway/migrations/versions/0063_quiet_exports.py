"""How far an export has come is no change that somebody made."""

from alembic import op

from common.audit_tables import changes_audited

revision = "0063_quiet_exports"
down_revision = "0062_mails"

_PROGRESS = ("done_tables", "total_tables", "total_rows", "bytes")
_OUTCOME = ("state", "sha256", "finished_at", "expires_at")


def upgrade() -> None:
    op.execute("DROP TRIGGER tenant_exports_changed ON tenant_exports")
    op.execute(changes_audited("tenant_exports", "tenant export", hidden=_PROGRESS, of=_OUTCOME))
