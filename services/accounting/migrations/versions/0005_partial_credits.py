"""Credit notes for parts of invoices, with their lines."""

from alembic import op

from common.schema import protect

revision = "0005_partial_credits"
down_revision = "0005_periods"

_TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"

_LINES = f"""
    CREATE TABLE credit_note_lines (
        {_TENANT},
        credit_note_id uuid NOT NULL,
        position smallint NOT NULL,
        order_line_id uuid NOT NULL,
        sku text NOT NULL,
        quantity numeric(18, 6) NOT NULL,
        net_minor bigint NOT NULL,
        tax_minor bigint NOT NULL,
        PRIMARY KEY (tenant_id, credit_note_id, position),
        CONSTRAINT credit_note_lines_note
            FOREIGN KEY (tenant_id, credit_note_id) REFERENCES credit_notes (tenant_id, id),
        CONSTRAINT credit_note_lines_quantity CHECK (quantity > 0),
        CONSTRAINT credit_note_lines_amounts CHECK (net_minor >= 0 AND tax_minor >= 0)
    );
"""

# Until now a credit note took all of its invoice back. Row security would hide the rows from
# their owner.
_WHOLE = """
    ALTER TABLE credit_notes NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE invoice_lines NO FORCE ROW LEVEL SECURITY;
    INSERT INTO credit_note_lines (tenant_id, credit_note_id, position, order_line_id, sku,
                                   quantity, net_minor, tax_minor)
    SELECT note.tenant_id, note.id, line.position, line.order_line_id, line.sku,
           line.quantity, line.net_minor, line.tax_minor
    FROM credit_notes AS note JOIN invoice_lines AS line
        ON line.tenant_id = note.tenant_id AND line.invoice_id = note.invoice_id;
    ALTER TABLE credit_notes FORCE ROW LEVEL SECURITY;
    ALTER TABLE invoice_lines FORCE ROW LEVEL SECURITY;
"""

_INVOICES = """
    ALTER TABLE credit_notes DROP CONSTRAINT credit_notes_invoice;
    CREATE INDEX credit_notes_of_invoice ON credit_notes (tenant_id, invoice_id, id);
    ALTER TABLE invoices
        DROP CONSTRAINT invoices_state,
        ADD CONSTRAINT invoices_state CHECK (CASE state
            WHEN 'posted' THEN gross_minor > paid_minor + credited_minor
            WHEN 'paid' THEN gross_minor = paid_minor + credited_minor
                AND (paid_minor > 0 OR gross_minor = 0)
            WHEN 'credited' THEN gross_minor = credited_minor AND paid_minor = 0
            ELSE false END);
"""


def upgrade() -> None:
    """Let invoices be credited in parts."""
    op.execute(_LINES + _WHOLE + _INVOICES)
    op.execute(protect("accounting", "credit_note_lines", append_only=True))
