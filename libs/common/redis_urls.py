"""What a Redis URL says: one server, a Sentinel set or a Cluster."""

from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, urlsplit

__all__ = ["RedisUrl", "Topology", "parse_redis_url", "with_database"]

_SENTINEL_PORT = 26379
_PORT = 6379


class Topology(Enum):
    """How the servers behind a URL stand to each other. The value is the URL's scheme."""

    STANDALONE = "redis"
    STANDALONE_TLS = "rediss"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


@dataclass(frozen=True)
class RedisUrl:
    """A URL in its parts.

    Attributes:
        servers: host and port of the servers, or of the sentinels.
        master: what the sentinels call the set; empty elsewhere.
    """

    topology: Topology
    servers: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    master: str
    database: int


def parse_redis_url(text: str) -> RedisUrl:
    """The parts of redis[s]://, redis+sentinel://h:p,h:p/name/db or redis+cluster://h:p,h:p.

    Raises:
        ValueError: it is none of these; says which rule it breaks.
    """
    parts = urlsplit(text)
    schemes = [topology.value for topology in Topology]
    if parts.scheme not in schemes or not parts.netloc:
        raise ValueError(f"must be a URL that begins with one of {', '.join(schemes)}")
    topology = Topology(parts.scheme)
    account, _, hosts = parts.netloc.rpartition("@")
    username, _, password = account.partition(":")
    master, database = _path(topology, parts.path.strip("/"))
    default_port = _SENTINEL_PORT if topology is Topology.SENTINEL else _PORT
    servers = tuple(_server(host, default_port) for host in hosts.split(","))
    if len(servers) > 1 and topology in (Topology.STANDALONE, Topology.STANDALONE_TLS):
        raise ValueError("must name one server, or begin with redis+sentinel or redis+cluster")
    return RedisUrl(
        topology, servers, unquote(username) or None, unquote(password) or None, master, database
    )


def with_database(text: str, database: int) -> str:
    """The same servers with another database; a Cluster has only one."""
    url = parse_redis_url(text)
    if url.topology is Topology.CLUSTER:
        return text
    path = f"/{url.master}/{database}" if url.master else f"/{database}"
    return urlsplit(text)._replace(path=path).geturl()


def _path(topology: Topology, path: str) -> tuple[str, int]:
    """The master's name and the database."""
    master, _, database = path.partition("/") if topology is Topology.SENTINEL else ("", "", path)
    if topology is Topology.SENTINEL and not master:
        raise ValueError("must name the master after the sentinels, as in /mymaster/0")
    if not (database or "0").isdecimal():
        raise ValueError("must end with the number of a database")
    if topology is Topology.CLUSTER and int(database or 0):
        raise ValueError("must name no database but 0: a Cluster has no other")
    return master, int(database or 0)


def _server(text: str, default_port: int) -> tuple[str, int]:
    address = urlsplit(f"//{text}")
    try:
        host, port = address.hostname, address.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ValueError("must name servers as host:port,host:port")
    return host, port or default_port
