"""Where a database is, as libpq and as SQLAlchemy write it."""

from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url

DRIVER = "postgresql+psycopg"


def driver_url(url: str | URL) -> URL:
    """A URL for SQLAlchemy from one of libpq's, which may name several hosts.

    `postgresql://user@one:5432,two:5432/sales?target_session_attrs=read-write` goes to whichever
    of the two is the primary: that is how clients follow a failover.
    """
    if isinstance(url, URL):
        return url.set(drivername=DRIVER)
    parts = urlsplit(url)
    account, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return make_url(url).set(drivername=DRIVER)
    alone = make_url(parts._replace(netloc=f"{account}{at}").geturl())
    return alone.set(drivername=DRIVER).update_query_dict({"host": hosts.split(",")})


def at_host(url: str | URL, host: str) -> URL:
    """The same database at one `host` or `host:port`, whatever that server's part is."""
    base = driver_url(url).difference_update_query(["host", "port", "target_session_attrs"])
    name, separator, port = host.rpartition(":")
    return base.set(host=name, port=int(port)) if separator else base.set(host=host)
