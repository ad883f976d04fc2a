"""All rows of a tenant that is deleted can be removed, its locked months as well."""

from alembic import op

from common.schema import removable

revision = "0060_tenants_removable"
down_revision = "0052_states"

# A locked month never changes; it goes with its tenant, for whose removal alone the system role
# has the right to remove any.
LOCKED_MONTHS = """
    CREATE OR REPLACE FUNCTION periods_stay_locked() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND current_user = 'accounting_system' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'period % is locked', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'periods_stay_locked';
    END $$;
"""


def upgrade() -> None:
    op.execute(removable("accounting"))
    op.execute(LOCKED_MONTHS)
