"""Every environment variable, read once at start, typed and explained."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from common.variables import (
    Address,
    Secret,
    SettingsError,
    Variable,
    address,
    flag,
    hosts,
    one_of,
    redis_server,
    sealing_keys,
    seconds,
    whole,
)

__all__ = ["Address", "Secret", "Settings", "SettingsError", "Variable", "load_settings"]

# Read by the operators' command line, which starts the services in the same environment.
_NAMES_OF_THE_COMMAND_LINE = ("KV_ERP_DEV_DIR", "KV_ERP_HTTP_PORT")


_LOOPBACK = Address("127.0.0.1", 0)


@dataclass(frozen=True)
class Settings:
    """What the environment says. An empty variable counts as absent."""

    database_url: Annotated[
        Secret | None,
        Variable("DATABASE_URL", "The service's database, as the application role.", Secret),
    ] = None
    system_database_url: Annotated[
        Secret | None,
        Variable(
            "KV_ERP_SYSTEM_DATABASE_URL", "The same, as the role that sees all tenants.", Secret
        ),
    ] = None
    migration_database_url: Annotated[
        Secret | None,
        Variable("KV_ERP_MIGRATION_DATABASE_URL", "The same, as the owner of its tables.", Secret),
    ] = None
    read_hosts: Annotated[
        tuple[str, ...],
        Variable(
            "DB_READ_HOST_n",
            "Read replicas of the service's database, n from 1: host or host:port each.",
            hosts,
        ),
    ] = ()
    replica_lag_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_REPLICA_LAG_SECONDS",
            "A replica that lacks older writes than this answers no reads.",
            seconds(0.1),
        ),
    ] = 10.0
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
        Secret | None, Variable("REDIS_PASSWORD", "Its password, with REDIS_HOST.", Secret)
    ] = None
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
    cache_prefix: Annotated[
        str, Variable("CACHE_PREFIX", "What every key of the cache begins with.")
    ] = "kv_erp_cache"
    session_key: Annotated[
        Secret | None,
        Variable(
            "KV_ERP_SESSION_KEY",
            "Encrypts sessions, as name:base64url-key (32 bytes), the newest first. An older one "
            "follows after a comma until no session is left that it has encrypted.",
            sealing_keys,
        ),
    ] = None
    session_lifetime_minutes: Annotated[
        int,
        Variable("SESSION_LIFETIME", "Minutes that a session lives without use.", whole(1, 43_200)),
    ] = 120
    session_longest_minutes: Annotated[
        int,
        Variable("SESSION_LONGEST", "Minutes that a session lives at most.", whole(1, 525_600)),
    ] = 1440
    grpc_bind: Annotated[
        Address, Variable("KV_ERP_GRPC_BIND", "Where the service listens for gRPC.", address)
    ] = _LOOPBACK
    http_bind: Annotated[
        Address, Variable("KV_ERP_HTTP_BIND", "Where the gateway listens for HTTP.", address)
    ] = _LOOPBACK
    metrics_bind: Annotated[
        Address | None,
        Variable(
            "KV_ERP_METRICS_BIND", "Where Prometheus reads; absent or port 0: nowhere.", address
        ),
    ] = None
    inventory_target: Annotated[
        str | None,
        Variable("KV_ERP_INVENTORY_TARGET", "Where inventory is: host:port or dns:///name:port."),
    ] = None
    accounting_target: Annotated[
        str | None,
        Variable("KV_ERP_ACCOUNTING_TARGET", "Where accounting is: host:port or dns:///name:port."),
    ] = None
    sales_target: Annotated[
        str | None,
        Variable("KV_ERP_SALES_TARGET", "Where sales is: host:port or dns:///name:port."),
    ] = None
    gateway_target: Annotated[
        str | None,
        Variable("KV_ERP_GATEWAY_TARGET", "Where the gateway is: host:port or dns:///name:port."),
    ] = None
    identity_key: Annotated[
        Secret | None,
        Variable(
            "KV_ERP_IDENTITY_KEY", "Signs our calls, as name:base64url-seed (Ed25519).", Secret
        ),
    ] = None
    identity_trusted_keys: Annotated[
        str,
        Variable(
            "KV_ERP_IDENTITY_TRUSTED_KEYS",
            "Public keys of the services that may call, as name:base64url-key,… "
            "A name comes twice while its key is being changed.",
        ),
    ] = ""
    log_level: Annotated[
        str,
        Variable(
            "KV_ERP_LOG_LEVEL",
            "The least severe lines to write: debug, info, warning or error.",
            one_of("debug", "info", "warning", "error"),
        ),
    ] = "info"
    log_format: Annotated[
        str,
        Variable(
            "KV_ERP_LOG_FORMAT", "json for machines, text for people.", one_of("json", "text")
        ),
    ] = "json"
    api_rate_limit: Annotated[
        int,
        Variable(
            "API_RATE_LIMIT",
            "Requests a minute of one user to one route, on the plan `default`.",
            whole(1, 1_000_000),
        ),
    ] = 60
    gateway_replicas: Annotated[
        int,
        Variable(
            "KV_ERP_GATEWAY_REPLICAS",
            "Gateway processes in all: while Redis is away each lets in its share of a limit.",
            whole(1, 1000),
        ),
    ] = 1
    trusted_proxies: Annotated[
        int,
        Variable(
            "KV_ERP_TRUSTED_PROXIES",
            "Proxies of ours before the gateway, whose X-Forwarded-For is believed.",
            whole(0, 10),
        ),
    ] = 0
    tenant_calls: Annotated[
        int,
        Variable(
            "KV_ERP_TENANT_CALLS",
            "Calls of one tenant that a process works on at the same time.",
            whole(1, 100_000),
        ),
    ] = 512
    database_pool: Annotated[
        int,
        Variable("KV_ERP_DATABASE_POOL", "Database connections of a process.", whole(1, 200)),
    ] = 8
    workers: Annotated[
        int, Variable("KV_ERP_WORKERS", "Server processes on one port.", whole(1, 64))
    ] = 1
    shared_port: Annotated[
        bool, Variable("KV_ERP_SHARED_PORT", "Set by a server for its worker processes.", flag)
    ] = False
    drain_wait_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_DRAIN_WAIT_SECONDS",
            "Between saying not ready and refusing calls, for load balancers to notice.",
            seconds(0),
        ),
    ] = 0.0
    shutdown_grace_seconds: Annotated[
        float,
        Variable("KV_ERP_SHUTDOWN_GRACE_SECONDS", "For running calls to finish.", seconds(0)),
    ] = 10.0
    request_timeout_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_REQUEST_TIMEOUT_SECONDS", "For a call that brings no deadline.", seconds(0.1)
        ),
    ] = 10.0

    def need_secret(self, field: str) -> str:
        """The text of a secret such as "database_url".

        Raises:
            SettingsError: the variable is not set.
        """
        secret: Secret | None = getattr(self, field)
        if secret is None:
            raise _not_set(field)
        return secret.reveal()

    def need_target(self, service: str) -> str:
        """Where a service is.

        Raises:
            SettingsError: the variable is not set.
        """
        target: str | None = getattr(self, f"{service}_target")
        if target is None:
            raise _not_set(f"{service}_target")
        return target


def variables() -> dict[str, Variable]:
    """Every variable by the field that it fills."""
    hints = get_type_hints(Settings, include_extras=True)
    return {field: get_args(hint)[1] for field, hint in hints.items()}


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment.

    Raises:
        SettingsError: a variable is unknown or malformed, or two contradict each other.
    """
    environment = os.environ if environment is None else environment
    known = variables()
    problems = list(_unknown(environment, [variable.name for variable in known.values()]))
    values: dict[str, Any] = {}
    for field, variable in known.items():
        text = _text_of(variable.name, environment)
        try:
            if text:
                values[field] = variable.parse(text)
        except ValueError as error:
            problems.append(f"{variable.name} {error}.")
    settings = Settings(**values)
    problems += _contradictions(settings)
    if problems:
        raise SettingsError(*problems)
    return settings


