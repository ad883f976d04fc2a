"""Whether the promises of sales hold, asked of its tables."""

from typing import Any, NamedTuple

from sqlalchemy import text

from common import ids
from common.database import Database, Transaction
from erp.audit.v1 import audit_pb2 as pb
from erp.audit.v1 import audit_pb2_grpc as rpc

SERVICE = "sales"
PAGE = 10_000


class Rule(NamedTuple):
    """A promise, and the query that finds what breaks it."""

    name: str
    # Selects id and detail of each record that breaks the promise, by id.
    query: str


# Each rule is one statement and so sees one moment, however much goes on around it.
RULES = (
    Rule(
        "numbers_without_gap_or_twin",
        """
        WITH numbered (series, year, number) AS (
            SELECT 'C', 0, number FROM customers
            UNION ALL
            SELECT 'SO', split_part(number, '-', 2)::int, number FROM orders
            WHERE number IS NOT NULL
            UNION ALL
            SELECT 'SH', split_part(number, '-', 2)::int, number FROM shipments
        ), used AS (
            SELECT series, year, count(*) AS count, count(DISTINCT number) AS different,
                   max(substring(number FROM '[0-9]+$')::bigint) AS greatest
            FROM numbered GROUP BY series, year
        )
        SELECT coalesce(series.series, used.series) || '-' || coalesce(series.year, used.year)
                   AS id,
               format('%s taken, %s used, %s different, greatest %s', coalesce(series.last, 0),
                      coalesce(used.count, 0), coalesce(used.different, 0),
                      coalesce(used.greatest, 0)) AS detail
        FROM number_series AS series FULL JOIN used
            ON used.series = series.series AND used.year = series.year
        WHERE (coalesce(series.last, 0), coalesce(used.count, 0), coalesce(used.different, 0))
              <> (coalesce(used.greatest, 0), coalesce(used.greatest, 0),
                  coalesce(used.greatest, 0))
        """,
    ),
    Rule(
        "confirmed_orders_have_a_number",
        """
        SELECT id, 'state ' || state || ' without a number' AS detail FROM orders
        WHERE state = 'confirmed' AND number IS NULL
        """,
    ),
    Rule(
        "order_sums_equal_lines",
        """
        SELECT orders.id, format('net, tax, gross %s, %s, %s; lines %s, %s, %s', net_minor,
               tax_minor, gross_minor, line.net, line.tax, line.gross) AS detail
        FROM orders LEFT JOIN (
            SELECT order_id, sum(net_minor) AS net, sum(tax_minor) AS tax,
                   sum(gross_minor) AS gross
            FROM order_lines GROUP BY order_id
        ) AS line ON line.order_id = orders.id
        WHERE (net_minor, tax_minor, gross_minor)
              IS DISTINCT FROM (line.net, line.tax, line.gross)
        """,
    ),
    Rule(
        "shipped_within_ordered",
        """
        SELECT id, format('%s shipped of %s', shipped, quantity) AS detail FROM order_lines
        WHERE shipped NOT BETWEEN 0 AND quantity
        """,
    ),
    Rule(
        "shipped_equals_shipments",
        """
        SELECT line.id, format('%s shipped, shipments %s', line.shipped,
                               coalesce(sent.quantity, 0)) AS detail
        FROM order_lines AS line LEFT JOIN (
            SELECT part.order_id, part.order_line_id, sum(part.quantity) AS quantity
            FROM shipment_lines AS part JOIN shipments
                ON shipments.order_id = part.order_id AND shipments.id = part.shipment_id
            WHERE shipments.state <> 'refused'
            GROUP BY part.order_id, part.order_line_id
        ) AS sent ON sent.order_id = line.order_id AND sent.order_line_id = line.id
        WHERE line.shipped <> coalesce(sent.quantity, 0)
        """,
    ),
    Rule(
        "shipment_state_follows_lines",
        """
        SELECT orders.id, format('shipment state %s, lines %s', shipment_state, line.state)
                   AS detail
        FROM orders JOIN (
            SELECT order_id, CASE WHEN sum(shipped) = 0 THEN 'none'
                   WHEN sum(shipped) = sum(quantity) THEN 'shipped' ELSE 'partial' END AS state
            FROM order_lines GROUP BY order_id
        ) AS line ON line.order_id = orders.id
        WHERE shipment_state <> line.state
        """,
    ),
    Rule(
        "only_confirmed_orders_await",
        """
        SELECT id, format('%s awaits %s', state, array_to_string(awaiting, ', ')) AS detail
        FROM orders WHERE awaiting <> '{}' AND number IS NULL
        """,
    ),
    Rule(
        "pending_shipments_are_awaited",
        """
        SELECT orders.id, format('awaits %s, %s shipments pending',
               array_to_string(awaiting, ', '), coalesce(shipment.pending, 0)) AS detail
        FROM orders LEFT JOIN (
            SELECT order_id, count(*) AS pending FROM shipments
            WHERE state = 'pending' GROUP BY order_id
        ) AS shipment ON shipment.order_id = orders.id
        WHERE ('shipment' = ANY(awaiting)) <> (coalesce(shipment.pending, 0) > 0)
        """,
    ),
    Rule(
        "awaiting_follows_states",
        """
        SELECT id, format('%s, reservation %s, invoice %s, awaits %s', state, reservation_state,
               invoice_state, array_to_string(awaiting, ', ')) AS detail
        FROM orders
        WHERE ('reservation' = ANY(awaiting)) <> (reservation_state = 'pending')
           OR ('invoice' = ANY(awaiting)) <> (invoice_state = 'pending')
           OR awaiting && ARRAY['release', 'credit'] AND state <> 'cancelled'
           OR state = 'cancelled' AND number IS NOT NULL AND (
                  reservation_state <> 'released' AND NOT 'release' = ANY(awaiting)
                  OR invoice_state <> 'credited' AND NOT 'credit' = ANY(awaiting))
        """,
    ),
    Rule(
        "events_without_gap",
        """
        SELECT 'events' AS id, format('head %s, greatest %s, from %s on %s events',
               coalesce(head.sequence, 0), stored.greatest, stored.least, stored.count) AS detail
        FROM (SELECT coalesce(max(sequence), 0) AS greatest, coalesce(min(sequence), 1) AS least,
                     count(*) AS count FROM events) AS stored
            LEFT JOIN event_heads AS head ON true
        WHERE coalesce(head.sequence, 0) <> stored.greatest
           OR stored.count <> stored.greatest - stored.least + 1
        """,
    ),
)
_BROKEN = "SELECT id, detail FROM ({}) AS broken ORDER BY id LIMIT 100"
_STATEMENTS = {rule.name: text(_BROKEN.format(rule.query)) for rule in RULES}
_CONFIRMED = text("""
    SELECT id FROM orders WHERE number IS NOT NULL AND (:first OR id > CAST(:after AS uuid))
    ORDER BY id LIMIT :page
""")
_POSITIONS = text("""
    SELECT listener, source, position FROM subscriptions ORDER BY listener, source
""")
_HEAD = text("SELECT sequence FROM event_heads")


