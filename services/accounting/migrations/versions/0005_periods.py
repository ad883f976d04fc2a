"""Months of the books that can be closed, and the day of the document behind each entry."""

from alembic import op

from common.schema import protect

revision = "0005_periods"
down_revision = "0002"

_TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"

# A month without a row is open. Which ones are not stands on the company's row too: whoever posts
# locks that row anyway, so it is told of closed months by the same statement, and a lock that had
# to be waited for shows the row as it is after the wait.
_PERIODS = rf"""
    CREATE TABLE periods (
        {_TENANT},
        id text COLLATE "C" NOT NULL,
        state text NOT NULL,
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT periods_company FOREIGN KEY (tenant_id) REFERENCES companies (tenant_id),
        CONSTRAINT periods_are_months CHECK (id ~ '^\d{{4}}-(0[1-9]|1[0-2])$'),
        CONSTRAINT periods_state CHECK (state IN ('open', 'closed', 'locked'))
    );
    ALTER TABLE companies ADD COLUMN closed_periods text[] NOT NULL DEFAULT '{{}}';

    CREATE FUNCTION periods_stay_locked() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'period % is locked', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'periods_stay_locked';
    END $$;
    CREATE TRIGGER periods_stay_locked BEFORE UPDATE OR DELETE ON periods
        FOR EACH ROW WHEN (OLD.state = 'locked') EXECUTE FUNCTION periods_stay_locked();

    CREATE FUNCTION periods_close_the_books() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE companies SET closed_periods = ARRAY(
            SELECT id FROM periods
            WHERE periods.tenant_id = NEW.tenant_id AND state <> 'open' ORDER BY id
        ) WHERE companies.tenant_id = NEW.tenant_id;
        RETURN NULL;
    END $$;
    CREATE TRIGGER periods_close_the_books AFTER INSERT OR UPDATE ON periods
        FOR EACH ROW EXECUTE FUNCTION periods_close_the_books();
"""  # noqa: S608 (only parts of ours)

# The company's row is shared by whoever posts and changed by whoever closes: one waits for the
# other, so no entry can slip into a period that is being closed, whatever a program does.
_GUARD = """
    CREATE FUNCTION journal_entries_in_open_periods() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        company record;
        wrong text;
    BEGIN
        FOR company IN
            SELECT tenant_id, closed_periods FROM companies
            WHERE tenant_id IN (SELECT DISTINCT added.tenant_id FROM added) FOR SHARE
        LOOP
            CONTINUE WHEN company.closed_periods = '{}';
            SELECT number INTO wrong FROM added
            WHERE tenant_id = company.tenant_id
                AND to_char(date, 'YYYY-MM') = ANY(company.closed_periods)
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'journal entry % counts for a closed period', wrong
                    USING ERRCODE = 'check_violation',
                          CONSTRAINT = 'journal_entries_in_open_periods';
            END IF;
        END LOOP;
        RETURN NULL;
    END $$;

    CREATE TRIGGER journal_entries_in_open_periods AFTER INSERT ON journal_entries
        REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION journal_entries_in_open_periods();
"""

# Row security would hide all entries from their owner.
_DOCUMENT_DATES = """
    ALTER TABLE journal_entries ADD COLUMN document_date date;
    ALTER TABLE journal_entries NO FORCE ROW LEVEL SECURITY;
    UPDATE journal_entries SET document_date = date;
    ALTER TABLE journal_entries FORCE ROW LEVEL SECURITY;
    ALTER TABLE journal_entries ALTER COLUMN document_date SET NOT NULL,
        ADD CONSTRAINT journal_entries_count_on_or_after_their_document
            CHECK (date >= document_date);
"""


def upgrade() -> None:
    """Create periods and guard them."""
    op.execute(_PERIODS)
    op.execute(_DOCUMENT_DATES)
    op.execute(_GUARD)
    op.execute(protect("accounting", "periods"))
    op.execute("REVOKE DELETE ON periods FROM accounting_app")
