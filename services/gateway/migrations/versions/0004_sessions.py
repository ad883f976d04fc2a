"""Who is logged in."""

from alembic import op

from common.schema import protect
from common.session_rows import SESSIONS

revision = "0004_sessions"
down_revision = "0002"
branch_labels = None
depends_on = None

USER = """
    ALTER TABLE sessions ADD CONSTRAINT sessions_of_user
        FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE;
"""


def upgrade() -> None:
    op.execute(SESSIONS + USER)
    op.execute(protect("gateway", "sessions"))
