"""URLs of databases, as libpq and as SQLAlchemy write them."""

import pytest

from common.database_urls import at_host, driver_url

PAIR = "postgresql://sales_app:p%40ss@10.0.0.1:5432,10.0.0.2:5433/sales?target_session_attrs=read-write"


def connect_arguments(url: object) -> dict[str, object]:
    """What SQLAlchemy passes on to psycopg."""
    parsed = driver_url(str(url))
    return dict(parsed.get_dialect()().create_connect_args(parsed)[1])


def test_several_hosts_reach_the_driver_in_order() -> None:
    assert connect_arguments(PAIR) == {
        "user": "sales_app",
        "password": "p@ss",
        "dbname": "sales",
        "host": "10.0.0.1,10.0.0.2",
        "port": "5432,5433",
        "target_session_attrs": "read-write",
    }


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_one_host_stays_as_it_is(scheme: str) -> None:
    url = driver_url(f"{scheme}://a:b@db:5433/sales?sslmode=require")

    assert (url.host, url.port, url.query) == ("db", 5433, {"sslmode": "require"})
    assert url.drivername == "postgresql+psycopg"


def test_a_replica_is_asked_whatever_its_part_is() -> None:
    url = at_host(PAIR, "10.0.0.3:6000")

    assert (url.host, url.port, url.database, dict(url.query)) == ("10.0.0.3", 6000, "sales", {})
