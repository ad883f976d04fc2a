"""Whether the inventory's records prove each other."""

from common.audit import EVENTS_WITHOUT_GAP, AuditorServicer, Rule, numbers_without_gap
from common.database import Database

RULES = (
    Rule(
        "stock_equals_movements",
        """
        SELECT product_id || '/' || warehouse_id AS id,
            format('on hand %s worth %s, moved %s worth %s',
                level.on_hand, level.value_minor, moved.quantity, moved.value) AS detail
        FROM stock_levels AS level FULL JOIN (
            SELECT product_id, warehouse_id, sum(quantity) AS quantity, sum(value_minor) AS value
            FROM stock_movements GROUP BY product_id, warehouse_id
        ) AS moved USING (product_id, warehouse_id)
        WHERE (coalesce(level.on_hand, 0), coalesce(level.value_minor, 0))
            <> (coalesce(moved.quantity, 0), coalesce(moved.value, 0))
        """,
    ),
    Rule(
        "reserved_equals_held",
        """
        SELECT product_id || '/' || warehouse_id AS id,
            format('reserved %s, held %s', level.reserved, held.quantity) AS detail
        FROM stock_levels AS level FULL JOIN (
            SELECT line.product_id, line.warehouse_id, sum(line.quantity - line.shipped) AS quantity
            FROM reservation_lines AS line
                JOIN reservations AS reservation ON reservation.id = line.reservation_id
            WHERE reservation.state = 'held' GROUP BY line.product_id, line.warehouse_id
        ) AS held USING (product_id, warehouse_id)
        WHERE coalesce(level.reserved, 0) <> coalesce(held.quantity, 0)
        """,
    ),
    Rule(
        "levels_within_bounds",
        """
        SELECT product_id || '/' || warehouse_id AS id,
            format('on hand %s, reserved %s, worth %s', on_hand, reserved, value_minor) AS detail
        FROM stock_levels
        WHERE reserved < 0 OR reserved > on_hand OR value_minor < 0
            OR (on_hand = 0 AND value_minor <> 0)
        """,
    ),
    Rule(
        "reservations_agree_with_their_lines",
        """
        SELECT reservation.id, format('%s; %s short, %s left', reservation.state,
            sum(line.shortage), sum(line.quantity - line.shipped)) AS detail
        FROM reservations AS reservation
            LEFT JOIN reservation_lines AS line ON line.reservation_id = reservation.id
        GROUP BY reservation.id, reservation.state
        HAVING count(line) = 0
            OR (reservation.state = 'backordered') <> (sum(line.shortage) > 0)
            OR (reservation.state = 'shipped') <> (sum(line.quantity - line.shipped) = 0)
        """,
    ),
    Rule(
        "documents_move_stock",
        """
        SELECT document.id, format('%s moved nothing', document.number) AS detail
        FROM (SELECT id, number FROM receipts UNION ALL SELECT id, number FROM adjustments
              UNION ALL SELECT id, number FROM transfers) AS document
        WHERE NOT EXISTS (SELECT FROM stock_movements WHERE source_id = document.id)
        """,
    ),
    Rule(
        "in_transit_is_sent_less_arrived",
        """
        SELECT transfer_id || '/' || product_id AS id,
            format('%s worth %s in transit, %s worth %s by movements',
                line.in_transit, line.transit_value_minor, moved.quantity, moved.value) AS detail
        FROM (SELECT *, quantity - received - returned AS in_transit FROM transfer_lines) AS line
        FULL JOIN (
            SELECT source_id AS transfer_id, product_id, -sum(quantity) AS quantity,
                -sum(value_minor) AS value
            FROM stock_movements WHERE source_kind = 'transfer' GROUP BY source_id, product_id
        ) AS moved USING (transfer_id, product_id)
        WHERE (line.in_transit, line.transit_value_minor)
            IS DISTINCT FROM (moved.quantity, moved.value)
            OR line.in_transit < 0 OR line.transit_value_minor < 0
        """,
    ),
    Rule(
        "transfers_agree_with_their_lines",
        """
        SELECT transfer.id, format('%s; %s on the way, %s returned', transfer.state,
            sum(line.in_transit), sum(line.returned)) AS detail
        FROM transfers AS transfer
            LEFT JOIN (
                SELECT *, quantity - received - returned AS in_transit FROM transfer_lines
            ) AS line ON line.transfer_id = transfer.id
        GROUP BY transfer.id, transfer.state
        HAVING count(line) = 0
            OR (transfer.state = 'in_transit') <> (sum(line.in_transit) > 0)
            OR (transfer.state = 'cancelled') <> (sum(line.returned) > 0)
        """,
    ),
    Rule(
        "transfers_stay_worth_the_same",
        """
        SELECT 'all' AS id, format('movements came to %s, stock and goods in transit are worth %s',
            moved.value, stock.value + transit.value) AS detail
        FROM (SELECT coalesce(sum(value_minor), 0) AS value FROM stock_movements
              WHERE source_kind <> 'transfer') AS moved,
            (SELECT coalesce(sum(value_minor), 0) AS value FROM stock_levels) AS stock,
            (SELECT coalesce(sum(transit_value_minor), 0) AS value FROM transfer_lines) AS transit
        WHERE moved.value <> stock.value + transit.value
        """,
    ),
    Rule(
        "counts_are_made_good_as_found",
        """
        SELECT counted.id, format('%s; difference %s, adjusted %s', counted.state,
            counted.difference, coalesce(moved.quantity, 0)) AS detail
        FROM (
            SELECT count.id, count.state, count.adjustment_id, line.product_id,
                line.counted - line.expected AS difference, line.is_open
            FROM stock_counts AS count LEFT JOIN stock_count_lines AS line
                ON line.count_id = count.id
        ) AS counted
        LEFT JOIN stock_movements AS moved ON moved.source_id = counted.adjustment_id
            AND moved.product_id = counted.product_id
        WHERE counted.is_open IS DISTINCT FROM (counted.state = 'open')
            OR counted.state = 'posted'
                AND counted.difference IS DISTINCT FROM coalesce(moved.quantity, 0)
        """,
    ),
    numbers_without_gap("""
        SELECT number FROM receipts UNION ALL SELECT number FROM adjustments
        UNION ALL SELECT number FROM transfers UNION ALL SELECT number FROM stock_counts
    """),
    EVENTS_WITHOUT_GAP,
)

# An order's hold before its confirmation ends by itself; until then there is no confirmed order.
_ORDERS = """
    SELECT order_id AS id FROM reservations
    WHERE origin = 'order' AND expires_at IS NULL AND order_id > :after
    ORDER BY order_id LIMIT :limit
"""


def auditor_of(database: Database) -> AuditorServicer:
    """Answers for the records of the inventory."""
    return AuditorServicer("inventory", database, RULES, _ORDERS)
