"""Who is behind the work at hand, and from where: what the audit log says of every change."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace

import orjson

from common import caller, ids

__all__ = [
    "Author",
    "Place",
    "author",
    "authors",
    "come_from",
    "metadata",
    "on_behalf_of",
    "opening",
    "place_of",
]

_ADDRESS, _AGENT = "x-origin-address", "x-origin-agent"
_LONGEST_AGENT = 200


@dataclass(frozen=True)
class Place:
    """Where a request comes from and what it asks for."""

    # The rpc of ours, as "erp.sales.v1.SalesService/CreateOrder"; empty in a worker.
    rpc: str = ""
    # The client's address and program, as far as the gateway believes them.
    address: str = ""
    agent: str = ""


@dataclass(frozen=True)
class Author:
    """Somebody for whom a change is made."""

    # "user:<id>", "token:<id>" or "service:<name>".
    actor: str
    # The services that the request came through, first one first.
    via: tuple[str, ...] = ()
    request_id: str = ""
    rpc: str = ""
    address: str = ""
    agent: str = ""


_NOWHERE = Place()
_place: ContextVar[Place] = ContextVar("place", default=_NOWHERE)
_authors: ContextVar[tuple[Author, ...]] = ContextVar("authors", default=())


def come_from(place: Place) -> None:
    """Do the rest of this task for a request from there."""
    agent = _printable(place.agent)[:_LONGEST_AGENT]
    _place.set(place if agent == place.agent else replace(place, agent=agent))


def place_of(rpc: str, pairs: Mapping[str, str]) -> Place:
    """Where a call of another service comes from, by its metadata: its caller has been verified."""
    return Place(rpc.removeprefix("/"), pairs.get(_ADDRESS, ""), pairs.get(_AGENT, ""))


def metadata() -> list[tuple[str, str]]:
    """What another service is told of where the request at hand comes from."""
    place = _place.get()
    pairs = [(_ADDRESS, place.address), (_AGENT, place.agent)]
    return [(name, value) for name, value in pairs if value]


def author() -> Author:
    """Who is behind the request at hand."""
    who, place = caller.current_or_none(), _place.get()
    if who is None:
        return Author("nobody", (), "", place.rpc, place.address, place.agent)
    return Author(who.subject, who.actors, who.request_id, place.rpc, place.address, place.agent)


def authors() -> tuple[Author, ...]:
    """Who is behind the work at hand: several when commands share a transaction."""
    return _authors.get() or (author(),)


@contextmanager
def on_behalf_of(those: Iterable[Author]) -> Iterator[None]:
    """Do what is inside for all of these."""
    token = _authors.set(tuple(dict.fromkeys(those)))
    try:
        yield
    finally:
        _authors.reset(token)


def opening() -> str:
    """SQL with which a transaction begins, so that its changes are put down to their authors."""
    written = orjson.dumps([asdict(one) for one in authors()]).decode().replace("'", "''")
    return f"SET LOCAL erp.change_id = '{ids.new()}'; SET LOCAL erp.authors = '{written}'"


def _printable(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text.strip()
    return "".join(one for one in text if " " <= one <= "~").strip()
