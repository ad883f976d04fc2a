"""All that a database holds of one tenant, as its catalogue knows it: to be read, or removed."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.errors import InvalidRequest
from common.transaction import Transaction
from erp.tenants.v1 import tenant_rows_service_pb2 as pb

__all__ = [
    "SYSTEM_REASON",
    "TenantTable",
    "children_first",
    "circle_of",
    "get_table",
    "read_rows",
    "remove_rows",
    "tables_of",
]

SYSTEM_REASON = "rows of a tenant that is deleted"
# A page of rows ends after the row that fills it.
_PAGE_ROWS = 500
_PAGE_CHARACTERS = 1_000_000
# All rows of a table go in one statement, so that rows may refer to each other.
_REMOVING_SECONDS = 540

# Columns that the audit log hides are secrets. Others say so in a comment.
_TABLES = text("""
    SELECT c.relname::text AS name,
        ARRAY(SELECT a.attname::text
              FROM pg_index AS i, unnest(i.indkey) WITH ORDINALITY AS k (n, at)
              JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.n
              WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.at) AS key,
        ARRAY(SELECT format_type(a.atttypid, a.atttypmod)
              FROM pg_index AS i, unnest(i.indkey) WITH ORDINALITY AS k (n, at)
              JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.n
              WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.at) AS types,
        ARRAY(SELECT parent.relname::text FROM pg_constraint AS f
              JOIN pg_class AS parent ON parent.oid = f.confrelid
              WHERE f.conrelid = c.oid AND f.contype = 'f' AND parent.oid <> c.oid
              UNION ALL
              -- Who removes its rows writes there.
              SELECT unnest(ARRAY['audit_entries', 'audit_changes']) WHERE EXISTS (
                  SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
                  WHERE t.tgrelid = c.oid AND p.proname = 'audit_changed')) AS refers_to,
        ARRAY(SELECT hidden FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid,
                  unnest(string_to_array(encode(t.tgargs, 'escape'), '\\000')) WITH ORDINALITY
                      AS argument (hidden, at)
              WHERE t.tgrelid = c.oid AND p.proname = 'audit_changed' AND argument.at > 2
                  AND hidden <> ''
              UNION SELECT a.attname::text FROM pg_attribute AS a
              WHERE a.attrelid = c.oid AND col_description(c.oid, a.attnum) = 'secret') AS hidden
    FROM pg_class AS c
    JOIN pg_attribute AS first ON first.attrelid = c.oid AND first.attnum = 1
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition AND first.attname = 'tenant_id'
    ORDER BY c.relname
""")
_WITHOUT_HASTE = text("""
    SELECT set_config(name, value, true)
    FROM unnest(ARRAY['statement_timeout', 'transaction_timeout', 'transaction_timeout'],
                ARRAY[:milliseconds, '0', :milliseconds]) AS setting (name, value)
""")


class TenantTable(NamedTuple):
    """A table whose rows belong to tenants."""

    name: str
    # The columns of its primary key, and their types.
    key: Sequence[str]
    types: Sequence[str]
    refers_to: Sequence[str]
    # Columns that nobody is shown.
    hidden: Sequence[str]

    def counting(self) -> TextClause:
        """How many rows the tenant has."""
        return text(f'SELECT count(*) FROM "{self.name}"')  # noqa: S608 (named by the catalogue)

    def reading(self, *, on: bool) -> TextClause:
        """Rows in the order of the key, from the first or on after one."""
        columns = ", ".join(f'"{name}"' for name in self.key)
        after = ", ".join(f"CAST(:k{n} AS {kind})" for n, kind in enumerate(self.types))
        where = f"WHERE ({columns}) > ({after})" if on else ""
        return text(f"""
            SELECT CAST(to_jsonb(found) - CAST(:hidden AS text[]) AS text) AS line,
                   ARRAY[{", ".join(f'CAST("{name}" AS text)' for name in self.key)}] AS key
            FROM "{self.name}" AS found {where} ORDER BY {columns} LIMIT {_PAGE_ROWS}
        """)  # noqa: S608 (named by the catalogue)


def children_first(tables: Iterable[TenantTable]) -> list[TenantTable]:
    """The tables, each before those that it refers to; those in a circle stand together."""
    left, ordered = {table.name: table for table in tables}, []
    circles = {name: circle_of(name, left.values()) for name in left}
    while left:
        referred_to = {
            parent
            for name, table in left.items()
            for parent in table.refers_to
            if parent not in circles[name]
        }
        free = min(name for name in left if not circles[name] & referred_to)
        ordered += [left.pop(name) for name in sorted(circles[free])]
    return ordered


def circle_of(name: str, tables: Iterable[TenantTable]) -> frozenset[str]:
    """The table itself and all that it refers to, over others as well, and that refer to it."""
    parents = {table.name: set(table.refers_to) for table in tables}

    def beyond(start: str) -> set[str]:
        found, new = set[str](), parents.get(start, set())
        while new:
            found |= new
            new = {far for near in new for far in parents.get(near, ())} - found
        return found

    return frozenset({name, *(other for other in beyond(name) if name in beyond(other))})


async def tables_of(tx: Transaction) -> list[TenantTable]:
    """All tables whose rows belong to tenants, in an order in which these can be removed."""
    return children_first(TenantTable(**row._asdict()) for row in await tx.rows(_TABLES))


async def get_table(tx: Transaction, name: str) -> TenantTable:
    """The table of this name.

    Raises:
        InvalidRequest: there is none.
    """
    for table in await tables_of(tx):
        if table.name == name:
            return table
    raise InvalidRequest.of("/table", "must name a table with rows of tenants")


async def read_rows(tx: Transaction, table: TenantTable, after: str) -> pb.ReadRowsResponse:
    """Rows after a key, as `last` of the answer before names it."""
    values = orjson.loads(after) if after else []
    given = {f"k{n}": value for n, value in enumerate(values)}
    statement = table.reading(on=bool(values))
    answer, characters = pb.ReadRowsResponse(), 0
    rows = await tx.rows(statement, {**given, "hidden": list(table.hidden)})
    for row in rows:
        answer.lines.append(row.line)
        characters += len(row.line)
        if characters >= _PAGE_CHARACTERS:
            break
    if len(answer.lines) == _PAGE_ROWS or len(answer.lines) < len(rows):
        answer.last = orjson.dumps(list(rows[len(answer.lines) - 1].key)).decode()
    return answer


async def remove_rows(connection: AsyncConnection, circle: Collection[str], tenant_id: UUID) -> int:
    """Remove all rows of a tenant from tables that refer to each other; how many there were.

    It is one statement, since the database looks at its end whether they still do, and may take
    minutes.
    """
    milliseconds = str(_REMOVING_SECONDS * 1000)
    await connection.execute(_WITHOUT_HASTE, {"milliseconds": milliseconds})
    removing = ", ".join(
        f'r{n} AS (DELETE FROM "{name}" WHERE tenant_id = :tenant_id RETURNING 1)'  # noqa: S608 (named by the catalogue)
        for n, name in enumerate(sorted(circle))
    )
    counts = " + ".join(f"(SELECT count(*) FROM r{n})" for n in range(len(circle)))  # noqa: S608 (numbers)
    statement = text(f"WITH {removing} SELECT {counts}")
    return int((await connection.execute(statement, {"tenant_id": tenant_id})).scalar_one())
