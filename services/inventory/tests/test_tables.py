"""The tables in the code are the tables in the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url

from common.testing import ServiceDatabase
from inventory.tables import metadata
from inventory.tests.stockroom import Stockroom

DIALECT = postgresql.dialect()


def test_columns_types_and_keys_are_the_same(urls: ServiceDatabase) -> None:
    url = make_url(urls.operator).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=NullPool)
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


@contextmanager
def as_program(urls: ServiceDatabase, inventory: Stockroom) -> Iterator[psycopg.Connection[Any]]:
    """Raw SQL with the rights of the service."""
    with psycopg.connect(urls.app) as connection:
        tenant = str(inventory.tenant_id)
        connection.execute("SELECT set_config('erp.tenant_id', %s, true)", [tenant])
        yield connection


@pytest.mark.parametrize(
    ("constraint", "damage"),
    {
        "stock_levels_reserved_is_not_negative": "UPDATE stock_levels SET reserved = -1",
        "stock_levels_reserved_is_on_hand": "UPDATE stock_levels SET reserved = on_hand + 1",
        "stock_levels_value_is_not_negative": "UPDATE stock_levels SET value_minor = -1",
        "stock_levels_nothing_is_worth_nothing": (
            "UPDATE stock_levels SET on_hand = 0, reserved = 0"
        ),
        "reservations_only_orders_wait": "UPDATE reservations SET state = 'backordered'",
        "reservation_lines_ship_what_is_held": "UPDATE reservation_lines SET shipped = 99",
    }.items(),
)
async def test_the_database_itself_refuses_what_must_never_be(
    inventory: Stockroom, urls: ServiceDatabase, constraint: str, damage: str
) -> None:
    await inventory.receive("OAK-TABLE", 10)
    await inventory.reserve({"OAK-TABLE": 2})

    with (
        pytest.raises(psycopg.errors.CheckViolation) as refused,
        as_program(urls, inventory) as connection,
    ):
        connection.execute(damage.encode())

    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize("table", ["stock_movements", "receipts", "adjustments", "events"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET tenant_id = tenant_id"])
async def test_the_past_cannot_be_changed(
    inventory: Stockroom, urls: ServiceDatabase, table: str, change: str
) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        as_program(urls, inventory) as connection,
    ):
        connection.execute(change.format(table).encode())
