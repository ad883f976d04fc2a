"""The books, invoices, payments and taxes of each company."""

from alembic import op

from common.schema import event_tables, number_series, protect_all

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"
VERSION = """
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()"""

# The row of a company is also the lock of its books (books.py).
CHART = f"""
    CREATE TABLE companies (
        {TENANT},
        name text NOT NULL,
        currency_code text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id),
        CONSTRAINT companies_currency_code CHECK (currency_code ~ '^[A-Z]{{3}}$')
    );

    CREATE TABLE accounts (
        {TENANT},
        id uuid NOT NULL,
        code text COLLATE "C" NOT NULL,
        name text NOT NULL,
        kind text NOT NULL,
        parent_id uuid,
        role text NOT NULL DEFAULT '',
        {VERSION},
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT accounts_code UNIQUE (tenant_id, code),
        CONSTRAINT accounts_id_kind UNIQUE (tenant_id, id, kind),
        CONSTRAINT accounts_parent_of_same_kind
            FOREIGN KEY (tenant_id, parent_id, kind) REFERENCES accounts (tenant_id, id, kind),
        CONSTRAINT accounts_kind
            CHECK (kind IN ('asset', 'liability', 'equity', 'revenue', 'expense')),
        CONSTRAINT accounts_not_own_parent CHECK (parent_id <> id)
    );
    CREATE UNIQUE INDEX accounts_role ON accounts (tenant_id, role) WHERE role <> '';
    CREATE INDEX accounts_parent ON accounts (tenant_id, parent_id) WHERE parent_id IS NOT NULL;
"""

# An entry and its lines refer to each other, so that neither can be written without the other:
# one statement has to write both.
JOURNAL = f"""
    CREATE TABLE journal_entries (
        {TENANT},
        id uuid NOT NULL,
        number text NOT NULL,
        date date NOT NULL,
        description text NOT NULL,
        source_kind text NOT NULL,
        source_id uuid NOT NULL,
        reverses_id uuid,
        line_count smallint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        posted_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT journal_entries_number UNIQUE (tenant_id, number),
        CONSTRAINT journal_entries_source UNIQUE (tenant_id, source_kind, source_id),
        CONSTRAINT journal_entries_reverses
            FOREIGN KEY (tenant_id, reverses_id) REFERENCES journal_entries (tenant_id, id),
        CONSTRAINT journal_entries_two_lines CHECK (line_count >= 2),
        CONSTRAINT journal_entries_source_kind CHECK (source_kind IN (
            'invoice', 'credit_note', 'payment', 'payment_void', 'receipt', 'adjustment',
            'shipment', 'reversal', 'manual'))
    );
    CREATE UNIQUE INDEX journal_entries_reversed_once
        ON journal_entries (tenant_id, reverses_id) WHERE reverses_id IS NOT NULL;
    CREATE INDEX journal_entries_date ON journal_entries (tenant_id, date);

    CREATE TABLE journal_lines (
        {TENANT},
        entry_id uuid NOT NULL,
        position smallint NOT NULL,
        account_id uuid NOT NULL,
        currency text NOT NULL,
        debit_minor bigint NOT NULL,
        credit_minor bigint NOT NULL,
        description text NOT NULL DEFAULT '',
        PRIMARY KEY (tenant_id, entry_id, position),
        CONSTRAINT journal_lines_entry
            FOREIGN KEY (tenant_id, entry_id) REFERENCES journal_entries (tenant_id, id),
        CONSTRAINT journal_lines_account
            FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id),
        CONSTRAINT journal_lines_position CHECK (position >= 1),
        CONSTRAINT journal_lines_one_side CHECK (
            (debit_minor > 0 AND credit_minor = 0) OR (credit_minor > 0 AND debit_minor = 0)),
        CONSTRAINT journal_lines_currency CHECK (currency ~ '^[A-Z]{{3}}$')
    );
    ALTER TABLE journal_entries ADD CONSTRAINT journal_entries_last_line
        FOREIGN KEY (tenant_id, id, line_count)
        REFERENCES journal_lines (tenant_id, entry_id, position);

    CREATE TABLE account_totals (
        {TENANT},
        account_id uuid NOT NULL,
        period date NOT NULL,
        currency text NOT NULL,
        debit_minor numeric(38, 0) NOT NULL,
        credit_minor numeric(38, 0) NOT NULL,
        PRIMARY KEY (tenant_id, account_id, period, currency),
        CONSTRAINT account_totals_account
            FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id),
        CONSTRAINT account_totals_period CHECK (extract(day FROM period) = 1),
        CONSTRAINT account_totals_not_negative CHECK (debit_minor >= 0 AND credit_minor >= 0)
    ) WITH (fillfactor = 50);
"""

