"""The tables that the code knows are those of the migrated database."""

from dataclasses import fields

import psycopg
import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.dialects import postgresql

from common.testing import ServiceDatabase
from sales.customers import Customer
from sales.orders import Order, OrderLine
from sales.tables import customers, metadata, order_lines, orders
from sales.tests.selling import Shop

DIALECT = postgresql.dialect()


def test_columns_types_and_keys_are_the_same(urls: ServiceDatabase) -> None:
    engine = create_engine(urls.operator.replace("postgresql://", "postgresql+psycopg://"))
    found = inspect(engine)

    for table in metadata.tables.values():
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        assert list(columns) == [column.name for column in table.columns]
        for column in table.columns:
            stored = columns[column.name]
            assert stored["type"].compile(DIALECT) == column.type.compile(DIALECT), column
            assert stored["nullable"] == column.nullable, column
            assert (stored["default"] is None) == (column.server_default is None), column
        keys = found.get_pk_constraint(table.name)["constrained_columns"]
        assert keys == [column.name for column in table.primary_key]
    engine.dispose()


def test_records_have_the_fields_of_their_tables() -> None:
    not_stored = ("lines", "shipments", "plan")
    for record, table in ((Customer, customers), (Order, orders), (OrderLine, order_lines)):
        columns = [column.name for column in table.columns if column.name != "tenant_id"]
        named = [item.name for item in fields(record) if item.name not in not_stored]
        assert named == columns


@pytest.mark.parametrize(
    ("constraint", "damage"),
    [
        ("orders_confirmed_check", "state = 'confirmed'"),
        ("orders_unconfirmed_check", "awaiting = '{invoice}'"),
        ("orders_awaiting_check", "awaiting = '{coffee}'"),
        ("orders_amounts_check", "gross_minor = gross_minor + 1"),
        ("orders_number_check", "confirmed_at = now()"),
        ("orders_state_check", "state = 'lost'"),
        (
            "orders_invoice_check",
            "invoice_state = 'posted', number = 'SO-1', confirmed_at = now(), state = 'confirmed'",
        ),
        (
            "orders_cancelled_check",
            "shipment_state = 'partial', state = 'cancelled', number = '1', confirmed_at = now()",
        ),
        ("orders_customer_fkey", "customer_id = '00000000-0000-0000-0000-000000000000'"),
    ],
)
async def test_the_database_itself_refuses_an_impossible_order(
    shop: Shop, constraint: str, damage: str
) -> None:
    order = await shop.create((shop.add_product(), "1"))

    with (
        pytest.raises(psycopg.IntegrityError) as refused,
        psycopg.connect(shop.urls.operator) as connection,
    ):
        connection.execute(f"UPDATE orders SET {damage} WHERE id = %s".encode(), [order.id])

    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize("damage", ["shipped = 1.5", "shortage = 2", "quantity = 0"])
async def test_the_database_itself_refuses_an_impossible_line(shop: Shop, damage: str) -> None:
    order = await shop.create((shop.add_product(), "1"))

    with (
        pytest.raises(psycopg.errors.CheckViolation),
        psycopg.connect(shop.urls.operator) as connection,
    ):
        connection.execute(
            f"UPDATE order_lines SET {damage} WHERE order_id = %s".encode(), [order.id]
        )
