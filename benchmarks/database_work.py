"""How much the services asked of PostgreSQL, as PostgreSQL itself counted it."""

from dataclasses import dataclass

import psycopg

from ops.background import BackgroundStack
from ops.urls import with_database

# BEGIN travels together with the tenant and the limits: one round trip, counted at BEGIN.
_COUNT = """
    SELECT coalesce(sum(calls) FILTER (WHERE query NOT LIKE 'SET LOCAL%%'), 0)::bigint,
           coalesce(sum(calls), 0)::bigint
    FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid
    WHERE rolname LIKE '%%\\_app' OR rolname LIKE '%%\\_system'
"""


@dataclass(frozen=True)
class Work:
    """Statements and round trips."""

    round_trips: int
    statements: int

    def __sub__(self, other: "Work") -> "Work":
        return Work(self.round_trips - other.round_trips, self.statements - other.statements)


def counted(stack: BackgroundStack) -> Work:
    """All work of the services so far."""
    url = with_database(stack.state["databases"]["sales"], "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        row = connection.execute(_COUNT.encode(), ()).fetchone()
    assert row is not None
    return Work(int(row[0]), int(row[1]))