# Positions 1 to line_count in one statement: with the primary key nobody can add a line later.
BALANCE = """
    CREATE FUNCTION journal_lines_balance() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        wrong uuid;
    BEGIN
        SELECT entry_id INTO wrong FROM added
        GROUP BY tenant_id, entry_id, currency
        HAVING sum(debit_minor) <> sum(credit_minor)
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'debits and credits of journal entry % differ', wrong
                USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_lines_balance';
        END IF;

        SELECT entry.id INTO wrong
        FROM journal_entries AS entry
        JOIN (
            SELECT tenant_id, entry_id, count(*) AS lines, max(position) AS last
            FROM added GROUP BY tenant_id, entry_id
        ) AS mine ON mine.tenant_id = entry.tenant_id AND mine.entry_id = entry.id
        WHERE mine.lines <> entry.line_count OR mine.last <> entry.line_count
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % was not written with all of its lines', wrong
                USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_lines_whole';
        END IF;
        RETURN NULL;
    END $$;

    CREATE TRIGGER journal_lines_balance AFTER INSERT ON journal_lines
        REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION journal_lines_balance();
"""

DRAFTS = f"""
    CREATE TABLE entry_drafts (
        {TENANT},
        id uuid NOT NULL,
        date date NOT NULL,
        description text NOT NULL,
        currency text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id)
    );

    CREATE TABLE entry_draft_lines (
        {TENANT},
        draft_id uuid NOT NULL,
        position smallint NOT NULL,
        account_id uuid NOT NULL,
        debit_minor bigint NOT NULL,
        credit_minor bigint NOT NULL,
        description text NOT NULL DEFAULT '',
        PRIMARY KEY (tenant_id, draft_id, position),
        CONSTRAINT entry_draft_lines_draft
            FOREIGN KEY (tenant_id, draft_id) REFERENCES entry_drafts (tenant_id, id)
            ON DELETE CASCADE,
        CONSTRAINT entry_draft_lines_account
            FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id),
        CONSTRAINT entry_draft_lines_one_side CHECK (
            (debit_minor > 0 AND credit_minor = 0) OR (credit_minor > 0 AND debit_minor = 0))
    );
"""

# An order without a price has an invoice without an entry: there is nothing to post.
INVOICES = f"""
    CREATE TABLE invoices (
        {TENANT},
        id uuid NOT NULL,
        number text NOT NULL,
        order_id uuid NOT NULL,
        customer_id uuid NOT NULL,
        state text NOT NULL,
        date date NOT NULL,
        due_date date NOT NULL,
        currency text NOT NULL,
        net_minor bigint NOT NULL,
        tax_minor bigint NOT NULL,
        gross_minor bigint NOT NULL,
        paid_minor bigint NOT NULL DEFAULT 0,
        credited_minor bigint NOT NULL DEFAULT 0,
        amount_due_minor bigint
            GENERATED ALWAYS AS (gross_minor - paid_minor - credited_minor) STORED,
        journal_entry_id uuid,
        {VERSION},
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT invoices_number UNIQUE (tenant_id, number),
        CONSTRAINT invoices_order UNIQUE (tenant_id, order_id),
        CONSTRAINT invoices_journal_entry
            FOREIGN KEY (tenant_id, journal_entry_id) REFERENCES journal_entries (tenant_id, id),
        CONSTRAINT invoices_gross CHECK (
            net_minor >= 0 AND tax_minor >= 0 AND gross_minor = net_minor + tax_minor),
        CONSTRAINT invoices_amount_due CHECK (
            paid_minor >= 0 AND credited_minor >= 0
            AND gross_minor - paid_minor - credited_minor >= 0),
        CONSTRAINT invoices_posted CHECK ((gross_minor = 0) = (journal_entry_id IS NULL)),
        CONSTRAINT invoices_due_after_date CHECK (due_date >= date),
        CONSTRAINT invoices_state CHECK (CASE state
            WHEN 'posted' THEN gross_minor > paid_minor AND credited_minor = 0
            WHEN 'paid' THEN gross_minor = paid_minor AND credited_minor = 0
            WHEN 'credited' THEN gross_minor = credited_minor AND paid_minor = 0
            ELSE false END)
    ) WITH (fillfactor = 80);
    CREATE INDEX invoices_customer ON invoices (tenant_id, customer_id, id);
    CREATE INDEX invoices_open ON invoices (tenant_id, id) WHERE state = 'posted';

    CREATE TABLE invoice_lines (
        {TENANT},
        invoice_id uuid NOT NULL,
        position smallint NOT NULL,
        order_line_id uuid NOT NULL,
        sku text NOT NULL,
        quantity numeric(18, 6) NOT NULL,
        net_minor bigint NOT NULL,
        tax_rate numeric(7, 6) NOT NULL,
        tax_minor bigint NOT NULL,
        PRIMARY KEY (tenant_id, invoice_id, position),
        CONSTRAINT invoice_lines_invoice
            FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices (tenant_id, id),
        CONSTRAINT invoice_lines_quantity CHECK (quantity > 0),
        CONSTRAINT invoice_lines_amounts CHECK (
            net_minor >= 0 AND tax_minor >= 0 AND tax_rate BETWEEN 0 AND 1)
    );

    CREATE TABLE credit_notes (
        {TENANT},
        id uuid NOT NULL,
        number text NOT NULL,
        invoice_id uuid NOT NULL,
        order_id uuid NOT NULL,
        customer_id uuid NOT NULL,
        currency text NOT NULL,
        net_minor bigint NOT NULL,
        tax_minor bigint NOT NULL,
        gross_minor bigint NOT NULL,
        reason text NOT NULL DEFAULT '',
        journal_entry_id uuid,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT credit_notes_number UNIQUE (tenant_id, number),
        CONSTRAINT credit_notes_invoice UNIQUE (tenant_id, invoice_id),
        CONSTRAINT credit_notes_of_invoice
            FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices (tenant_id, id),
        CONSTRAINT credit_notes_journal_entry
            FOREIGN KEY (tenant_id, journal_entry_id) REFERENCES journal_entries (tenant_id, id),
        CONSTRAINT credit_notes_gross CHECK (
            net_minor >= 0 AND tax_minor >= 0 AND gross_minor = net_minor + tax_minor),
        CONSTRAINT credit_notes_posted CHECK ((gross_minor = 0) = (journal_entry_id IS NULL))
    );
    CREATE INDEX credit_notes_order ON credit_notes (tenant_id, order_id);
"""

