"""Changes that say which version they change: checked and raised in the same UPDATE."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table, func, select, update

from common.database import Transaction
from common.errors import ConcurrentModification, NotFound


async def update_version(
    tx: Transaction, table: Table, kind: str, key: UUID, version: int, values: Mapping[str, Any]
) -> Row[Any]:
    """Change a row if it still has this version (any when 0), and return it as it is now.

    Args:
        tx: the transaction to join.
        table: has the columns id, version and updated_at.
        kind: what a row is called in an error.
        key: the row's id.
        version: the version that the caller read.
        values: the new values by column.

    Raises:
        NotFound: there is no such row in this tenant.
        ConcurrentModification: it has another version by now.
    """
    change = update(table).where(table.c.id == key)
    if version:
        change = change.where(table.c.version == version)
    change = change.values(**values, version=table.c.version + 1, updated_at=func.now()).returning(
        table
    )
    row = await tx.row(change)
    if row is not None:
        return row
    if await tx.scalar(select(table.c.id).where(table.c.id == key)) is None:
        raise NotFound(kind, key)
    raise ConcurrentModification(kind, key)
