"""Where Redis is, a server a role if need be."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Secret, Variable, one_of, redis_server, whole


@dataclass(frozen=True)
class RedisSettings:
    """Redis by role, and how its keys begin."""

    redis_url: Annotated[
        Secret | None,
        Variable(
            "REDIS_URL",
            "Redis for queues and events, and for every role that has no URL of its own.",
            redis_server,
        ),
    ] = None
    redis_cache_url: Annotated[
        Secret | None, Variable("REDIS_CACHE_URL", "Redis for the cache and limits.", redis_server)
    ] = None
    redis_lock_url: Annotated[
        Secret | None, Variable("REDIS_LOCK_URL", "Redis for locks.", redis_server)
    ] = None
    redis_session_url: Annotated[
        Secret | None, Variable("REDIS_SESSION_URL", "Redis for sessions.", redis_server)
    ] = None
    redis_host: Annotated[
        str | None, Variable("REDIS_HOST", "Where Redis is, in place of REDIS_URL.")
    ] = None
    redis_port: Annotated[
        int, Variable("REDIS_PORT", "Its port, with REDIS_HOST.", whole(1, 65535))
    ] = 6379
    redis_password: Annotated[
        Secret | None,
        Variable(
            "REDIS_PASSWORD", "The password, with REDIS_HOST or with URLs that have none.", Secret
        ),
    ] = None
    redis_cluster: Annotated[
        str,
        Variable(
            "REDIS_CLUSTER",
            "How a Cluster is spoken to: redis, by Redis's own slots. Whether there is one, a URL "
            "of redis+cluster:// says.",
            one_of("redis"),
        ),
    ] = "redis"
    redis_db: Annotated[
        int,
        Variable("REDIS_DB", "Database for queues and events, with REDIS_HOST.", whole(0, 15)),
    ] = 0
    redis_cache_db: Annotated[
        int,
        Variable("REDIS_CACHE_DB", "Database for the cache, without its own URL.", whole(0, 15)),
    ] = 1
    redis_lock_db: Annotated[
        int, Variable("REDIS_LOCK_DB", "Database for locks, without its own URL.", whole(0, 15))
    ] = 2
    redis_session_db: Annotated[
        int,
        Variable("REDIS_SESSION_DB", "Database for sessions, without its own URL.", whole(0, 15)),
    ] = 3
    cache_store: Annotated[
        str, Variable("CACHE_STORE", "Where the cache is: redis.", one_of("redis"))
    ] = "redis"
    cache_prefix: Annotated[
        str, Variable("CACHE_PREFIX", "What every key of the cache begins with.")
    ] = "kv_erp_cache"
