"""The environment of every process: the contract between the stack and common.settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.credentials import DATABASES, Credentials
from ops.ports import HOST
from ops.urls import postgres_url_from, with_account, with_address, with_database

# The stack's own variables, and those whose values it decides for each process.
WITHHELD = {
    "KV_ERP_HTTP_PORT",
    "KV_ERP_DEV_DIR",
    "KV_ERP_DEV_FSYNC",
    "KV_ERP_TOKEN",
    "KV_ERP_OPERATOR_URL",
    "KV_ERP_BACKUP_STORE",
    "KV_ERP_BACKUP_KEY_FILE",
    "KV_ERP_BACKUP_COPY",
    "KV_ERP_WORKERS",
    "DATABASE_URL",
    "REDIS_URL",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_PASSWORD",
    "DB_HOST",
    "DB_PORT",
    "DB_USERNAME",
    "DB_PASSWORD",
    "DB_DATABASE",
}


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What connects the processes of one stack: servers, ports by name, and credentials."""

    inherited: Mapping[str, str]
    superuser_url: str
    redis_url: str
    ports: Mapping[str, int]
    credentials: Credentials
    # Names of their ports.
    replicas: Sequence[str] = ()

    @property
    def has_mailbox(self) -> bool:
        """Whether mail goes to the stack's own mailbox: the operator named no server."""
        return not self.inherited.get("MAIL_HOST", "").strip()

    @property
    def smtp(self) -> str:
        """Where mail goes, as host:port."""
        if self.has_mailbox:
            return self.address("mailbox")
        return f"{self.inherited['MAIL_HOST']}:{self.inherited.get('MAIL_PORT') or 587}"

    def address(self, port_name: str) -> str:
        """`host:port` of a named port."""
        return f"{HOST}:{self.ports[port_name]}"

    def database_url(self, service: str, kind: str) -> str:
        """The service's database as its `owner`, `app` or `system` role."""
        role = f"{service}_{kind}"
        url = with_account(self.superuser_url, role, self.credentials.role_password(role))
        return with_database(url, service)

    def operator_database_url(self, service: str) -> str:
        """The service's database as the superuser, who sees all tenants."""
        return with_database(self.superuser_url, service)

    def replica_url(self, name: str) -> str:
        """A replica, as the superuser."""
        return with_address(self.superuser_url, self.address(name))

    def for_server(self, service: str) -> dict[str, str]:
        """The environment of `python -m <service> server`."""
        environment = self._shared(service) | {
            "KV_ERP_GRPC_BIND": self.address(f"{service}.grpc"),
            "KV_ERP_METRICS_BIND": self.address(f"{service}.metrics"),
        }
        if workers := self.inherited.get("KV_ERP_WORKERS"):
            environment["KV_ERP_WORKERS"] = workers
        if service == "gateway":
            environment["KV_ERP_HTTP_BIND"] = self.address("gateway.http")
            environment.setdefault("KV_ERP_SESSION_KEY", self.credentials.session_key)
            environment = self._webhooks() | environment
        return environment

    def for_worker(self, service: str) -> dict[str, str]:
        """The environment of `python -m <service> worker`."""
        metrics = self.address(f"{service}-worker.metrics")
        own = self._webhooks() if service == "gateway" else {}
        return own | self._shared(service) | self._mail() | {"KV_ERP_METRICS_BIND": metrics}

    def for_migration(self, service: str) -> dict[str, str]:
        """The environment of what ends by itself: `migrate`, and the gateway's `seed`."""
        owner = self.database_url(service, "owner")
        return self._shared(service) | {
            "KV_ERP_MIGRATION_DATABASE_URL": owner,
            "KV_ERP_METRICS_BIND": f"{HOST}:0",
        }

    def _webhooks(self) -> dict[str, str]:
        """What lets a developer have webhooks to this machine, unless the caller says otherwise."""
        return {"KV_ERP_WEBHOOK_KEY": self.credentials.webhook_key, "KV_ERP_WEBHOOK_LOCAL": "1"}

    def _mail(self) -> dict[str, str]:
        if not self.has_mailbox:
            # Only who sends mail knows the password for that.
            return {name: value for name, value in self.inherited.items() if _is_of_mail(name)}
        host, _, port = self.smtp.partition(":")
        return {
            "MAIL_HOST": host,
            "MAIL_PORT": port,
            "MAIL_ENCRYPTION": "none",
            "MAIL_FROM_ADDRESS": "orders@kv-erp.example",
        }

    def _shared(self, service: str) -> dict[str, str]:
        targets = {
            f"KV_ERP_{name.upper()}_TARGET": self.address(f"{name}.grpc") for name in DATABASES
        }
        # Replicas of somebody else's server are none of the embedded one's.
        withheld = ("PG",) if postgres_url_from(self.inherited) else ("PG", "DB_READ_HOST_")
        passed_on = {
            name: value
            for name, value in self.inherited.items()
            # libpq's variables (PGSSLMODE, PGOPTIONS…) are meant for the caller's own psql.
            if name not in WITHHELD and not name.startswith(withheld) and not _is_of_mail(name)
        }
        return (
            passed_on
            | targets
            | {
                f"DB_READ_HOST_{number}": self.address(name)
                for number, name in enumerate(self.replicas, start=1)
            }
            | {
                "DATABASE_URL": self.database_url(service, "app"),
                "KV_ERP_SYSTEM_DATABASE_URL": self.database_url(service, "system"),
                "REDIS_URL": self.redis_url,
                "KV_ERP_IDENTITY_KEY": self.credentials.identity_key(service),
                "KV_ERP_IDENTITY_TRUSTED_KEYS": self.credentials.trusted_keys(),
                "KV_ERP_LOG_LEVEL": self.inherited.get("KV_ERP_LOG_LEVEL", "info"),
                "PYTHONUNBUFFERED": "1",
            }
        )


def _is_of_mail(name: str) -> bool:
    return name.startswith("MAIL_")


def port_names() -> list[str]:
    """Every port that the services of a stack need, but the gateway's HTTP port."""
    servers = [f"{name}.{use}" for name in DATABASES for use in ("grpc", "metrics")]
    return servers + [f"{name}-worker.metrics" for name in DATABASES]
