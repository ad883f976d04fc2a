"""Indexes that a revision gives to tables in use, while others read and write them."""

from dataclasses import dataclass

from alembic import op
from sqlalchemy import text

from common.migrations import LOCK_TIMEOUT

__all__ = ["Index", "make_indexes", "ordered"]

# Row security hides rows from the owner, but not the size of their table.
_IS_FILLED = text("SELECT pg_relation_size(CAST(:table AS regclass)) > 0")
_IS_BROKEN = text("""
    SELECT EXISTS (
        SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid
    )
""")


@dataclass(frozen=True)
class Index:
    """An index of a table, by its columns or expressions."""

    name: str
    table: str
    columns: str

    def sql(self, how: str = "") -> str:
        """The statement that makes it, unless it is there."""
        return f"CREATE INDEX {how} IF NOT EXISTS {self.name} ON {self.table} ({self.columns})"


def ordered(table: str, *columns: str, key: str = "id") -> list[Index]:
    """An index for each column by which a list of the table can be ordered."""
    return [
        Index(f"{table}_by_{column}", table, f"tenant_id, {column}, {key}") for column in columns
    ]


def make_indexes(*indexes: Index) -> None:
    """Make those of a revision's indexes that are not there; who writes in a table does not wait.

    Where rows are, each index is made by itself, CONCURRENTLY, and what the revision did before is
    committed: all of a revision that calls this must bear to be done again. What an attempt that
    broke off left behind is made anew.
    """
    filled = [index for index in indexes if _is_filled(index.table)]
    for index in indexes:
        if index not in filled:
            op.execute(index.sql())
    if filled:
        with op.get_context().autocommit_block():
            # It waits for old transactions, but nobody who writes waits behind it.
            op.execute("SET lock_timeout = 0")
            for index in filled:
                _make_concurrently(index)
            op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")


def _make_concurrently(index: Index) -> None:
    if not _is_written_down() and op.get_bind().scalar(_IS_BROKEN, {"name": index.name}):
        op.execute(f"DROP INDEX CONCURRENTLY {index.name}")
    op.execute(index.sql("CONCURRENTLY"))


def _is_filled(table: str) -> bool:
    return _is_written_down() or bool(op.get_bind().scalar(_IS_FILLED, {"table": table}))


def _is_written_down() -> bool:
    """Whether no database is there: somebody wants to see the statements."""
    return op.get_context().as_sql
