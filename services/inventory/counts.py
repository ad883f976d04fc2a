"""Counts of what a warehouse really holds, against what it should have held when they began."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, select, text

from common.bulk import insert_rows, update_rows
from common.database import Transaction
from common.errors import ConcurrentModification, NotFound
from common.listing import Listing
from common.money import format_quantity
from common.pagination import Page
from common.wire import enum_value, enum_word, timestamp
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.errors import CountIncomplete, CountNotOpen
from inventory.levels import Key
from inventory.tables import products, stock_count_lines, stock_counts

_LIST = Listing(
    api.ListStockCountsRequest,
    stock_counts.c,
    "id",
    others={"stock_adjustment_id": stock_counts.c.adjustment_id},
)
OPEN, POSTED, CANCELLED = "open", "posted", "cancelled"


@dataclass
class CountLine:
    """A product of a count; what was found is None until it is recorded."""

    product_id: UUID
    sku: str
    expected: Decimal
    counted: Decimal | None = None

    @property
    def difference(self) -> Decimal | None:
        """Units found beyond what was expected, negative when some are missing."""
        return None if self.counted is None else self.counted - self.expected

    def to_wire(self) -> pb.StockCountLine:
        """The line as it travels."""
        line = pb.StockCountLine(
            product_id=str(self.product_id), expected=format_quantity(self.expected)
        )
        if self.counted is not None and self.difference is not None:
            line.counted = format_quantity(self.counted)
            line.difference = format_quantity(self.difference)
        return line


@dataclass
class Count:
    """A count of some products in one warehouse."""

    id: UUID
    number: str
    warehouse_id: UUID
    state: str
    adjustment_id: UUID | None
    version: int
    created_at: datetime
    updated_at: datetime
    lines: list[CountLine]

    @classmethod
    def of(cls, row: Row[Any], lines: Sequence[CountLine] = ()) -> Self:
        """Read a row of the table."""
        names = [name for name in cls.__dataclass_fields__ if name != "lines"]
        return cls(**{name: getattr(row, name) for name in names}, lines=list(lines))

    @property
    def keys(self) -> set[Key]:
        """The levels that it is about."""
        return {Key(line.product_id, self.warehouse_id) for line in self.lines}

    def demand_open(self) -> None:
        """Let pass what is still going on.

        Raises:
            CountNotOpen: it was posted or given up.
        """
        if self.state != OPEN:
            raise CountNotOpen(self.id, self.number, self.state)

    def demand_version(self, version: int) -> None:
        """Check the version that a command names; 0 is any.

        Raises:
            ConcurrentModification: it is another one by now.
        """
        if version not in (0, self.version):
            raise ConcurrentModification("stock count", self.id)

    def record(self, found: Mapping[UUID, Decimal]) -> None:
        """Note how much of some products was found.

        Raises:
            CountNotOpen: it was posted or given up.
            NotFound: it is not about one of the products.
        """
        self.demand_open()
        lines = {line.product_id: line for line in self.lines}
        for product_id, counted in found.items():
            if product_id not in lines:
                raise NotFound("product in this count", product_id)
            lines[product_id].counted = counted
        self._become(OPEN)

    def differences(self) -> list[tuple[CountLine, Decimal]]:
        """The products of which another quantity was found than expected, and by how much.

        Raises:
            CountNotOpen: it was posted or given up.
            CountIncomplete: some products have not been counted.
        """
        self.demand_open()
        left = [line for line in self.lines if line.counted is None]
        if left:
            raise CountIncomplete(len(left), left[0].sku)
        return [(line, line.difference) for line in self.lines if line.difference]

    def close(self, state: str, adjustment_id: UUID | None = None) -> None:
        """End it: posted, with the adjustment that it made, or cancelled.

        Raises:
            CountNotOpen: it ended before.
        """
        self.demand_open()
        self.adjustment_id = adjustment_id
        self._become(state)

    def _become(self, state: str) -> None:
        self.state = state
        self.version += 1
        self.updated_at = datetime.now(UTC)

    def to_wire(self) -> pb.StockCount:
        """The count as it travels."""
        return pb.StockCount(
            id=str(self.id),
            number=self.number,
            warehouse_id=str(self.warehouse_id),
            state=enum_value(pb.StockCountState, self.state),
            lines=[line.to_wire() for line in self.lines],
            stock_adjustment_id=str(self.adjustment_id or ""),
            version=self.version,
            create_time=timestamp(self.created_at),
            update_time=timestamp(self.updated_at),
        )


_LOCK = text("SELECT * FROM stock_counts WHERE id = :id FOR NO KEY UPDATE")
_INSERT_LINES = text("""
    INSERT INTO stock_count_lines (count_id, product_id, warehouse_id, expected)
    SELECT :count_id, item.product_id, :warehouse_id, item.expected
    FROM unnest(CAST(:product_ids AS uuid[]), CAST(:expected AS numeric[]))
        AS item (product_id, expected)
    ORDER BY item.product_id
    ON CONFLICT (tenant_id, warehouse_id, product_id) WHERE is_open DO NOTHING
    RETURNING product_id
