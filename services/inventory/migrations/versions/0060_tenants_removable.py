"""All rows of a tenant that is deleted can be removed."""

from alembic import op

from common.schema import removable

revision = "0060_tenants_removable"
down_revision = "0052_states"


def upgrade() -> None:
    op.execute(removable("inventory"))
