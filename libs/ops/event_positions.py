"""How far each listener is in what it listens to, read and set in the databases themselves."""

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL, Literal

from common.listening import lanes_of
from ops.credentials import DATABASES
from ops.errors import StackFailure

_LISTENERS = """
    SELECT tenant_id::text AS tenant, listener, source, position, attempts, retry_at::text
    FROM subscriptions
"""
# A position is stored when something was for the listener: what it does not hear may lie after it.
_WAITING = """
    SELECT (SELECT count(*) FROM events
            WHERE tenant_id = asked.tenant AND sequence > asked.position
              AND (asked.types IS NULL OR type = ANY (string_to_array(asked.types, ' '))))
    FROM unnest(%(tenants)s::uuid[], %(positions)s::bigint[], %(types)s::text[])
         WITH ORDINALITY AS asked (tenant, position, types, place)
    ORDER BY place
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
    # Events to come that it hears.
    waiting: int
    attempts: int
    retry_at: str | None

    @property
    def behind(self) -> int:
        """What waits; below zero it has heard what the source does not know any more."""
        return min(self.waiting, self.head - self.position)


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
    rows = [(service, row) for service in DATABASES for row in _rows(urls[service])]
    found = []
    for source in DATABASES:
        heads = _heads(urls[source])
        of_source = [(service, row) for service, row in rows if row.source == source]
        counts = _waiting(urls[source], of_source)
        for (service, row), waiting in zip(of_source, counts, strict=True):
            head = heads.get(row.tenant, 0)
            found.append(Place(service=service, head=head, waiting=waiting, **vars(row)))
    return found


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


def _waiting(url: str, rows: Sequence[tuple[str, _Row]]) -> list[int]:
    """How many events of a source wait for each of these listeners."""
    heard = {service: _types_heard(service) for service in {service for service, _ in rows}}
    asked = {
        "tenants": [row.tenant for _, row in rows],
        "positions": [row.position for _, row in rows],
        # No array of arrays: those have to be of one length.
        "types": [heard[service].get((row.listener, row.source), "") for service, row in rows],
    }
    with _connected(url) as database:
        return [int(count) for (count,) in database.execute(_WAITING, asked)]


def _types_heard(service: str) -> dict[tuple[str, str], str | None]:
    """By listener and source: the types of events that it hears, None for all."""
    lanes = lanes_of(import_module(f"{service}.listeners"))
    return {
        (lane.name, lane.source): None if lane.all_of else " ".join(lane.types) for lane in lanes
    }


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
