"""Every environment variable, read once at start, typed and explained."""

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeVar

__all__ = ["Address", "Secret", "Settings", "SettingsError", "load_settings"]

T = TypeVar("T")

# Read by the operators' command line, which starts the services in the same environment.
_NAMES_OF_THE_COMMAND_LINE = ("KV_ERP_DEV_DIR", "KV_ERP_HTTP_PORT")


class SettingsError(Exception):
    """The environment cannot be worked with; one sentence a problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Secret:
    """A text that shows itself only on request, so that it cannot slip into a log."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Address(NamedTuple):
    """Where to listen; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _secret(text: str) -> Secret:
    return Secret(text)


def _address(text: str) -> Address:
    host, separator, port = text.rpartition(":")
    if not (separator and host and port.isdecimal() and int(port) <= 65535):
        raise ValueError("must be host:port with a port of at most 65535, such as 127.0.0.1:5001")
    return Address(host, int(port))


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def _seconds(least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1
        if not least <= seconds <= 3600:
            raise ValueError(f"must be a number of seconds from {least:g} to 3600")
        return seconds

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return parse


def _flag(text: str) -> bool:
    return _one_of("0", "1", "false", "true")(text) in ("1", "true")


def _variable(name: str, meaning: str, parse: Callable[[str], T], default: Any = None) -> Any:
    return field(default=default, metadata={"name": name, "meaning": meaning, "parse": parse})


_LOOPBACK = Address("127.0.0.1", 0)


@dataclass(frozen=True)
class Settings:
    """What the environment says. An empty variable counts as absent."""

    database_url: Secret | None = _variable(
        "DATABASE_URL", "The service's database, as the application role.", _secret
    )
    system_database_url: Secret | None = _variable(
        "KV_ERP_SYSTEM_DATABASE_URL", "The same database, as the role that sees all tenants.", _secret
    )
    migration_database_url: Secret | None = _variable(
        "KV_ERP_MIGRATION_DATABASE_URL", "The same database, as the owner of its tables.", _secret
    )
    redis_url: Secret | None = _variable("REDIS_URL", "Redis for queues and events.", _secret)
    grpc_bind: Address = _variable(
        "KV_ERP_GRPC_BIND", "Where the service listens for gRPC.", _address, _LOOPBACK
    )
    http_bind: Address = _variable(
        "KV_ERP_HTTP_BIND", "Where the gateway listens for HTTP.", _address, _LOOPBACK
    )
    metrics_bind: Address | None = _variable(
        "KV_ERP_METRICS_BIND", "Where Prometheus reads; absent or port 0: nowhere.", _address
    )
    inventory_target: str | None = _variable(
        "KV_ERP_INVENTORY_TARGET", "Where inventory is, as host:port or dns:///name:port.", str
    )
    accounting_target: str | None = _variable(
        "KV_ERP_ACCOUNTING_TARGET", "Where accounting is, as host:port or dns:///name:port.", str
    )
    sales_target: str | None = _variable(
        "KV_ERP_SALES_TARGET", "Where sales is, as host:port or dns:///name:port.", str
    )
    gateway_target: str | None = _variable(
        "KV_ERP_GATEWAY_TARGET", "Where the gateway is, as host:port or dns:///name:port.", str
    )
    identity_key: Secret | None = _variable(
        "KV_ERP_IDENTITY_KEY", "Key that signs our calls, as name:base64url-seed (Ed25519).", _secret
    )
    identity_trusted_keys: str = _variable(
        "KV_ERP_IDENTITY_TRUSTED_KEYS",
        "Public keys whose calls are accepted, as name:base64url-key,… "
        "A name may come twice while its key is being changed.",
        str,
        "",
    )
    log_level: str = _variable(
        "KV_ERP_LOG_LEVEL",
        "The least severe lines that are written.",
        _one_of("debug", "info", "warning", "error"),
        "info",
    )
    log_format: str = _variable(
        "KV_ERP_LOG_FORMAT", "json for machines, text for people.", _one_of("json", "text"), "json"
    )
    database_pool: int = _variable(
        "KV_ERP_DATABASE_POOL", "Database connections of one process.", _whole(1, 200), 8
    )
    workers: int = _variable("KV_ERP_WORKERS", "Server processes on one port.", _whole(1, 64), 1)
    shared_port: bool = _variable(
        "KV_ERP_SHARED_PORT", "Set for the processes that share one port; not by hand.", _flag, False
    )
    drain_wait_seconds: float = _variable(
        "KV_ERP_DRAIN_WAIT_SECONDS",
        "Time between saying not ready and refusing calls, for load balancers to notice.",
        _seconds(0),
        0.0,
    )
    shutdown_grace_seconds: float = _variable(
        "KV_ERP_SHUTDOWN_GRACE_SECONDS", "Time for running calls to finish.", _seconds(0), 10.0
    )
    request_timeout_seconds: float = _variable(
        "KV_ERP_REQUEST_TIMEOUT_SECONDS", "Time for a call that brings no deadline.", _seconds(0.1), 10.0
    )

    def need_secret(self, name: str) -> str:
        """The text of a secret such as "database_url".

        Raises:
            SettingsError: the variable is not set.
        """
        secret: Secret | None = getattr(self, name)
        if secret is None:
            raise SettingsError(f"{_variable_of(name)} is not set. {_meaning_of(name)}")
        return secret.reveal()

    def need_target(self, service: str) -> str:
        """Where a service is.

        Raises:
            SettingsError: the variable is not set.
        """
        target: str | None = getattr(self, f"{service}_target")
        if target is None:
            name = f"{service}_target"
            raise SettingsError(f"{_variable_of(name)} is not set. {_meaning_of(name)}")
        return target


def variables() -> list[tuple[str, str, object]]:
    """Name, meaning and default of every variable: for the reference."""
    return [(item.metadata["name"], item.metadata["meaning"], item.default) for item in fields(Settings)]


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment.

    Raises:
        SettingsError: a variable is unknown or malformed, or two contradict each other.
    """
    environment = os.environ if environment is None else environment
    problems = list(_unknown(environment))
    values: dict[str, Any] = {}
    for item in fields(Settings):
        text = environment.get(item.metadata["name"], "").strip()
        try:
            if text:
                values[item.name] = item.metadata["parse"](text)
        except ValueError as error:
            problems.append(f"{item.metadata['name']} {error}.")
    settings = Settings(**values)
    problems += _contradictions(settings)
    if problems:
        raise SettingsError(*problems)
    return settings


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    known = [name for name, _, _ in variables()] + list(_NAMES_OF_THE_COMMAND_LINE)
    for name in sorted(environment):
        if name.startswith("KV_ERP_") and name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            yield f"{name} is not a setting." + (f" Did you mean {nearest[0]}?" if nearest else "")


def _contradictions(settings: Settings) -> Iterator[str]:
    if settings.workers > 1 and settings.grpc_bind.port == 0:
        yield "KV_ERP_WORKERS above 1 needs a fixed port in KV_ERP_GRPC_BIND: the processes share it."
    bound = [("KV_ERP_GRPC_BIND", settings.grpc_bind), ("KV_ERP_HTTP_BIND", settings.http_bind)]
    if settings.metrics_bind:
        bound.append(("KV_ERP_METRICS_BIND", settings.metrics_bind))
    taken: dict[Address, str] = {}
    for name, address in bound:
        if address.port and address in taken:
            yield f"{name} and {taken[address]} are both {address}."
        taken[address] = name
    if settings.identity_key and not settings.identity_trusted_keys:
        yield "KV_ERP_IDENTITY_KEY is set without KV_ERP_IDENTITY_TRUSTED_KEYS: nobody could call this process."


def _variable_of(field_name: str) -> str:
    return str(Settings.__dataclass_fields__[field_name].metadata["name"])


def _meaning_of(field_name: str) -> str:
    return str(Settings.__dataclass_fields__[field_name].metadata["meaning"])
