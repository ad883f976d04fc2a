"""Every environment variable, read once at start, typed and explained."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from common.settings.application import ApplicationSettings
from common.settings.database import DatabaseSettings, database_urls
from common.settings.edge import EdgeSettings
from common.settings.events import EventSettings
from common.settings.jobs import JobSettings
from common.settings.mail import MailSettings
from common.settings.mesh import MeshSettings
from common.settings.observation import ObservationSettings
from common.settings.redis import RedisSettings
from common.settings.servers import ServerSettings
from common.settings.sessions import SessionSettings
from common.settings.tls import TlsSettings
from common.settings.webhooks import WebhookSettings
from common.variables import Address, Explained, Secret, SettingsError, Variable

__all__ = ["Address", "Secret", "Settings", "SettingsError", "Variable", "load_settings"]

# Read by the operators' command line, which starts the services in the same environment.
_NAMES_OF_THE_COMMAND_LINE = (
    *("KV_ERP_DEV_DIR", "KV_ERP_DEV_FSYNC", "KV_ERP_HTTP_PORT"),
    *("KV_ERP_OPERATOR_URL", "KV_ERP_BACKUP_STORE"),
)


@dataclass(frozen=True)
class Settings(
    ApplicationSettings,
    DatabaseSettings,
    RedisSettings,
    SessionSettings,
    MeshSettings,
    TlsSettings,
    EdgeSettings,
    ObservationSettings,
    EventSettings,
    WebhookSettings,
    JobSettings,
    MailSettings,
    ServerSettings,
):
    """What the environment says. An empty variable counts as absent."""

    def explanations(self) -> list[str]:
        """Why what was said decides nothing, a sentence each."""
        return [value.why for value in vars(self).values() if isinstance(value, Explained)]

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
    problems += database_urls(values)
    if values.get("app_debug"):
        values.setdefault("log_level", "debug")
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
    if settings.app_env == "production":
        yield from _not_for_production(settings)
    if 0 < sum(map(bool, (settings.tls_cert, settings.tls_key, settings.tls_ca))) < 3:  # noqa: PLR2004 (the three)
        yield "KV_ERP_TLS_CERT, KV_ERP_TLS_KEY and KV_ERP_TLS_CA go together: set all or none."
    yield from _contradictions_of_jobs(settings)
    yield from _contradictions_of_mail(settings)
    taken: dict[Address, str] = {}
    for field in ("grpc_bind", "http_bind", "metrics_bind", "health_bind"):
        address: Address | None = getattr(settings, field)
        if address and address.port:
            name = variables()[field].name
            if address in taken:
                yield f"{name} and {taken[address]} are both {address}."
            taken[address] = name


def _not_for_production(settings: Settings) -> Iterator[str]:
    if settings.app_debug:
        yield "APP_DEBUG is for development: APP_ENV says production."
    if settings.app_url and not settings.app_url.startswith("https://"):
        yield "APP_URL must begin with https:// in production, where sessions need it."


def _contradictions_of_jobs(settings: Settings) -> Iterator[str]:
    if settings.job_lease_seconds <= 3 * settings.job_heartbeat_seconds:
        yield "KV_ERP_JOB_LEASE_SECONDS must be more than three heartbeats: jobs would run twice."


def _contradictions_of_mail(settings: Settings) -> Iterator[str]:
    if settings.mail_host and not settings.mail_from_address:
        yield "MAIL_HOST is set without MAIL_FROM_ADDRESS: nobody would know whom mail is from."
    if bool(settings.mail_username) != bool(settings.mail_password):
        yield "MAIL_USERNAME and MAIL_PASSWORD go together: set both or neither."
    if settings.mail_password and settings.mail_encryption == "none":
        yield "MAIL_ENCRYPTION is none, so MAIL_PASSWORD would travel in the clear."


def _not_set(field: str) -> SettingsError:
    variable = variables()[field]
    return SettingsError(f"{variable.name} is not set. {variable.meaning}")
