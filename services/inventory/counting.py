"""Counting a warehouse: begin, record what is found, and make the differences good."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from sqlalchemy import select, text

from common import caller, ids, numbers, outbox
from common.database import Transaction
from common.errors import NotFound
from erp.inventory.v1 import inventory_service_pb2 as api
from erp.inventory.v1.events_pb2 import StockCountPosted
from inventory.adjustments import AdjustStock, Correction, adjust_locked
from inventory.backorders import keys_of_waiting
from inventory.companies import get_company
from inventory.counts import (
    CANCELLED,
    OPEN,
    POSTED,
    Count,
    CountLine,
    get_count,
    insert_count,
    lock_count,
    save_closed,
    save_recorded,
)
from inventory.errors import (
    AlreadyBeingCounted,
    CountedBelowReserved,
    CountTooLarge,
    NothingToCount,
)
from inventory.levels import Key, Levels
from inventory.products import find_products
from inventory.stock import create_missing, key_columns, lock_levels, work_among_others
from inventory.tables import stock_levels
from inventory.warehouses import get_warehouse

SERIES = "SC"
# So that the adjustment which it becomes stays one transaction of moderate size.
MOST_PRODUCTS = 2000


@dataclass(frozen=True)
class StartCount:
    """A count to begin: of all that the warehouse holds when no products are named."""

    warehouse_id: UUID
    product_ids: tuple[UUID, ...]

    @classmethod
    def from_wire(cls, request: api.StartStockCountRequest) -> Self:
        """Read the request."""
        named = enumerate(request.lines)
        products = (ids.parse(one.product_id, f"lines/{place}/product_id") for place, one in named)
        place = ids.parse(request.warehouse_id, "warehouse_id")
        return cls(place, tuple(dict.fromkeys(products)))


@dataclass(frozen=True)
class RecordCount:
    """What was found of some products."""

    id: UUID
    found: dict[UUID, Decimal]

    @classmethod
    def from_wire(cls, request: api.RecordStockCountRequest) -> Self:
        """Read the request; of two figures for one product the later one stands."""
        named = enumerate(request.lines)
        found = {
            ids.parse(one.product_id, f"lines/{place}/product_id"): Decimal(one.counted)
            for place, one in named
        }
        return cls(ids.parse(request.id, "id"), found)


@dataclass(frozen=True)
class PostCount:
    """A count whose differences are to be made good."""

    id: UUID
    # 0 is any.
    version: int
    request_id: str

    @classmethod
    def from_wire(cls, request: api.PostStockCountRequest) -> Self:
        """Read the request."""
        return cls(ids.parse(request.id, "id"), request.version, caller.current().request_id)


async def start(tx: Transaction, command: StartCount) -> Count:
    """Begin a count, and note what should be there now.

    Raises:
        NotFound: there is no such warehouse or product.
        NothingToCount: no product is named and the warehouse holds none.
        CountTooLarge: there are too many products.
        AlreadyBeingCounted: one of the products is in another open count of the warehouse.
    """
    await get_company(tx)
    await get_warehouse(tx, command.warehouse_id)
    lines = await _expected(tx, command)
    if len(lines) > MOST_PRODUCTS:
        raise CountTooLarge(len(lines), MOST_PRODUCTS)
    [number] = await numbers.take(tx, SERIES, 1)
    now = datetime.now(UTC)
    count = Count(ids.new(), number, command.warehouse_id, OPEN, None, 1, now, now, lines)
    taken = await insert_count(tx, count)
    for line in lines:
        if line.product_id in taken:
            raise AlreadyBeingCounted(line.sku, line.product_id)
    return count


async def record(tx: Transaction, command: RecordCount) -> Count:
    """Note what was found; several people may count at once.

    Raises:
        NotFound: there is no such count, or it is not about one of the products.
        CountNotOpen: it was posted or given up.
    """
    count = await lock_count(tx, command.id)
    count.record(command.found)
    await save_recorded(tx, count, list(command.found))
    return count


async def post(tx: Transaction, command: PostCount) -> Count:
    """Put the differences into stock, all or none.

    Goods may have moved since the count began, so not what was found is put there, but the
    difference to what should have been there then.

    Raises:
        NotFound: there is no such count.
        ConcurrentModification: it has another version by now.
        CountNotOpen: it was posted or given up.
        CountIncomplete: some products have not been counted.
        CountedBelowReserved: a difference would take away what is reserved.
    """
    company = await get_company(tx)
    keys = (await get_count(tx, command.id)).keys
    await work_among_others(tx)
    levels = await lock_levels(tx, keys | await keys_of_waiting(tx, keys))
    count = await lock_count(tx, command.id)
    count.demand_version(command.version)
    correcting = _corrections(levels, count)

    adjustment_id = None
    if correcting:
        reason = f"Count {count.number}"
        adjust = AdjustStock(count.warehouse_id, reason, correcting, command.request_id)
        adjustment_id = (await adjust_locked(tx, levels, company, adjust)).id
    count.close(POSTED, adjustment_id)
    await save_closed(tx, count)
    outbox.publish(tx, _posted(count), request_id=command.request_id)
    return count


async def cancel(tx: Transaction, count_id: UUID) -> Count:
    """Give a count up.

    Raises:
        NotFound: there is no such count.
        CountNotOpen: it was posted or given up before.
    """
    count = await lock_count(tx, count_id)
    count.close(CANCELLED)
    await save_closed(tx, count)
    return count


_EXPECTED = text("""
    SELECT key.product_id, coalesce(level.on_hand, 0) AS on_hand
    FROM unnest(CAST(:product_ids AS uuid[]), CAST(:warehouse_ids AS uuid[]))
        AS key (product_id, warehouse_id)
    LEFT JOIN stock_levels AS level
        ON level.product_id = key.product_id AND level.warehouse_id = key.warehouse_id
""")


async def _expected(tx: Transaction, command: StartCount) -> list[CountLine]:
    """What should be there, of one moment, by product."""
    place = command.warehouse_id
    named = command.product_ids or await _held(tx, place)
    goods = {product.id: product.sku for product in await find_products(tx, list(named))}
    for product_id in named:
        if product_id not in goods:
            raise NotFound("product", product_id)
    keys = [Key(product_id, place) for product_id in sorted(named)]
    await work_among_others(tx)
    await create_missing(tx, keys)
    rows = await tx.rows(_EXPECTED, key_columns(keys))
    on_hand = {row.product_id: row.on_hand for row in rows}
    return [
        CountLine(key.product_id, goods[key.product_id], on_hand[key.product_id]) for key in keys
    ]


async def _held(tx: Transaction, place: UUID) -> Sequence[UUID]:
    there = (stock_levels.c.warehouse_id == place) & (stock_levels.c.on_hand > 0)
    statement = select(stock_levels.c.product_id).where(there).limit(MOST_PRODUCTS + 1)
    held = [row.product_id for row in await tx.rows(statement)]
    if not held:
        raise NothingToCount(place)
    return held


def _corrections(levels: Levels, count: Count) -> tuple[Correction, ...]:
    correcting = []
    for line, difference in count.differences():
        level = levels[Key(line.product_id, count.warehouse_id)]
        if -difference > level.available:
            raise CountedBelowReserved(line.sku, -difference, level.available, line.product_id)
        correcting.append(Correction(level.key, difference, None))
    return tuple(correcting)


def _posted(count: Count) -> StockCountPosted:
    return StockCountPosted(
        stock_count_id=str(count.id),
        number=count.number,
        warehouse_id=str(count.warehouse_id),
        stock_adjustment_id=str(count.adjustment_id or ""),
    )
