"""What is done to the audit log is noticed before there is a seal on it."""

from alembic import op

from common.audit_disturbances import disturbances_kept

revision = "0064_audit_disturbances"
down_revision = "0063_quiet_exports"


def upgrade() -> None:
    op.execute(disturbances_kept("gateway"))
