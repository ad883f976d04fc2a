"""One database per service and the three roles that reach it."""

from psycopg import Connection, Error, connect
from psycopg.sql import SQL, Identifier

from ops.credentials import DATABASES, ROLE_KINDS, Credentials
from ops.errors import StackFailure
from ops.urls import with_database


def prepare_databases(superuser_url: str, credentials: Credentials) -> set[str]:
    """Create what is missing of databases and roles; the names of the databases it created.

    `{service}_owner` owns the database and runs migrations; `{service}_app` and `{service}_system`
    own nothing and get their table rights from migrations. Passwords become those of `credentials`.
    """
    try:
        with connect(superuser_url, autocommit=True, connect_timeout=10) as server:
            for database in DATABASES:
                for kind in ROLE_KINDS:
                    _prepare_role(server, f"{database}_{kind}", credentials)
            created = {database for database in DATABASES if _create_database(server, database)}
        for database in DATABASES:
            with connect(with_database(superuser_url, database), connect_timeout=10) as connection:
                _close_to_others(connection, database)
    except Error as error:
        reason = " ".join(str(error).split())
        raise StackFailure(f"Preparing the databases failed: {reason}") from error
    return created


def _prepare_role(server: Connection, role: str, credentials: Credentials) -> None:
    if server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        server.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
    # libpq hashes it here, so that no server log can ever show it.
    server.pgconn.change_password(role.encode(), credentials.role_password(role).encode())


def _create_database(server: Connection, database: str) -> bool:
    if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
        return False
    statement = SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'")
    server.execute(statement.format(Identifier(database), Identifier(f"{database}_owner")))
    return True


def _close_to_others(connection: Connection, database: str) -> None:
    """Only the service's own roles may connect, and only its owner may create anything."""
    name, owner = Identifier(database), Identifier(f"{database}_owner")
    users = SQL(", ").join(Identifier(f"{database}_{kind}") for kind in ROLE_KINDS)
    for statement in (
        SQL("ALTER DATABASE {name} OWNER TO {owner}"),
        SQL("ALTER SCHEMA public OWNER TO {owner}"),
        SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC"),
        SQL("REVOKE ALL ON SCHEMA public FROM PUBLIC"),
        SQL("GRANT CONNECT ON DATABASE {name} TO {users}"),
        SQL("GRANT USAGE ON SCHEMA public TO {users}"),
    ):
        connection.execute(statement.format(name=name, owner=owner, users=users))
