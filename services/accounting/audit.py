"""Whether accounting's promises hold, asked of the records themselves."""

from common.audit import EVENTS_WITHOUT_GAP, AuditorServicer, Rule, numbers_without_gap
from common.database import Database

RULES = (
    Rule(
        "entries_sum_to_zero",
        """
        SELECT entry_id FROM journal_lines GROUP BY entry_id, currency
        HAVING sum(debit_minor) <> sum(credit_minor)
        """,
        "journal entries whose debits and credits differ",
    ),
    Rule(
        "entries_have_their_lines",
        """
        SELECT entry.id FROM journal_entries AS entry
        LEFT JOIN (SELECT entry_id, count(*) AS lines FROM journal_lines GROUP BY entry_id) AS line
            ON line.entry_id = entry.id
        WHERE line.lines IS DISTINCT FROM entry.line_count
        """,
        "journal entries with other lines than they were posted with",
    ),
    Rule(
        "totals_equal_entries",
        """
        SELECT account_id
        FROM (
            SELECT account_id, period, currency, debit_minor AS debit, credit_minor AS credit
            FROM account_totals
            UNION ALL
            SELECT line.account_id, entry.date - CAST(extract(day FROM entry.date) AS int) + 1,
                   line.currency, -line.debit_minor, -line.credit_minor
            FROM journal_lines AS line JOIN journal_entries AS entry ON entry.id = line.entry_id
        ) AS part
        GROUP BY account_id, period, currency HAVING sum(debit) <> 0 OR sum(credit) <> 0
        """,
        "accounts whose monthly totals are not the sums of their entries",
    ),
    Rule(
        "invoice_due_equals_history",
        """
        SELECT invoice.id FROM invoices AS invoice
        LEFT JOIN (
            SELECT invoice_id, sum(amount_minor) AS paid FROM allocations GROUP BY invoice_id
        ) AS allocation ON allocation.invoice_id = invoice.id
        LEFT JOIN (
            SELECT invoice_id, sum(gross_minor) AS gross FROM credit_notes GROUP BY invoice_id
        ) AS note ON note.invoice_id = invoice.id
        WHERE invoice.amount_due_minor <> invoice.gross_minor - coalesce(allocation.paid, 0)
                                          - coalesce(note.gross, 0)
           OR (invoice.state = 'credited')
              <> (note.gross IS NOT NULL AND note.gross = invoice.gross_minor)
        """,
        "invoices on which another amount is due than was invoiced less paid and credited",
    ),
    Rule(
        "payments_unallocated",
        """
        SELECT payment.id FROM payments AS payment
        LEFT JOIN (
            SELECT payment_id, sum(amount_minor) AS used FROM allocations GROUP BY payment_id
        ) AS allocation ON allocation.payment_id = payment.id
        WHERE payment.unallocated_minor <> payment.amount_minor - coalesce(allocation.used, 0)
        """,
        "payments that have another amount left than was received less allocated",
    ),
    Rule(
        "one_entry_per_source",
        """
        SELECT record.id
        FROM (
            SELECT 'invoice' AS kind, id, journal_entry_id, gross_minor AS amount FROM invoices
            UNION ALL
            SELECT 'credit_note', id, journal_entry_id, gross_minor FROM credit_notes
            UNION ALL
            SELECT 'payment', id, journal_entry_id, amount_minor FROM payments
            UNION ALL
            SELECT 'payment_void', payment.id, entry.id, amount_minor
            FROM payments AS payment LEFT JOIN journal_entries AS entry
                ON entry.reverses_id = payment.journal_entry_id
            WHERE payment.state = 'voided'
        ) AS record
        LEFT JOIN journal_entries AS entry
            ON entry.source_kind = record.kind AND entry.source_id = record.id
        LEFT JOIN (
            SELECT entry_id, sum(debit_minor) AS amount FROM journal_lines GROUP BY entry_id
        ) AS line ON line.entry_id = entry.id
        WHERE coalesce(line.amount, 0) <> record.amount
           OR entry.id IS DISTINCT FROM record.journal_entry_id
        UNION ALL
        SELECT source_id FROM journal_entries GROUP BY source_kind, source_id HAVING count(*) > 1
        """,
        "records that are not in the books by exactly one entry of their own amount",
    ),
    Rule(
        "receivables_equal_open_items",
        """
        SELECT account.id FROM accounts AS account
        WHERE account.role = 'receivable' AND (
            SELECT coalesce(sum(line.debit_minor - line.credit_minor), 0)
            FROM journal_lines AS line JOIN journal_entries AS entry ON entry.id = line.entry_id
            WHERE line.account_id = account.id
              AND entry.source_kind IN ('invoice', 'credit_note', 'payment', 'payment_void')
        ) <> (SELECT coalesce(sum(amount_due_minor), 0) FROM invoices)
           - (SELECT coalesce(sum(unallocated_minor), 0) FROM payments WHERE state = 'posted')
        """,
        "accounts for receivables that differ from what invoices and payments leave open",
    ),
    Rule(
        "credit_notes_take_back_what_was_invoiced",
        """
        SELECT note.id FROM credit_notes AS note LEFT JOIN (
            SELECT credit_note_id, sum(net_minor) AS net, sum(tax_minor) AS tax
            FROM credit_note_lines GROUP BY credit_note_id
        ) AS line ON line.credit_note_id = note.id
        WHERE (note.net_minor, note.tax_minor) IS DISTINCT FROM (line.net, line.tax)
        UNION ALL
        SELECT invoice_line.invoice_id FROM invoice_lines AS invoice_line JOIN (
            SELECT note.invoice_id, line.order_line_id, sum(line.quantity) AS quantity,
                   sum(line.net_minor) AS net, sum(line.tax_minor) AS tax
            FROM credit_note_lines AS line JOIN credit_notes AS note
                ON note.id = line.credit_note_id
            GROUP BY note.invoice_id, line.order_line_id
        ) AS credited ON credited.invoice_id = invoice_line.invoice_id
            AND credited.order_line_id = invoice_line.order_line_id
        WHERE credited.quantity > invoice_line.quantity
           OR credited.net > invoice_line.net_minor OR credited.tax > invoice_line.tax_minor
        """,
        "credit notes that are not the sums of their lines, or take back more than was invoiced",
    ),
    Rule(
        "closed_periods_stand_on_the_company",
        """
        SELECT CAST(tenant_id AS text) FROM companies
        WHERE closed_periods <> ARRAY(SELECT id FROM periods WHERE state <> 'open' ORDER BY id)
        UNION ALL
        SELECT CAST(draft.id AS text) FROM entry_drafts AS draft JOIN periods AS period
            ON period.id = to_char(draft.date, 'YYYY-MM')
        WHERE period.state <> 'open'
        """,
        "companies that disagree with their periods, and drafts dated in closed periods",
    ),
    numbers_without_gap("""
        SELECT number FROM journal_entries UNION ALL SELECT number FROM invoices
        UNION ALL SELECT number FROM credit_notes UNION ALL SELECT number FROM payments
    """),
    EVENTS_WITHOUT_GAP,
)
_ORDERS = """
    SELECT order_id AS id FROM invoices WHERE order_id > :after ORDER BY order_id LIMIT :limit
"""


def auditor_of(database: Database) -> AuditorServicer:
    """Answers for accounting's records."""
    return AuditorServicer("accounting", database, RULES, _ORDERS)
