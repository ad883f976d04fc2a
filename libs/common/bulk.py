"""Many rows in one statement, the same statement however many: an array a column."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Insert,
    Table,
    TableValuedAlias,
    Text,
    Update,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from common.database import Transaction

Rows = Sequence[Mapping[str, Any]]


async def insert_rows(tx: Transaction, table: Table, rows: Rows) -> None:
    """Insert rows that all have the same columns; none at all costs nothing."""
    if rows:
        await tx.execute(_insert(table, tuple(rows[0])), _bound(table, rows))


async def update_rows(tx: Transaction, table: Table, keys: Sequence[str], rows: Rows) -> None:
    """Give the rows named by `keys` the other values; no rows cost nothing."""
    if rows:
        await tx.execute(_update(table, tuple(keys), tuple(rows[0])), _bound(table, rows))


def columns_of(rows: Rows) -> dict[str, list[Any]]:
    """The rows as one list a column, to bind as arrays."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def _bound(table: Table, rows: Rows) -> dict[str, list[Any]]:
    # An array of arrays would have to be rectangular, so words travel joined.
    return {
        _array(name): [",".join(words) for words in values] if _is_array(table, name) else values
        for name, values in columns_of(rows).items()
    }


@cache
def _insert(table: Table, names: tuple[str, ...]) -> Insert:
    rows = _rows(table, names)
    return insert(table).from_select(names, select(*(_value(table, rows, name) for name in names)))


@cache
def _update(table: Table, keys: tuple[str, ...], names: tuple[str, ...]) -> Update:
    rows = _rows(table, names)
    values = {name: _value(table, rows, name) for name in names if name not in keys}
    return update(table).where(*(table.c[key] == rows.c[key] for key in keys)).values(values)


def _rows(table: Table, names: Sequence[str]) -> TableValuedAlias:
    arrays = [
        bindparam(
            _array(name), type_=ARRAY(Text() if _is_array(table, name) else table.c[name].type)
        )
        for name in names
    ]
    return func.unnest(*arrays).table_valued(*names, name="new_row").render_derived()


def _value(table: Table, rows: TableValuedAlias, name: str) -> ColumnElement[Any]:
    return func.string_to_array(rows.c[name], ",") if _is_array(table, name) else rows.c[name]


def _array(name: str) -> str:
    # A parameter that is called like a column would be taken for that column's new value.
    return f"all_{name}"


def _is_array(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, ARRAY)
