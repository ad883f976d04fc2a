"""Customers in files, found by address however it is written."""

from alembic import op

from common.files.tables import export_tables, import_tables

revision = "0031_files"
down_revision = "0030_audit_log"

BY_ADDRESS = """
    CREATE INDEX customers_address ON customers (tenant_id, lower(email)) WHERE email <> '';
"""


def upgrade() -> None:
    op.execute(BY_ADDRESS + import_tables("sales") + export_tables("sales"))
