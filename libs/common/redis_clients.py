"""Clients of Redis, one a role: each with its own server, database and patience."""

from enum import Enum
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common.settings import Settings
from common.variables import SettingsError

__all__ = ["Role", "open_redis"]


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
    LOCKS = "lock"
    SESSIONS = "session"


_PATIENCE = {
    Role.QUEUE: _Patience(None, 1.0),
    Role.EVENTS: _Patience(0.05, 0.25),
    Role.CACHE: _Patience(0.05, 0.05),
    Role.LIMITS: _Patience(0.05, 0.05),
    Role.LOCKS: _Patience(1.0, 0.25),
    Role.SESSIONS: _Patience(0.1, 0.1),
}
# Events share a server with the queue, limits with the cache.
_SETTING = {Role.EVENTS: Role.QUEUE, Role.LIMITS: Role.CACHE}


def open_redis(settings: Settings, role: Role) -> Redis:
    """A client for this role. It gives up in time and never sends a command twice by itself.

    Raises:
        SettingsError: no variable says where Redis is.
    """
    patience = _PATIENCE[role]
    return Redis.from_url(
        url_of(settings, role),
        socket_timeout=patience.answer,
        socket_connect_timeout=patience.connect,
        # A command that was sent may have been carried out, so repeating it is its caller's choice.
        retry=Retry(NoBackoff(), 0),
    )


def url_of(settings: Settings, role: Role) -> str:
    """Where this role's Redis is: its own URL, or the common one with the role's database."""
    name = _SETTING.get(role, role).value
    if name == Role.QUEUE.value:
        return _common_url(settings)
    own = getattr(settings, f"redis_{name}_url")
    if own is not None:
        return str(own.reveal())
    database = getattr(settings, f"redis_{name}_db")
    return urlsplit(_common_url(settings))._replace(path=f"/{database}").geturl()


def _common_url(settings: Settings) -> str:
    if settings.redis_url:
        return settings.redis_url.reveal()
    if settings.redis_host is None:
        raise SettingsError("Neither REDIS_URL nor REDIS_HOST is set: nobody knows where Redis is.")
    password = settings.redis_password
    account = f":{quote(password.reveal(), safe='')}@" if password else ""
    return f"redis://{account}{settings.redis_host}:{settings.redis_port}/{settings.redis_db}"
