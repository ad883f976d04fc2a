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
        FROM (SELECT id, number FROM receipts UNION ALL SELECT id, number FROM adjustments)
            AS document
        WHERE NOT EXISTS (SELECT FROM stock_movements WHERE source_id = document.id)
        """,
    ),
    numbers_without_gap("SELECT number FROM receipts UNION ALL SELECT number FROM adjustments"),
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
