"""Checks, while the system runs, that a service's records prove each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause, text

from common import ids
from common.database import Database, Transaction
from erp.audit.v1 import audit_pb2 as pb
from erp.audit.v1 import audit_pb2_grpc as rpc

MOST_IDS = 100
ORDERS_A_PAGE = 10_000
_LEAST_ID = UUID(int=0)
_POSITIONS = text("SELECT listener, source, position FROM subscriptions ORDER BY listener, source")
_HEAD = text("SELECT sequence FROM event_heads")


@dataclass(frozen=True)
class Rule:
    """A promise, and the query that finds the records that break it.

    The query is one statement, so that it sees one moment. Its rows have an id, and a detail
    unless `detail` says the same of all of them.
    """

    name: str
    query: str
    detail: str = ""

    def statement(self) -> TextClause:
        """At most MOST_IDS of the records that break the promise."""
        detail, columns = (f"'{self.detail}'", "(id)") if self.detail else ("detail", "")
        return text(f"""
            SELECT DISTINCT CAST(id AS text) AS id, {detail} AS detail
            FROM ({self.query}) AS broken {columns} ORDER BY id LIMIT {MOST_IDS}
        """)  # noqa: S608 (both are constants of our own code)


EVENTS_WITHOUT_GAP = Rule(
    "events_without_gap",
    """
    SELECT coalesce(head.tenant_id, event.tenant_id) AS id,
           format('head %s; %s events from %s to %s',
                  head.sequence, event.count, event.first, event.last) AS detail
    FROM event_heads AS head FULL JOIN (
        SELECT tenant_id, count(*) AS count, min(sequence) AS first, max(sequence) AS last
        FROM events GROUP BY tenant_id
    ) AS event ON event.tenant_id = head.tenant_id
    WHERE (head.sequence IS DISTINCT FROM event.last
           -- The events of a tenant that has been quiet for long are kept no more.
           AND (event.last IS NOT NULL OR head.changed_at > now() - interval '90 days'))
       OR event.count <> event.last - event.first + 1
    """,
)


def numbers_without_gap(numbers: str) -> Rule:
    """The rule that no series misses a number or uses one twice.

    Args:
        numbers: a query for all numbers in use, as `number`: "SO-2026-000001" or "C-000001".
    """
    return Rule(
        "numbers_without_gap",
        f"""
        SELECT concat_ws('-', series, year) AS id,
               format('last taken %s; %s in use, %s different, up to %s',
                      last, numbers, different, greatest) AS detail
        FROM (
            SELECT split_part(number, '-', 1) AS series,
                   CASE WHEN split_part(number, '-', 3) = '' THEN 0
                        ELSE CAST(split_part(number, '-', 2) AS int) END AS year,
                   count(*) AS numbers, count(DISTINCT number) AS different,
                   max(CAST(split_part(number, '-', -1) AS bigint)) AS greatest
            FROM ({numbers}) AS record
            GROUP BY 1, 2
        ) AS used
        FULL JOIN number_series USING (series, year)
        WHERE (numbers, different, greatest) IS DISTINCT FROM (last, last, last)
        """,  # noqa: S608 (a constant of our own code)
    )


class AuditorServicer(rpc.AuditorServicer):
    """Answers for one service's records of the caller's tenant; only reads.

    Args:
        service: whose records these are.
        database: where they are.
        rules: what must hold.
        orders: a query for the confirmed orders that the service knows of, as `id`, whose id is
            greater than `:after`, ascending, at most `:limit`.
    """

    def __init__(
        self, service: str, database: Database, rules: Sequence[Rule], orders: str
    ) -> None:
        self._service = service
        self._database = database
        self._rules = [(rule.name, rule.statement()) for rule in rules]
        self._orders = text(orders)

    async def CheckInvariants(
        self, request: pb.CheckInvariantsRequest, context: object
    ) -> pb.CheckInvariantsResponse:
        """What is wrong."""
        async with self._database.read_transaction(fresh=True) as tx:
            checked = [await self._check(tx, *rule) for rule in self._rules]
        return pb.CheckInvariantsResponse(violations=[found for found in checked if found])

    async def ListOrders(
        self, request: pb.ListOrdersRequest, context: object
    ) -> pb.ListOrdersResponse:
        """The confirmed orders that this service knows of."""
        after = ids.parse_optional(request.after_id, "after_id") or _LEAST_ID
        async with self._database.read_transaction(fresh=True) as tx:
            rows = await tx.rows(self._orders, {"after": after, "limit": ORDERS_A_PAGE})
        return pb.ListOrdersResponse(order_ids=[str(row.id) for row in rows])

    async def ListPositions(
        self, request: pb.ListPositionsRequest, context: object
    ) -> pb.ListPositionsResponse:
        """How far the listeners have come."""
        async with self._database.read_transaction(fresh=True) as tx:
            rows = await tx.rows(_POSITIONS)
            head = await tx.scalar(_HEAD)
        positions = [
            pb.Position(listener=row.listener, source=row.source, sequence=row.position)
            for row in rows
        ]
        return pb.ListPositionsResponse(positions=positions, head=head or 0)

    async def _check(
        self, tx: Transaction, name: str, statement: TextClause
    ) -> pb.Violation | None:
        rows = await tx.rows(statement)
        if not rows:
            return None
        broken = [row.id for row in rows]
        return pb.Violation(rule=name, service=self._service, ids=broken, detail=rows[0].detail)
