"""How far each listener is in what it listens to, read and set in the databases themselves."""

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL, Literal

from ops.credentials import DATABASES
from ops.errors import StackFailure

_LISTENERS = """
    SELECT tenant_id::text AS tenant, listener, source, position, attempts, retry_at::text
    FROM subscriptions
"""
_HEADS = "SELECT tenant_id::text, sequence FROM event_heads"
_LOCK = """
    SELECT position FROM subscriptions
    WHERE tenant_id = %(tenant)s AND listener = %(listener)s AND source = %(source)s FOR UPDATE
"""
_MOVE = """
    UPDATE subscriptions SET position = %(position)s, attempts = 0, retry_at = NULL,
           updated_at = now()
    WHERE tenant_id = %(tenant)s AND listener = %(listener)s AND source = %(source)s
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one listener of a service is in one tenant's events of a source."""

    service: str
    tenant: str
    listener: str
    source: str
    position: int
    head: int
    attempts: int
    retry_at: str | None

    @property
    def behind(self) -> int:
        """Events to come; below zero it has heard what the source does not know any more."""
        return self.head - self.position


@dataclass(frozen=True)
class _Row:
    tenant: str
    listener: str
    source: str
    position: int
    attempts: int
    retry_at: str | None


def places(urls: Mapping[str, str]) -> list[Place]:
    """Every listener's place; `urls` are the superuser's by service.

    Positions are read before heads, so that no listener seems to be ahead of what it has just read.
    """
    rows = {service: _rows(urls[service]) for service in DATABASES}
    heads = {service: _heads(urls[service]) for service in DATABASES}
    return [
        Place(service=service, head=heads.get(row.source, {}).get(row.tenant, 0), **vars(row))
        for service, found in rows.items()
        for row in found
    ]


def move(urls: Mapping[str, str], place: Place, position: int) -> None:
    """Set a listener's position; its worker begins there with its next look.

    Raises:
        StackFailure: it has moved since it was looked at, or its worker is at it just now.
    """
    key = {"tenant": place.tenant, "listener": place.listener, "source": place.source}
    with _connected(urls[place.service]) as database, database.transaction():
        database.execute("SET LOCAL lock_timeout = '10s'")
        found = database.execute(_LOCK, key).fetchone()
        if found is None or found[0] != place.position:
            raise StackFailure(
                f"{place.service}'s listener {place.listener} has moved from {place.position}"
                " meanwhile; nothing was done. Stop its worker, or try again."
            )
        database.execute(_MOVE, {**key, "position": position})
        # Into the server's log, where whoever did it cannot take it back.
        said = (
            f"kv-erp: operator {getpass.getuser()} set {place.service}'s listener {place.listener}"
            f" of {place.source} for tenant {place.tenant} from {place.position} to {position}"
        )
        database.execute(SQL("DO $$ BEGIN RAISE LOG '%', {}; END $$").format(Literal(said)))


def _rows(url: str) -> list[_Row]:
    with _connected(url) as database, database.cursor(row_factory=class_row(_Row)) as cursor:
        return cursor.execute(_LISTENERS).fetchall()


def _heads(url: str) -> dict[str, int]:
    with _connected(url) as database:
        return {tenant: int(sequence) for tenant, sequence in database.execute(_HEADS)}


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as database:
            yield database
    except psycopg.Error as error:
        raise StackFailure(f"The database failed: {' '.join(str(error).split())}") from error