""")
_CLOSE_LINES = text("UPDATE stock_count_lines SET is_open = false WHERE count_id = :count_id")


async def get_count(tx: Transaction, count_id: UUID) -> Count:
    """One count.

    Raises:
        NotFound: there is no such count.
    """
    return await _only(tx, count_id, await tx.row(_by_id(count_id)))


async def lock_count(tx: Transaction, count_id: UUID) -> Count:
    """Lock a count until the transaction ends, and read it as it is now; after its levels, if any.

    Raises:
        NotFound: there is no such count.
    """
    return await _only(tx, count_id, await tx.row(_LOCK, {"id": count_id}))


async def list_counts(
    tx: Transaction, page: Page, *, warehouse_id: UUID | None, state: int
) -> tuple[list[Count], str]:
    """A page of counts without their lines, oldest first, and the token of the next page."""
    statement = select(stock_counts)
    if warehouse_id is not None:
        statement = statement.where(stock_counts.c.warehouse_id == warehouse_id)
    if state:
        word = enum_word(pb.StockCountState, state)
        statement = statement.where(stock_counts.c.state == word)
    rows, token = await _LIST.read(tx, statement, page)
    return [Count.of(row) for row in rows], token


async def insert_count(tx: Transaction, count: Count) -> set[UUID]:
    """Store a new count, and say which of its products are in another open count: none, or undo it.

    Lines are inserted in one order, so that counts that begin at once wait and never deadlock.
    """
    row = {name: value for name, value in vars(count).items() if name != "lines"}
    await insert_rows(tx, stock_counts, [row])
    lines = {
        "count_id": count.id,
        "warehouse_id": count.warehouse_id,
        "product_ids": [line.product_id for line in count.lines],
        "expected": [line.expected for line in count.lines],
    }
    stored = {row.product_id for row in await tx.rows(_INSERT_LINES, lines)}
    return {line.product_id for line in count.lines} - stored


async def save_recorded(tx: Transaction, count: Count, product_ids: Sequence[UUID]) -> None:
    """Store what was recorded of some products."""
    recorded = [
        {"count_id": count.id, "product_id": line.product_id, "counted": line.counted}
        for line in count.lines
        if line.product_id in set(product_ids)
    ]
    await _save(tx, count)
    await update_rows(tx, stock_count_lines, ("count_id", "product_id"), recorded)


async def save_closed(tx: Transaction, count: Count) -> None:
    """Store that a count ended; its products may be counted anew."""
    await _save(tx, count)
    await tx.execute(_CLOSE_LINES, {"count_id": count.id})


async def _save(tx: Transaction, count: Count) -> None:
    names = ("id", "state", "adjustment_id", "version", "updated_at")
    row = {name: getattr(count, name) for name in names}
    await update_rows(tx, stock_counts, ("id",), [row])


def _by_id(count_id: UUID) -> Any:
    return select(stock_counts).where(stock_counts.c.id == count_id)


async def _only(tx: Transaction, count_id: UUID, row: Row[Any] | None) -> Count:
    if row is None:
        raise NotFound("stock count", count_id)
    columns = (stock_count_lines.c[name] for name in ("product_id", "expected", "counted"))
    statement = (
        select(*columns, products.c.sku)
        .join(products, products.c.id == stock_count_lines.c.product_id)
        .where(stock_count_lines.c.count_id == count_id)
        .order_by(stock_count_lines.c.product_id)
    )
    found = await tx.rows(statement)
    lines = [CountLine(one.product_id, one.sku, one.expected, one.counted) for one in found]
    return Count.of(row, lines)
