"""Clients of Redis, one a role: each with its own server, database and patience."""

import asyncio
from enum import Enum
from typing import Any, NamedTuple, cast
from urllib.parse import quote

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, ClusterPubSub, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from common.redis_urls import RedisUrl, Topology, parse_redis_url, with_database
from common.settings import Settings
from common.shared_redis import SharedRedis
from common.variables import SettingsError

__all__ = ["Role", "connect", "open_redis"]


class _Patience(NamedTuple):
    """How long a role's client waits for an answer, in seconds; None: as long as it takes."""

    answer: float | None
    connect: float


class Role(Enum):
    """What a client is for. The value is the name in the settings."""

    # Doorbells that are listened to, and ids of jobs: a read waits for something to come.
    QUEUE = "queue"
    # The gateway's publishing, which holds up nobody's commit.
    EVENTS = "events"
    CACHE = "cache"
    LIMITS = "limits"
    # Counts guesses at passwords, each of which takes longer than Redis may.
    LOGINS = "logins"
    LOCKS = "lock"
    SESSIONS = "session"


_PATIENCE = {
    Role.QUEUE: _Patience(None, 1.0),
    Role.EVENTS: _Patience(0.05, 0.05),
    Role.CACHE: _Patience(0.05, 0.05),
    Role.LIMITS: _Patience(0.05, 0.05),
    Role.LOGINS: _Patience(1.0, 1.0),
    Role.LOCKS: _Patience(0.1, 0.1),
    Role.SESSIONS: _Patience(0.1, 0.1),
}
# Sentinels are asked one after another, and only for a new connection.
_SENTINEL_PATIENCE = _Patience(0.1, 0.1)
# Events share a server with the queue, limits with the cache.
_SETTING = {Role.EVENTS: Role.QUEUE, Role.LIMITS: Role.CACHE, Role.LOGINS: Role.CACHE}


def open_redis(settings: Settings, role: Role) -> Redis:
    """A client for this role. It gives up in time and never sends a command twice by itself.

    Raises:
        SettingsError: no variable says where Redis is.
    """
    return connect(url_of(settings, role), role)


def connect(url: str, role: Role) -> Redis:
    """A client of the server, Sentinel set or Cluster behind a URL.

    It connects when it is first used, and finds the new master after a failover. A Cluster's
    client is called by the same methods: commands, scripts whose keys share a slot, pipelines
    without a transaction, pub/sub.
    """
    parts = parse_redis_url(url)
    if parts.topology is Topology.SENTINEL:
        return _of_sentinels(parts, role)
    if parts.topology is Topology.CLUSTER:
        return _of_cluster(parts, role)
    client: Redis = _client_class(role).from_url(url, **_options(_PATIENCE[role]))
    return client


def _client_class(role: Role) -> type[Redis]:
    """What waits for something to come blocks its connection, so it shares none."""
    return Redis if _PATIENCE[role].answer is None else SharedRedis


def url_of(settings: Settings, role: Role) -> str:
    """Where this role's Redis is: its own URL, or the common one with the role's database."""
    name = _SETTING.get(role, role).value
    if name == Role.QUEUE.value:
        return _common_url(settings)
    own = getattr(settings, f"redis_{name}_url")
    if own is not None:
        return _with_password(own.reveal(), settings)
    return with_database(_common_url(settings), getattr(settings, f"redis_{name}_db"))


def _common_url(settings: Settings) -> str:
    if settings.redis_url:
        return _with_password(settings.redis_url.reveal(), settings)
    if settings.redis_host is None:
        raise SettingsError("Neither REDIS_URL nor REDIS_HOST is set: nobody knows where Redis is.")
    url = f"redis://{settings.redis_host}:{settings.redis_port}/{settings.redis_db}"
    return _with_password(url, settings)


def _with_password(url: str, settings: Settings) -> str:
    """The URL with REDIS_PASSWORD, unless it has a password or there is none."""
    password = settings.redis_password
    if password is None or parse_redis_url(url).password is not None:
        return url
    scheme, _, rest = url.partition("://")
    account, separator, servers = rest.rpartition("@")
    user = account.rstrip(":") if separator else ""
    return f"{scheme}://{user}:{quote(password.reveal(), safe='')}@{servers}"


def _options(patience: _Patience) -> dict[str, Any]:
    return {
        "socket_timeout": patience.answer,
        "socket_connect_timeout": patience.connect,
        # A command that was sent may have been carried out, so repeating it is its caller's choice.
        "retry": Retry(NoBackoff(), 0),
    }


def _of_sentinels(url: RedisUrl, role: Role) -> Redis:
    options = _options(_SENTINEL_PATIENCE)
    sentinels = _Sentinels(url.servers, sentinel_kwargs=options)
    client: Redis = sentinels.master_for(
        url.master,
        redis_class=_client_class(role),
        connection_pool_class=_MasterPool,
        db=url.database,
        username=url.username,
        password=url.password,
        **_options(_PATIENCE[role]),
    )
    return client


class _Sentinels(Sentinel):
    """Asked by one connection at a time.

    redis-py moves the one that answered to the front; two at once would lose another for good.
    """

    def __init__(self, *where: Any, **options: Any) -> None:
        super().__init__(*where, **options)  # type: ignore[no-untyped-call]
        self._asking = asyncio.Lock()

    async def discover_master(self, service_name: str) -> Any:
        async with self._asking:
            return await super().discover_master(service_name)


class _MasterPool(SentinelConnectionPool):
    """Connections to whoever is master, and to the sentinels that know; closed together."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _of_cluster(url: RedisUrl, role: Role) -> Redis:
    cluster = _Cluster(
        startup_nodes=[ClusterNode(host, port) for host, port in url.servers],
        username=url.username,
        password=url.password,
        **_options(_PATIENCE[role]),
    )
    return cast("Redis", cluster)


class _Cluster(RedisCluster):
    """A Cluster whose pub/sub can be used first of all, and whose pipelines publish."""

    def pubsub(self, *where: Any, **options: Any) -> ClusterPubSub:
        return _ClusterPubSub(self, *where, **options)

    def pipeline(self, transaction: Any = None, _shard_hint: Any = None) -> ClusterPipeline:
        return _ClusterPipeline(self, transaction)  # type: ignore[abstract]


class _ClusterPipeline(ClusterPipeline):
    """Publishes too, which redis-py leaves out; any server passes it on to all."""

    def publish(self, channel: Any, message: Any, **options: Any) -> Any:
        return self.execute_command("PUBLISH", channel, message, **options)


class _ClusterPubSub(ClusterPubSub):
    """Subscribes on one server of the Cluster, which hears what is published on any."""

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        await self.cluster.initialize()
        try:
            return await super().execute_command(*words, **options)
        except RedisConnectionError:
            # The server may be gone for good: the next subscription finds another.
            await self.cluster.nodes_manager.initialize()
            raise
