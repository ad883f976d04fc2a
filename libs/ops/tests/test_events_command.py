"""Operators see where listeners are, and send them back."""

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner

from common.testing import ServiceDatabase, TestServers
from ops.credentials import DATABASES
from ops.main import app
from ops.migrations import pending


@pytest.fixture(scope="module")
def databases(servers: TestServers) -> dict[str, ServiceDatabase]:
    return {service: servers.database(service) for service in DATABASES}


class Positions:
    """Accounting listens to sales, for one tenant."""

    def __init__(self, servers: TestServers, tenant: UUID) -> None:
        self.url, self.tenant = servers.postgres.superuser_url, tenant

    def set(self, databases: dict[str, ServiceDatabase], *, head: int, position: int) -> None:
        with psycopg.connect(databases["sales"].operator) as sales:
            sales.execute("INSERT INTO event_heads VALUES (%s, %s)", [self.tenant, head])
            # Every second one is nothing to accounting.
            kinds = "CASE mod(number, 2) WHEN 0 THEN 'OrderConfirmed' ELSE 'CustomerCreated' END"
            sales.execute(
                "INSERT INTO events (tenant_id, sequence, id, type, subject, data)"
                f" SELECT %s, number, uuidv7(), 'erp.sales.v1.' || {kinds}, '', ''"
                " FROM generate_series(1, %s) AS number",
                [self.tenant, head],
            )
        with psycopg.connect(databases["accounting"].operator) as accounting:
            row = [self.tenant, "high", "sales", position]
            accounting.execute("INSERT INTO subscriptions VALUES (%s, %s, %s, %s)", row)

    def run(self, *arguments: str) -> tuple[int, Any]:
        """The exit code, and what concerns this tenant."""
        done = CliRunner().invoke(app, ["events", *arguments, "--url", self.url, "--json"])
        if not done.stdout:
            return done.exit_code, done.stderr
        rows = json.loads(done.stdout)
        return done.exit_code, [row for row in rows if row["tenant"] == str(self.tenant)]


@pytest.fixture
def positions(servers: TestServers, tenant: UUID) -> Positions:
    positions = Positions(servers, tenant)
    # Whatever other tests have left ahead of its source would be an error here.
    positions.run("realign", "--yes")
    return positions


def test_a_listener_that_is_behind_is_shown_with_how_much(
    positions: Positions, databases: dict[str, ServiceDatabase]
) -> None:
    positions.set(databases, head=9, position=4)

    code, (row,) = positions.run("lag")

    assert (code, row["service"], row["behind"], row["state"]) == (0, "accounting", 2, "behind")


def test_a_listener_after_whose_position_nothing_is_for_it_is_up_to_date(
    positions: Positions, databases: dict[str, ServiceDatabase]
) -> None:
    positions.set(databases, head=9, position=8)

    assert positions.run("lag") == (0, [])


def test_a_listener_ahead_of_a_restored_source_is_an_error_until_it_is_realigned(
    positions: Positions, databases: dict[str, ServiceDatabase]
) -> None:
    positions.set(databases, head=3, position=9)

    code, (row,) = positions.run("lag")
    assert (code, row["state"]) == (1, "ahead")
    _, (moved,) = positions.run("realign", "--yes")

    assert moved["moved_to"] == 3
    code, (row,) = positions.run("lag", "--all")
    assert (code, row["position"], row["state"]) == (0, 3, "up to date")


def test_a_replay_goes_back_and_never_forward(
    positions: Positions, databases: dict[str, ServiceDatabase], servers: TestServers
) -> None:
    positions.set(databases, head=9, position=9)
    where = ["--service=accounting", "--source=sales", f"--tenant={positions.tenant}"]

    refused, why = positions.run("replay", *where, "--after=9", "--yes")
    unasked, _ = positions.run("replay", *where, "--after=2")
    code, (row,) = positions.run("replay", *where, "--after=2", "--yes")

    assert (refused, unasked, code, row["moved_to"]) == (1, 1, 0, 2)
    assert "events would be left out" in " ".join(why.split())
    assert f"tenant {positions.tenant} from 9 to 2" in servers.postgres.log.read_text()


def test_nothing_is_pending_on_a_migrated_database(
    databases: dict[str, ServiceDatabase],
) -> None:
    assert pending("sales", databases["sales"].owner) == []
