"""Many rows in one statement, the same statement however many: an array a column."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Insert, Table, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY

from common.database import Transaction


async def insert_rows(tx: Transaction, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns; none at all costs nothing."""
    if rows:
        await tx.execute(_insert(table, tuple(rows[0])), columns_of(rows))


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The rows as one list a column, to bind as arrays."""
    return {name: [row[name] for row in rows] for name in rows[0]}


@cache
def _insert(table: Table, names: tuple[str, ...]) -> Insert:
    arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
    rows = func.unnest(*arrays).table_valued(*names, name="new_row").render_derived()
    return insert(table).from_select(names, select(*(rows.c[name] for name in names)))
