"""The stored levels: read, created, locked in one order, and written back."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text

from common.bulk import update_rows
from common.database import Transaction
from common.listing import Listing
from common.money import format_quantity
from common.pagination import Page
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.companies import Company
from inventory.levels import Absent, Key, Level, Levels
from inventory.products import ARCHIVED, find_products
from inventory.tables import products, stock_levels
from inventory.warehouses import find_warehouses

_LIST = Listing(
    api.ListStockLevelsRequest,
    stock_levels.c,
    "product_id",
    "warehouse_id",
    others={"available": stock_levels.c.on_hand - stock_levels.c.reserved},
)
_KEYS = """
    unnest(CAST(:product_ids AS uuid[]), CAST(:warehouse_ids AS uuid[]))
        AS key (product_id, warehouse_id)
"""
_TENANT_STOCK = "hashtextextended(current_setting('erp.tenant_id'), 0)"
_ALONE = text(f"SELECT pg_advisory_xact_lock({_TENANT_STOCK})")
_AMONG_OTHERS = text(f"SELECT pg_advisory_xact_lock_shared({_TENANT_STOCK})")

_CREATE_MISSING = text(f"""
    INSERT INTO stock_levels (product_id, warehouse_id)
    SELECT product.id, warehouse.id
    FROM {_KEYS} JOIN products AS product ON product.id = key.product_id
        JOIN warehouses AS warehouse ON warehouse.id = key.warehouse_id
    WHERE NOT EXISTS (
        SELECT FROM stock_levels AS level
        WHERE level.product_id = key.product_id AND level.warehouse_id = key.warehouse_id)
    ORDER BY product.id, warehouse.id
    ON CONFLICT DO NOTHING
""")  # noqa: S608 (only parts of ours)
_SELECT = f"""
    SELECT level.product_id, level.warehouse_id, level.on_hand, level.reserved, level.value_minor,
        level.backorders_tried_to, level.version, product.sku, product.state
    FROM {{gate}} {_KEYS} JOIN stock_levels AS level
            ON level.product_id = key.product_id AND level.warehouse_id = key.warehouse_id
        JOIN products AS product ON product.id = level.product_id
    ORDER BY level.product_id, level.warehouse_id
    FOR NO KEY UPDATE OF level
"""  # noqa: S608 (only parts of ours)
# The gate is passed before the first row is locked: every row to lock needs its row of the gate.
_LOCK = text(
    f"WITH gate AS MATERIALIZED ({_AMONG_OTHERS.text})" + _SELECT.format(gate="gate CROSS JOIN")
)
_TRY_LOCK = text(_SELECT.format(gate="") + "SKIP LOCKED")


async def work_alone(tx: Transaction) -> None:
    """Wait until nobody else works on the tenant's stock, and keep others away until the end.

    For a worker's transaction: it applies several listeners one after another, each of which locks
    levels, so together they cannot keep the order in which levels are locked.
    """
    await tx.execute(_ALONE)


async def work_among_others(tx: Transaction) -> None:
    """Wait while somebody works alone. Locking levels does it too; creating them first needs it."""
    await tx.execute(_AMONG_OTHERS)


async def create_missing(tx: Transaction, keys: Collection[Key]) -> None:
    """Give each of these products and warehouses a level, so that it can be locked."""
    await tx.execute(_CREATE_MISSING, key_columns(keys))


async def lock_levels(tx: Transaction, keys: Collection[Key]) -> Levels:
    """Lock levels until the transaction ends, in (product, warehouse) order.

    Whoever changes a reservation has locked all of its levels, so who has locked one of them knows
    that nobody else is changing it. Products and warehouses without a level count as empty.
    """
    found = [_level(row) for row in await tx.rows(_LOCK, key_columns(keys))]
    missing = set(keys) - {level.key for level in found}
    if not missing:
        return Levels(found, {})
    empty, unknown = await _describe(tx, missing)
    return Levels(found + empty, unknown)


async def try_lock_more(tx: Transaction, levels: Levels, keys: Collection[Key]) -> bool:
    """Also lock these unless others have them just now: never waits, so it needs no order."""
    if levels.covers(keys):
        return True
    rows = await tx.rows(_TRY_LOCK, key_columns([key for key in keys if not levels.covers([key])]))
    levels.include(Levels(map(_level, rows), {}))
    return levels.covers(keys)


async def write_levels(tx: Transaction, levels: Levels) -> None:
    """Store what has changed."""
    rows = [
        {
            "product_id": level.key.product_id,
            "warehouse_id": level.key.warehouse_id,
            "on_hand": level.on_hand,
            "reserved": level.reserved,
            "value_minor": level.value_minor,
            "backorders_tried_to": level.backorders_tried_to,
            "version": level.version + 1,
        }
        for level in levels.changed()
    ]
    await update_rows(tx, stock_levels, ("product_id", "warehouse_id"), rows)


async def list_levels(
    tx: Transaction, page: Page, *, product_id: UUID | None, warehouse_id: UUID | None
) -> tuple[list[Level], str]:
    """A page of levels, by product and warehouse, and the token of the next page.

    A product and a warehouse that both exist have a level, be it of nothing.
    """
    statement = select(stock_levels, products.c.sku, products.c.state).join(
        products, products.c.id == stock_levels.c.product_id
    )
    if product_id is not None:
        statement = statement.where(stock_levels.c.product_id == product_id)
    if warehouse_id is not None:
        statement = statement.where(stock_levels.c.warehouse_id == warehouse_id)
    kept, token = await _LIST.read(tx, statement, page)
    if product_id is None or warehouse_id is None or kept or page.after or page.filter:
        return [_level(row) for row in kept], token
    empty, _ = await _describe(tx, {Key(product_id, warehouse_id)})
    return empty, ""


def level_to_wire(level: Level, company: Company) -> pb.StockLevel:
    """A level as it travels."""
    return pb.StockLevel(
        product_id=str(level.key.product_id),
        warehouse_id=str(level.key.warehouse_id),
        on_hand=format_quantity(level.on_hand),
        reserved=format_quantity(level.reserved),
        available=format_quantity(level.available),
        value=company.money(level.value_minor).to_wire(),
        version=level.version,
    )


def key_columns(keys: Iterable[Key]) -> dict[str, Any]:
    """The keys as arrays to bind."""
    listed = list(keys)
    return {
        "product_ids": [key.product_id for key in listed],
        "warehouse_ids": [key.warehouse_id for key in listed],
    }


def _level(row: Row[Any]) -> Level:
    return Level(
        Key(row.product_id, row.warehouse_id),
        row.sku,
        row.state == ARCHIVED,
        row.on_hand,
        row.reserved,
        row.value_minor,
        row.backorders_tried_to,
        row.version,
    )


async def _describe(
    tx: Transaction, keys: Collection[Key]
) -> tuple[list[Level], dict[Key, Absent]]:
    """Empty levels for what exists, and what does not."""
    goods = {p.id: p for p in await find_products(tx, list({key.product_id for key in keys}))}
    places = {w.id for w in await find_warehouses(tx, list({key.warehouse_id for key in keys}))}
    empty, unknown = [], {}
    for key in keys:
        product = goods.get(key.product_id)
        if key.warehouse_id not in places:
            unknown[key] = Absent("warehouse", key.warehouse_id)
        elif product is None:
            unknown[key] = Absent("product", key.product_id)
        else:
            empty.append(Level(key, product.sku, product.state == ARCHIVED))
    return empty, unknown
