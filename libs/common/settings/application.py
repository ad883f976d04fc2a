"""The application as a whole, by the names of the reference architecture."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Explained, Variable, always, explained, flag, one_of, web_address

_LEASED = (
    "QUEUE_RETRY_AFTER decides nothing here: the job of a worker that has died is given to another "
    "some seconds after the worker's last sign of life, however long the job may take."
)
_ENCRYPTED = "SESSION_ENCRYPT=false decides nothing here: what a session holds is always encrypted."


@dataclass(frozen=True)
class ApplicationSettings:
    """What is to be true of the whole system. What cannot be otherwise refuses other values."""

    app_env: Annotated[
        str,
        Variable(
            "APP_ENV",
            "What this is: production, staging, testing or local. In production what is meant for "
            "development is refused.",
            one_of("production", "staging", "testing", "local"),
        ),
    ] = "local"
    app_debug: Annotated[
        bool,
        Variable(
            "APP_DEBUG",
            "Whether to log what is for developers, unless KV_ERP_LOG_LEVEL says otherwise. "
            "Answers never show what is inside.",
            flag,
        ),
    ] = False
    app_url: Annotated[
        str | None,
        Variable(
            "APP_URL",
            "Where clients find the gateway: https://host, in the API's description.",
            web_address,
        ),
    ] = None
    queue_connection: Annotated[
        str,
        Variable(
            "QUEUE_CONNECTION",
            "What wakes workers: redis. The jobs themselves are in the database.",
            one_of("redis"),
        ),
    ] = "redis"
    queue_retry_after: Annotated[
        Explained | None,
        Variable(
            "QUEUE_RETRY_AFTER",
            "Understood, and without effect: a lease that its worker renews takes its place.",
            explained("a number of seconds", str.isdecimal, _LEASED),
        ),
    ] = None
    session_driver: Annotated[
        str,
        Variable(
            "SESSION_DRIVER",
            "What sessions are read from: redis, with the database behind it.",
            one_of("redis"),
        ),
    ] = "redis"
    session_connection: Annotated[
        str,
        Variable(
            "SESSION_CONNECTION",
            "Redis's role for sessions: session. REDIS_SESSION_URL says where that is.",
            one_of("session"),
        ),
    ] = "session"
    session_encrypt: Annotated[
        Explained | None,
        Variable(
            "SESSION_ENCRYPT",
            "Sessions are always encrypted; false is understood, and without effect.",
            explained("true or false", lambda text: text in ("true", "false"), _ENCRYPTED),
        ),
    ] = None
    session_secure_cookie: Annotated[
        bool,
        Variable(
            "SESSION_SECURE_COOKIE",
            "Always true: browsers send a cookie that begins with __Host- over HTTPS alone.",
            always(True, "browsers refuse a __Host- cookie that is not secure"),
        ),
    ] = True
    session_http_only: Annotated[
        bool,
        Variable(
            "SESSION_HTTP_ONLY",
            "Always true: no script may read the session's cookie.",
            always(True, "no script may read the session's cookie"),
        ),
    ] = True
    session_same_site: Annotated[
        str,
        Variable(
            "SESSION_SAME_SITE",
            "When pages of other sites send the session's cookie along: lax, with links only.",
            one_of("lax"),
        ),
    ] = "lax"
    tenancy_enabled: Annotated[
        bool,
        Variable(
            "TENANCY_ENABLED",
            "Always true: every row belongs to a tenant. A single company is a single tenant.",
            always(True, "every row belongs to a tenant; a single company is a single tenant"),
        ),
    ] = True