class AuditorServicer(rpc.AuditorServicer):
    """Answers for the caller's tenant; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def CheckInvariants(
        self, request: pb.CheckInvariantsRequest, context: Any
    ) -> pb.CheckInvariantsResponse:
        """Checks every rule."""
        async with self._database.read_transaction() as tx:
            checked = [await _check(tx, rule) for rule in RULES]
        return pb.CheckInvariantsResponse(violations=[broken for broken in checked if broken])

    async def ListOrders(
        self, request: pb.ListOrdersRequest, context: Any
    ) -> pb.ListOrdersResponse:
        """Lists the orders that were ever confirmed, by id."""
        after = ids.parse_optional(request.after_id, "after_id")
        parameters = {"first": after is None, "after": after, "page": PAGE}
        async with self._database.read_transaction() as tx:
            rows = await tx.rows(_CONFIRMED, parameters)
        return pb.ListOrdersResponse(order_ids=[str(row.id) for row in rows])

    async def ListPositions(
        self, request: pb.ListPositionsRequest, context: Any
    ) -> pb.ListPositionsResponse:
        """Says how far our listeners have come, and how far our own events go."""
        async with self._database.read_transaction() as tx:
            rows = await tx.rows(_POSITIONS)
            head = await tx.scalar(_HEAD)
        positions = [
            pb.Position(listener=row.listener, source=row.source, sequence=row.position)
            for row in rows
        ]
        return pb.ListPositionsResponse(positions=positions, head=head or 0)


async def _check(tx: Transaction, rule: Rule) -> pb.Violation | None:
    rows = await tx.rows(_STATEMENTS[rule.name])
    if not rows:
        return None
    return pb.Violation(
        rule=rule.name,
        service=SERVICE,
        ids=[str(row.id) for row in rows],
        detail=f"{rows[0].id}: {rows[0].detail}",
    )