# Allocations are a history: taking one back is a row with a negative amount.
PAYMENTS = f"""
    CREATE TABLE payments (
        {TENANT},
        id uuid NOT NULL,
        number text NOT NULL,
        customer_id uuid NOT NULL,
        currency text NOT NULL,
        amount_minor bigint NOT NULL,
        unallocated_minor bigint NOT NULL,
        method text NOT NULL,
        state text NOT NULL,
        reference text NOT NULL DEFAULT '',
        void_reason text NOT NULL DEFAULT '',
        journal_entry_id uuid NOT NULL,
        {VERSION},
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT payments_number UNIQUE (tenant_id, number),
        CONSTRAINT payments_journal_entry
            FOREIGN KEY (tenant_id, journal_entry_id) REFERENCES journal_entries (tenant_id, id),
        CONSTRAINT payments_amount CHECK (amount_minor > 0),
        CONSTRAINT payments_unallocated CHECK (unallocated_minor BETWEEN 0 AND amount_minor),
        CONSTRAINT payments_method CHECK (method IN ('bank_transfer', 'cash', 'card')),
        CONSTRAINT payments_state CHECK (
            state = 'posted' OR (state = 'voided' AND unallocated_minor = amount_minor))
    ) WITH (fillfactor = 80);
    CREATE INDEX payments_customer ON payments (tenant_id, customer_id, id);

    CREATE TABLE allocations (
        {TENANT},
        id uuid NOT NULL,
        payment_id uuid NOT NULL,
        invoice_id uuid NOT NULL,
        amount_minor bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT allocations_payment
            FOREIGN KEY (tenant_id, payment_id) REFERENCES payments (tenant_id, id),
        CONSTRAINT allocations_invoice
            FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices (tenant_id, id),
        CONSTRAINT allocations_amount CHECK (amount_minor <> 0)
    );
    CREATE INDEX allocations_of_payment ON allocations (tenant_id, payment_id);
    CREATE INDEX allocations_of_invoice ON allocations (tenant_id, invoice_id);
"""

TAXES = f"""
    CREATE TABLE tax_rates (
        {TENANT},
        id uuid NOT NULL,
        code text COLLATE "C" NOT NULL,
        name text NOT NULL,
        rate numeric(7, 6) NOT NULL,
        is_default boolean NOT NULL,
        {VERSION},
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT tax_rates_code UNIQUE (tenant_id, code),
        CONSTRAINT tax_rates_rate CHECK (rate BETWEEN 0 AND 1)
    );
    CREATE UNIQUE INDEX tax_rates_one_default ON tax_rates (tenant_id) WHERE is_default;
"""

APPEND_ONLY = (
    "accounts",
    "journal_entries",
    "journal_lines",
    "invoice_lines",
    "credit_notes",
    "allocations",
)
OTHERS = (
    "companies",
    "account_totals",
    "entry_drafts",
    "entry_draft_lines",
    "invoices",
    "payments",
    "tax_rates",
)

# What was agreed on a document stays; only what was paid of it changes.
RIGHTS = """
    REVOKE UPDATE, DELETE ON invoices, payments FROM accounting_app;
    GRANT UPDATE (state, paid_minor, credited_minor, version, updated_at)
        ON invoices TO accounting_app;
    GRANT UPDATE (state, unallocated_minor, void_reason, version, updated_at)
        ON payments TO accounting_app;
    REVOKE DELETE ON companies, account_totals, tax_rates FROM accounting_app;
"""


def upgrade() -> None:
    """Create everything."""
    for part in (CHART, JOURNAL, BALANCE, DRAFTS, INVOICES, PAYMENTS, TAXES):
        op.execute(part)
    op.execute(event_tables("accounting"))
    op.execute(number_series("accounting"))
    op.execute(protect_all("accounting", (*APPEND_ONLY, *OTHERS), append_only=APPEND_ONLY))
    op.execute(RIGHTS)
