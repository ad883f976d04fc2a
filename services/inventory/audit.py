"""Checks that the inventory's records prove each other."""

from dataclasses import dataclass

from sqlalchemy import TextClause, text

from common import ids
from common.database import Database, Transaction
from erp.audit.v1 import audit_pb2 as pb
from erp.audit.v1 import audit_pb2_grpc as rpc

SERVICE = "inventory"
MOST_IDS = 100
ORDERS_A_PAGE = 10_000


@dataclass(frozen=True)
class Rule:
    """What must hold, and the query that finds what breaks it: rows of (id, detail)."""

    name: str
    broken: TextClause


# Each rule is a single statement, so that it sees one moment, and ends when enough was found.
def _rule(name: str, query: str) -> Rule:
    return Rule(name, text(f"{query} LIMIT {MOST_IDS}"))


RULES = (
    _rule(
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
    _rule(
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
    _rule(
        "levels_within_bounds",
        """
        SELECT product_id || '/' || warehouse_id AS id,
            format('on hand %s, reserved %s, worth %s', on_hand, reserved, value_minor) AS detail
        FROM stock_levels
        WHERE reserved < 0 OR reserved > on_hand OR value_minor < 0
            OR (on_hand = 0 AND value_minor <> 0)
        """,
    ),
    _rule(
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
    _rule(
        "documents_move_stock",
        """
        SELECT document.id, format('%s moved nothing', document.number) AS detail
        FROM (SELECT id, number FROM receipts UNION ALL SELECT id, number FROM adjustments)
            AS document
        WHERE NOT EXISTS (SELECT FROM stock_movements WHERE source_id = document.id)
        """,
    ),
    _rule(
        "numbers_without_gap_or_twin",
        """
        SELECT series || '-' || year AS id,
            format('last taken %s; %s in use up to %s', taken.last, used.count, used.greatest)
                AS detail
        FROM number_series AS taken FULL JOIN (
            SELECT split_part(number, '-', 1) AS series, split_part(number, '-', 2)::int AS year,
                count(DISTINCT number) AS count, max(split_part(number, '-', 3)::bigint) AS greatest
            FROM (SELECT number FROM receipts UNION ALL SELECT number FROM adjustments) AS document
            GROUP BY 1, 2
        ) AS used USING (series, year)
        WHERE coalesce(taken.last, 0) <> coalesce(used.count, 0)
            OR coalesce(taken.last, 0) <> coalesce(used.greatest, 0)
        """,
    ),
    _rule(
        "events_without_gap_or_twin",
        """
        SELECT coalesce(head.tenant_id, event.tenant_id) AS id,
            format('head %s; %s events from %s to %s',
                head.sequence, event.count, event.first, event.last) AS detail
        FROM event_heads AS head FULL JOIN (
            SELECT tenant_id, count(*) AS count, min(sequence) AS first, max(sequence) AS last
            FROM events GROUP BY tenant_id
        ) AS event ON event.tenant_id = head.tenant_id
        WHERE head.sequence IS DISTINCT FROM event.last
            OR event.count <> event.last - event.first + 1
        """,
    ),
)

# An order's hold before its confirmation ends by itself; until then there is no confirmed order.
_ORDERS = text("""
    SELECT order_id FROM reservations
    WHERE origin = 'order' AND expires_at IS NULL AND order_id > :after
    ORDER BY order_id LIMIT :limit
""")
_POSITIONS = text("SELECT listener, source, position FROM subscriptions ORDER BY listener, source")
_HEAD = text("SELECT sequence FROM event_heads")


class AuditorServicer(rpc.AuditorServicer):
    """Answers for the caller's tenant; only reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def CheckInvariants(
        self, request: pb.CheckInvariantsRequest, context: object
    ) -> pb.CheckInvariantsResponse:
        """What is wrong."""
        async with self._database.read_transaction() as tx:
            violations = [found for rule in RULES if (found := await _check(tx, rule))]
        return pb.CheckInvariantsResponse(violations=violations)

    async def ListOrders(
        self, request: pb.ListOrdersRequest, context: object
    ) -> pb.ListOrdersResponse:
        """Confirmed orders that have a reservation."""
        after = ids.parse(request.after_id or "00000000-0000-0000-0000-000000000000", "after_id")
        async with self._database.read_transaction() as tx:
            rows = await tx.rows(_ORDERS, {"after": after, "limit": ORDERS_A_PAGE})
        return pb.ListOrdersResponse(order_ids=[str(row.order_id) for row in rows])

    async def ListPositions(
        self, request: pb.ListPositionsRequest, context: object
    ) -> pb.ListPositionsResponse:
        """How far the listeners have come."""
        async with self._database.read_transaction() as tx:
            rows = await tx.rows(_POSITIONS)
            head = await tx.scalar(_HEAD)
        positions = [
            pb.Position(listener=row.listener, source=row.source, sequence=row.position)
            for row in rows
        ]
        return pb.ListPositionsResponse(positions=positions, head=head or 0)


async def _check(tx: Transaction, rule: Rule) -> pb.Violation | None:
    rows = await tx.rows(rule.broken)
    if not rows:
        return None
    ids_found = [str(row.id) for row in rows]
    return pb.Violation(rule=rule.name, service=SERVICE, ids=ids_found, detail=rows[0].detail)
