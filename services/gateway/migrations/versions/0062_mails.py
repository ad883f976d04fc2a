"""Mails to a company's own people."""

from alembic import op

from common.mails import mail_table

revision = "0062_mails"
down_revision = "0061_tenant_exports"


def upgrade() -> None:
    op.execute(mail_table("gateway"))
