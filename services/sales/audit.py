"""Whether the promises of sales hold, asked of its tables."""

from common.audit import EVENTS_WITHOUT_GAP, AuditorServicer, Rule, numbers_without_gap
from common.database import Database

RULES = (
    numbers_without_gap("""
        SELECT number FROM customers UNION ALL SELECT number FROM shipments
        UNION ALL SELECT number FROM orders WHERE number IS NOT NULL
    """),
    EVENTS_WITHOUT_GAP,
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
)
# The orders that were ever confirmed.
_ORDERS = """
    SELECT id FROM orders WHERE number IS NOT NULL AND id > :after ORDER BY id LIMIT :limit
"""


def auditor_of(database: Database) -> AuditorServicer:
    """Answers for the records of sales."""
    return AuditorServicer("sales", database, RULES, _ORDERS)
