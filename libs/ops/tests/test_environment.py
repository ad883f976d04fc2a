"""What the stack hands to each process."""

from dataclasses import replace
from pathlib import Path

import pytest

from ops.credentials import DATABASES, Credentials
from ops.environment import Wiring, port_names
from ops.urls import postgres_url_from, redis_url_from, with_account, with_database


@pytest.fixture
def wiring(tmp_path: Path) -> Wiring:
    names = [*port_names(), "gateway.http", "mailbox"]
    return Wiring(
        inherited={
            "PATH": "/bin",
            "API_RATE_LIMIT": "5",
            "KV_ERP_LOG_FORMAT": "text",
            "KV_ERP_HTTP_PORT": "9",
            "PGOPTIONS": "-c x=y",
            "DB_HOST": "elsewhere",
        },
        superuser_url="postgresql://postgres:p@127.0.0.1:5432/postgres",
        redis_url="redis://127.0.0.1:6379/0",
        ports={name: number for number, name in enumerate(names, start=1000)},
        credentials=Credentials(tmp_path / "secrets.json"),
    )


def test_every_process_has_ports_of_its_own(wiring: Wiring) -> None:
    environments = [wiring.for_server(name) for name in DATABASES]
    environments += [wiring.for_worker(name) for name in DATABASES]

    binds = [
        value
        for environment in environments
        for name, value in environment.items()
        if name.endswith("_BIND")
    ]

    assert len(binds) == len(set(binds)) == 2 * 4 + 1 + 4


def test_a_server_never_sees_the_owners_password(wiring: Wiring) -> None:
    environment = wiring.for_server("sales")

    assert "KV_ERP_MIGRATION_DATABASE_URL" not in environment
    assert wiring.credentials.role_password("sales_owner") not in str(environment)
    assert wiring.credentials.role_password("accounting_app") not in str(environment)


def test_a_process_is_given_its_own_signing_key_only(wiring: Wiring) -> None:
    environment = wiring.for_server("sales")

    assert environment["KV_ERP_IDENTITY_KEY"].startswith("sales:")
    assert environment["KV_ERP_IDENTITY_TRUSTED_KEYS"].count(",") == 4
    assert wiring.credentials.identity_key("gateway").partition(":")[2] not in str(environment)


def test_the_callers_settings_are_passed_on_but_not_those_of_the_stack(wiring: Wiring) -> None:
    environment = wiring.for_server("gateway")

    assert environment["API_RATE_LIMIT"] == "5"
    assert environment["KV_ERP_LOG_FORMAT"] == "text"
    assert not environment.keys() & {"KV_ERP_HTTP_PORT", "PGOPTIONS", "DB_HOST"}


def test_workers_send_mail_to_the_stacks_mailbox(wiring: Wiring) -> None:
    environment = wiring.for_worker("sales")

    assert f"{environment['MAIL_HOST']}:{environment['MAIL_PORT']}" == wiring.smtp
    assert environment["MAIL_ENCRYPTION"] == "none"
    assert "MAIL_HOST" not in wiring.for_server("sales")


def test_an_operators_mail_server_is_used_instead_and_servers_do_not_learn_its_password(
    wiring: Wiring,
) -> None:
    named = {"MAIL_HOST": "smtp.example", "MAIL_USERNAME": "us", "MAIL_PASSWORD": "secret"}
    wiring = replace(wiring, inherited={**wiring.inherited, **named})

    assert (wiring.has_mailbox, wiring.smtp) == (False, "smtp.example:587")
    assert named.items() <= wiring.for_worker("sales").items()
    assert "secret" not in str(wiring.for_server("sales"))


def test_a_url_changes_its_account_and_database_and_nothing_else() -> None:
    url = "postgresql://root:a%40b@db.example:6432/postgres?sslmode=require"

    changed = with_database(with_account(url, "sales_app", "p/w"), "sales")

    assert changed == "postgresql://sales_app:p%2Fw@db.example:6432/sales?sslmode=require"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"DATABASE_URL": "postgresql+psycopg://u:p@h/d"}, "postgresql://u:p@h/d"),
        ({"DB_HOST": "h"}, "postgresql://postgres@h:5432/postgres"),
        (
            {"DB_HOST": "h", "DB_PORT": "6", "DB_USERNAME": "u", "DB_PASSWORD": "p@"},
            "postgresql://u:p%40@h:6/postgres",
        ),
    ],
)
def test_an_operators_server_is_named_by_url_or_by_parts(
    environment: dict[str, str], url: str | None
) -> None:
    assert postgres_url_from(environment) == url


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"REDIS_URL": "redis://h/3"}, "redis://h/3"),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": "p@"}, "redis://:p%40@h:6379/0"),
    ],
)
def test_an_operators_redis_is_named_by_url_or_by_parts(
    environment: dict[str, str], url: str | None
) -> None:
    assert redis_url_from(environment) == url
