"""Connection URLs made from one another."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit


def with_database(url: str, database: str) -> str:
    """`url`, to another database of the same server."""
    return urlsplit(url)._replace(path=f"/{quote(database, safe='')}").geturl()


def with_account(url: str, user: str, password: str) -> str:
    """`url`, as another user."""
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{_quoted(user)}:{_quoted(password)}@{address}").geturl()


def with_address(url: str, address: str) -> str:
    """`url`, at another host:port, whatever that server's part is."""
    parts = urlsplit(url)
    account = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{account}@{address}", query="").geturl()


def postgres_url_from(environment: Mapping[str, str]) -> str | None:
    """The superuser URL of DATABASE_URL, or of DB_HOST, DB_PORT, DB_USERNAME, DB_PASSWORD."""
    if url := environment.get("DATABASE_URL"):
        # What SQLAlchemy calls its driver means nothing to libpq.
        scheme, _, rest = url.partition("://")
        return f"{scheme.partition('+')[0]}://{rest}"
    if not (host := environment.get("DB_HOST")):
        return None
    user = _quoted(environment.get("DB_USERNAME", "postgres"))
    password = _quoted(environment.get("DB_PASSWORD", ""))
    account = f"{user}:{password}" if password else user
    return f"postgresql://{account}@{host}:{environment.get('DB_PORT', '5432')}/postgres"


def redis_url_from(environment: Mapping[str, str]) -> str | None:
    """What REDIS_URL or REDIS_HOST, REDIS_PORT, REDIS_PASSWORD name, if any."""
    if url := environment.get("REDIS_URL"):
        return url
    if not (host := environment.get("REDIS_HOST")):
        return None
    password = environment.get("REDIS_PASSWORD")
    account = f":{_quoted(password)}@" if password else ""
    return f"redis://{account}{host}:{environment.get('REDIS_PORT', '6379')}/0"


def _quoted(text: str) -> str:
    return quote(text, safe="")