def _text_of(name: str, environment: Mapping[str, str]) -> str:
    """The value of a variable; of a numbered one (NAME_n) all values in order, with commas."""
    if not name.endswith("_n"):
        return environment.get(name, "").strip()
    start = name[:-1]
    numbers = (other.removeprefix(start) for other in environment if other.startswith(start))
    in_order = sorted(int(number) for number in numbers if number.isdecimal())
    return ",".join(filter(None, (environment[f"{start}{number}"].strip() for number in in_order)))


def _unknown(environment: Mapping[str, str], known: Sequence[str]) -> Iterator[str]:
    for name in sorted(environment):
        if name.startswith("KV_ERP_") and name not in {*known, *_NAMES_OF_THE_COMMAND_LINE}:
            nearest = difflib.get_close_matches(name, known, 1)
            yield f"{name} is not a setting." + (f" Did you mean {nearest[0]}?" if nearest else "")


def _contradictions(settings: Settings) -> Iterator[str]:
    if settings.workers > 1 and settings.grpc_bind.port == 0:
        yield "KV_ERP_WORKERS above 1 needs a fixed port in KV_ERP_GRPC_BIND: they share it."
    if settings.redis_url and settings.redis_host:
        yield "REDIS_URL and REDIS_HOST both say where Redis is: set one of them."
    if settings.session_longest_minutes < settings.session_lifetime_minutes:
        yield "SESSION_LONGEST is less than SESSION_LIFETIME, which could then never be reached."
    if settings.identity_key and not settings.identity_trusted_keys:
        yield "KV_ERP_IDENTITY_KEY is set without KV_ERP_IDENTITY_TRUSTED_KEYS: nobody could call."
    taken: dict[Address, str] = {}
    for field in ("grpc_bind", "http_bind", "metrics_bind"):
        address: Address | None = getattr(settings, field)
        if address and address.port:
            name = variables()[field].name
            if address in taken:
                yield f"{name} and {taken[address]} are both {address}."
            taken[address] = name


def _not_set(field: str) -> SettingsError:
    variable = variables()[field]
    return SettingsError(f"{variable.name} is not set. {variable.meaning}")
