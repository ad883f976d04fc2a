"""The tables of the inventory, as the migrations make them."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    Text,
    any_,
    func,
    literal,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from common.schema import id_column, tenant_table, version_columns
from common.search import words_of

metadata = MetaData()


def _id(name: str, *, primary_key: bool = False, nullable: bool = False) -> Column[object]:
    return Column(name, UUID(as_uuid=True), primary_key=primary_key, nullable=nullable)


def _quantity(name: str, default: str | None = "0") -> Column[object]:
    server_default = None if default is None else text(default)
    return Column(name, Numeric(18, 6), nullable=False, server_default=server_default)


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


companies = tenant_table(
    "companies",
    metadata,
    Column("name", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    _created_at(),
)

products = tenant_table(
    "products",
    metadata,
    id_column(),
    Column("sku", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("list_price_currency", Text, nullable=False),
    Column("list_price_minor", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'active'")),
    *version_columns(),
)

product_words = words_of("products", metadata)

warehouses = tenant_table(
    "warehouses",
    metadata,
    id_column(),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    *version_columns(),
)

stock_levels = tenant_table(
    "stock_levels",
    metadata,
    _id("product_id", primary_key=True),
    _id("warehouse_id", primary_key=True),
    _quantity("on_hand"),
    _quantity("reserved"),
    Column("value_minor", BigInteger, nullable=False, server_default=text("0")),
    _id("backorders_tried_to", nullable=True),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
)

stock_movements = tenant_table(
    "stock_movements",
    metadata,
    id_column(),
    _id("product_id"),
    _id("warehouse_id"),
    Column("kind", Text, nullable=False),
    _quantity("quantity", default=None),
    Column("value_minor", BigInteger, nullable=False),
    Column("source_kind", Text, nullable=False),
    _id("source_id"),
    _created_at(),
)

receipts = tenant_table(
    "receipts",
    metadata,
    id_column(),
    Column("number", Text, nullable=False),
    _id("warehouse_id"),
    Column("reference", Text, nullable=False),
    _created_at(),
)

adjustments = tenant_table(
    "adjustments",
    metadata,
    id_column(),
    Column("number", Text, nullable=False),
    _id("warehouse_id"),
    Column("reason", Text, nullable=False),
    _created_at(),
)

reservations = tenant_table(
    "reservations",
    metadata,
    id_column(),
    Column("origin", Text, nullable=False),
    _id("order_id", nullable=True),
    Column("reference", Text, nullable=True),
    _id("warehouse_id"),
    Column("state", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=True),
    *version_columns(),
)

reservation_lines = tenant_table(
    "reservation_lines",
    metadata,
    _id("reservation_id", primary_key=True),
    Column("position", Integer, primary_key=True),
    _id("product_id"),
    _id("warehouse_id"),
    _quantity("quantity", default=None),
    _quantity("shipped"),
    _quantity("shortage"),
)

transfers = tenant_table(
    "transfers",
    metadata,
    id_column(),
    Column("number", Text, nullable=False),
    _id("source_warehouse_id"),
    _id("destination_warehouse_id"),
    Column("reference", Text, nullable=False),
    Column("state", Text, nullable=False),
    *version_columns(),
)

transfer_lines = tenant_table(
    "transfer_lines",
    metadata,
    _id("transfer_id", primary_key=True),
    Column("position", Integer, primary_key=True),
    _id("product_id"),
    _quantity("quantity", default=None),
    _quantity("received"),
    _quantity("returned"),
    Column("transit_value_minor", BigInteger, nullable=False),
)

stock_counts = tenant_table(
    "stock_counts",
    metadata,
    id_column(),
    Column("number", Text, nullable=False),
    _id("warehouse_id"),
    Column("state", Text, nullable=False),
    _id("adjustment_id", nullable=True),
    *version_columns(),
)

stock_count_lines = tenant_table(
    "stock_count_lines",
    metadata,
    _id("count_id", primary_key=True),
    _id("product_id", primary_key=True),
    _id("warehouse_id"),
    _quantity("expected", default=None),
    Column("counted", Numeric(18, 6)),
    Column("is_open", Boolean, nullable=False, server_default=text("true")),
)


def one_of(column: Column[Any], ids: Sequence[uuid.UUID]) -> ColumnElement[bool]:
    """Whether the column is one of the ids: a single parameter, however many there are."""
    return column == any_(literal(list(ids), ARRAY(UUID(as_uuid=True))))
