"""Whether accounting's promises hold, asked of the records themselves."""
# ruff: noqa: D102 (named by gRPC, described in the proto)

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from accounting.invoices import orders_with_invoices
from common import ids
from common.database import Database, Transaction
from erp.audit.v1 import audit_pb2 as pb
from erp.audit.v1 import audit_pb2_grpc as rpc

SERVICE = "accounting"
MOST_IDS = 100
MOST_ORDERS = 10_000
LEAST_ID = UUID(int=0)


@dataclass(frozen=True)
class Rule:
    """A promise, and the query that names the records that break it by id."""

    name: str
    detail: str
    broken_by: str


RULES = (
    Rule(
        "entries_sum_to_zero",
        "journal entries whose debits and credits differ",
        """
        SELECT entry_id FROM journal_lines GROUP BY entry_id, currency
        HAVING sum(debit_minor) <> sum(credit_minor)
        """,
    ),
    Rule(
        "entries_have_their_lines",
        "journal entries with other lines than they were posted with",
        """
        SELECT entry.id FROM journal_entries AS entry
        LEFT JOIN (SELECT entry_id, count(*) AS lines FROM journal_lines GROUP BY entry_id) AS line
            ON line.entry_id = entry.id
        WHERE line.lines IS DISTINCT FROM entry.line_count
        """,
    ),
    Rule(
        "totals_equal_entries",
        "accounts whose monthly totals are not the sums of their entries",
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
    ),
    Rule(
        "invoice_due_equals_history",
        "invoices on which another amount is due than was invoiced less paid and credited",
        """
        SELECT invoice.id FROM invoices AS invoice
        LEFT JOIN (
            SELECT invoice_id, sum(amount_minor) AS paid FROM allocations GROUP BY invoice_id
        ) AS allocation ON allocation.invoice_id = invoice.id
        LEFT JOIN credit_notes AS note ON note.invoice_id = invoice.id
        WHERE invoice.amount_due_minor <> invoice.gross_minor - coalesce(allocation.paid, 0)
                                          - coalesce(note.gross_minor, 0)
           OR (invoice.state = 'credited') <> (note.id IS NOT NULL)
        """,
    ),
    Rule(
        "payments_unallocated",
        "payments that have another amount left than was received less allocated",
        """
        SELECT payment.id FROM payments AS payment
        LEFT JOIN (
            SELECT payment_id, sum(amount_minor) AS used FROM allocations GROUP BY payment_id
        ) AS allocation ON allocation.payment_id = payment.id
        WHERE payment.unallocated_minor <> payment.amount_minor - coalesce(allocation.used, 0)
        """,
    ),
    Rule(
        "one_entry_per_source",
        "records that are not in the books by exactly one entry of their own amount",
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
    ),
    Rule(
        "receivables_equal_open_items",
        "accounts for receivables that differ from what invoices and payments leave open",
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
    ),
    Rule(
        "numbers_without_gap",
        "series with a missing or a double number",
        """
        SELECT concat_ws('-', series, year)
        FROM (
            SELECT split_part(number, '-', 1) AS series,
                   CAST(split_part(number, '-', 2) AS int) AS year,
                   count(*) AS numbers,
                   count(DISTINCT number) AS different,
                   max(CAST(split_part(number, '-', 3) AS bigint)) AS greatest
            FROM (
                SELECT number FROM journal_entries UNION ALL SELECT number FROM invoices
                UNION ALL SELECT number FROM credit_notes UNION ALL SELECT number FROM payments
            ) AS record
            GROUP BY 1, 2
        ) AS used
        FULL JOIN number_series USING (series, year)
        WHERE (numbers, different, greatest) IS DISTINCT FROM (last, last, last)
        """,
    ),
    Rule(
        "events_without_gap",
        "tenants whose events are not numbered without gap up to their head",
        """
        SELECT tenant_id
        FROM event_heads
        FULL JOIN (
            SELECT tenant_id, min(sequence) AS first, max(sequence) AS last, count(*) AS events
            FROM events GROUP BY tenant_id
        ) AS event USING (tenant_id)
        WHERE last IS DISTINCT FROM sequence OR events <> last - first + 1
        """,
    ),
)
_BROKEN = """
    SELECT CAST(id AS text) AS id, count(*) OVER () AS broken
    FROM (SELECT DISTINCT id FROM ({query}) AS found (id)) AS wrong
    ORDER BY id LIMIT :most
"""
_CHECKS = [(rule, text(_BROKEN.format(query=rule.broken_by))) for rule in RULES]
_POSITIONS = text("SELECT listener, source, position FROM subscriptions ORDER BY listener, source")
_HEAD = text("SELECT sequence FROM event_heads")


async def violations(tx: Transaction) -> list[pb.Violation]:
    """Every promise of this service that does not hold for the caller's tenant."""
    found = []
    for rule, check in _CHECKS:
        rows = await tx.rows(check, {"most": MOST_IDS})
        if rows:
            broken = [row.id for row in rows]
            detail = f"{rows[0].broken} {rule.detail}"
            found.append(pb.Violation(rule=rule.name, service=SERVICE, ids=broken, detail=detail))
    return found


class AuditorServicer(rpc.AuditorServicer):
    """Answers for accounting's records of the caller's tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def CheckInvariants(
        self, request: pb.CheckInvariantsRequest, context: object
    ) -> pb.CheckInvariantsResponse:
        async with self._database.read_transaction() as tx:
            return pb.CheckInvariantsResponse(violations=await violations(tx))

    async def ListOrders(
        self, request: pb.ListOrdersRequest, context: object
    ) -> pb.ListOrdersResponse:
        after_id = ids.parse_optional(request.after_id, "after_id") or LEAST_ID
        async with self._database.read_transaction() as tx:
            orders = await orders_with_invoices(tx, after_id, MOST_ORDERS)
        return pb.ListOrdersResponse(order_ids=[str(order_id) for order_id in orders])

    async def ListPositions(
        self, request: pb.ListPositionsRequest, context: object
    ) -> pb.ListPositionsResponse:
        async with self._database.read_transaction() as tx:
            rows = await tx.rows(_POSITIONS)
            head = await tx.scalar(_HEAD)
        positions = [
            pb.Position(listener=row.listener, source=row.source, sequence=row.position)
            for row in rows
        ]
        return pb.ListPositionsResponse(positions=positions, head=head or 0)
