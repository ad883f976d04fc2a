"""Orders that end by themselves."""

from alembic import op

revision = "0011_expiring_orders"
down_revision = "0010_jobs"

EXPIRING = """
    ALTER TABLE orders
        ADD COLUMN expires_at timestamptz,
        ADD COLUMN paid boolean NOT NULL DEFAULT false,
        DROP CONSTRAINT orders_state_check,
        ADD CONSTRAINT orders_state_check CHECK (
            state IN ('draft', 'confirmed', 'cancelled', 'expired')),
        ADD CONSTRAINT orders_expired_check CHECK (
            state <> 'expired' OR number IS NULL AND expires_at IS NOT NULL);
    CREATE INDEX orders_expiring ON orders (expires_at) WHERE expires_at IS NOT NULL
        AND (state = 'draft' OR state = 'confirmed' AND shipment_state = 'none' AND NOT paid);
"""


def upgrade() -> None:
    op.execute(EXPIRING)
