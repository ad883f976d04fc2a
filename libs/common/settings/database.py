"""Where a service keeps its data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from common.variables import Secret, Variable, flag, hosts, one_of, seconds, whole


@dataclass(frozen=True)
class DatabaseSettings:
    """Databases and their replicas."""

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
    db_connection: Annotated[
        str, Variable("DB_CONNECTION", "The kind of database: pgsql.", one_of("pgsql"))
    ] = "pgsql"
    db_host: Annotated[
        str | None,
        Variable("DB_HOST", "Where the database is, in place of DATABASE_URL and the other URLs."),
    ] = None
    db_port: Annotated[int, Variable("DB_PORT", "Its port, with DB_HOST.", whole(1, 65535))] = 5432
    db_database: Annotated[
        str | None,
        Variable("DB_DATABASE", "Its name, with DB_HOST: each service has a database of its own."),
    ] = None
    db_username: Annotated[
        str | None, Variable("DB_USERNAME", "The application role, with DB_HOST.")
    ] = None
    db_password: Annotated[
        Secret | None, Variable("DB_PASSWORD", "The application role's password.", Secret)
    ] = None
    db_system_username: Annotated[
        str | None,
        Variable("DB_SYSTEM_USERNAME", "The role that sees all tenants, with DB_HOST."),
    ] = None
    db_system_password: Annotated[
        Secret | None, Variable("DB_SYSTEM_PASSWORD", "That role's password.", Secret)
    ] = None
    db_owner_username: Annotated[
        str | None,
        Variable("DB_OWNER_USERNAME", "The owner of the tables, with DB_HOST, for migrations."),
    ] = None
    db_owner_password: Annotated[
        Secret | None, Variable("DB_OWNER_PASSWORD", "The owner's password.", Secret)
    ] = None
    db_timeout_seconds: Annotated[
        int,
        Variable("DB_TIMEOUT", "Seconds for a connection to the database to open.", whole(1, 60)),
    ] = 3
    db_persistent: Annotated[
        bool,
        Variable(
            "DB_PERSISTENT",
            "Whether a process keeps its connections; false: each is opened for one transaction, "
            "which costs several round trips unless a PgBouncer is on the same machine.",
            flag,
        ),
    ] = True
    prepared_statements: Annotated[
        bool,
        Variable(
            "KV_ERP_PREPARED_STATEMENTS",
            "Whether the database remembers statements that come often; false behind a PgBouncer "
            "before 1.21, whose transaction mode loses them.",
            flag,
        ),
    ] = True
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
    database_pool: Annotated[
        int,
        Variable("KV_ERP_DATABASE_POOL", "Database connections of a process.", whole(1, 200)),
    ] = 8


_ROLES = {
    "database_url": ("db_username", "db_password"),
    "system_database_url": ("db_system_username", "db_system_password"),
    "migration_database_url": ("db_owner_username", "db_owner_password"),
}
_URLS = "DATABASE_URL, KV_ERP_SYSTEM_DATABASE_URL, KV_ERP_MIGRATION_DATABASE_URL"


def database_urls(values: dict[str, Any]) -> Iterator[str]:
    """Make the URLs in `values` from DB_HOST and its kin; yields what is wrong with them."""
    if "db_host" not in values:
        if alone := sorted(name.upper() for name in _kin() if name in values):
            yield f"{', '.join(alone)}: set without DB_HOST."
        return
    if _ROLES.keys() & values.keys():
        yield f"DB_HOST and a URL both say where the database is: set DB_HOST or {_URLS}."
        return
    if "db_database" not in values:
        yield "DB_HOST is set without DB_DATABASE."
        return
    if not any(username in values for username, _ in _ROLES.values()):
        yield "DB_HOST is set without DB_USERNAME."
    for url, (username, password) in _ROLES.items():
        if username in values:
            values[url] = Secret(_url(values, values[username], values.get(password)))
        elif password in values:
            yield f"{password.upper()} is set without {username.upper()}."


def _kin() -> list[str]:
    roles = [name for pair in _ROLES.values() for name in pair]
    return ["db_port", "db_database", *roles]


def _url(values: dict[str, Any], username: str, password: Secret | None) -> str:
    account = quote(username, safe="")
    if password is not None:
        account += f":{quote(password.reveal(), safe='')}"
    host, port = values["db_host"], values.get("db_port", DatabaseSettings.db_port)
    host = f"[{host}]" if ":" in host else host
    return f"postgresql://{account}@{host}:{port}/{quote(values['db_database'], safe='')}"
