"""The main flows with PgBouncer between every process and PostgreSQL, in transaction mode."""

import asyncio
import os
import re
from collections.abc import Iterator

import pgbouncers
import psycopg
import pytest
from shop import Shop, client_of, eur

from ops.background import BackgroundStack, running
from ops.credentials import DATABASES, ROLE_KINDS, Credentials
from ops.databases import prepare_databases
from ops.postgres import UNSYNCED, EmbeddedPostgres

pytestmark = pytest.mark.first

# So few that connections change hands between tenants all the time.
POOL_SIZE = 3


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    """The whole system, migrations included, behind PgBouncer."""
    pgbouncers.binary()
    folder = tmp_path_factory.mktemp("pgbouncer")
    dev = tmp_path_factory.mktemp("pooled") / "dev"
    dev.mkdir()
    with EmbeddedPostgres(folder.parent / "pooled-postgres", settings=UNSYNCED) as postgres:
        credentials = Credentials(dev / "secrets.json")
        prepare_databases(postgres.superuser_url, credentials)
        roles = [f"{name}_{kind}" for name in DATABASES for kind in ROLE_KINDS]
        passwords = {role: credentials.role_password(role) for role in roles}
        with pgbouncers.running(folder, postgres, passwords, POOL_SIZE) as port:
            url = f"postgresql://postgres:{postgres.password}@127.0.0.1:{port}/postgres"
            environment = os.environ | {
                "DATABASE_URL": url,
                "KV_ERP_PREPARED_STATEMENTS": "0",
            }
            with running(dev, environment) as stack:
                yield stack


async def test_orders_of_two_tenants_go_to_the_ledger_over_shared_connections(
    pooled: BackgroundStack,
) -> None:
    async with client_of(pooled, "acme") as acme, client_of(pooled, "globex") as globex:
        shops = [Shop(acme), Shop(globex)]

        orders = await asyncio.gather(*(sell(shop) for shop in shops for _ in range(4)))

        for number, shop in enumerate(shops):
            mine = orders[number * 4 : number * 4 + 4]
            listed = (await shop.get("/orders", page_size=100))["orders"]
            assert {order["id"] for order in listed} == set(mine)
            assert await shop.violations() == []


async def sell(shop: Shop) -> str:
    """One order from the customer to the payment; its id."""
    customer, warehouse = await shop.customer(), await shop.warehouse()
    product = await shop.product(warehouse, stock=5)
    body = shop.order_body(customer, warehouse, (product, 3))
    order = await shop.post("/orders", {**body, "confirm": True}, 30)
    assert order["invoice_state"] == "posted"
    shipped = await shop.post(f"/orders/{order['id']}:ship", {}, 30)
    assert shipped["shipment_state"] == "shipped"
    payment = {
        "customer_id": customer,
        "amount": eur("428.40"),
        "method": "bank_transfer",
        "allocations": [{"invoice_id": order["invoice_id"], "amount": eur("428.40")}],
    }
    await shop.post("/payments", payment)
    return str(order["id"])


def test_every_process_went_through_it(pooled: BackgroundStack) -> None:
    url = pooled.state["databases"]["sales"]
    with psycopg.connect(url) as connection:
        (clients,) = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sales_app'"
        ).fetchone() or (0,)

    # The server and its worker may open eight each; PgBouncer lets through what its pool holds.
    assert 0 < clients <= POOL_SIZE + 5


def test_its_sizes_are_the_references_and_every_service_has_a_database() -> None:
    text = pgbouncers.CONFIGURATION.read_text()
    said = dict(re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE))

    assert {name: said[name].rsplit("dbname=", 1)[-1] for name in DATABASES} == {
        name: name for name in DATABASES
    }
    assert said["pool_mode"] == "transaction"
    assert said["auth_type"] == "scram-sha-256"
    assert (said["max_client_conn"], said["default_pool_size"]) == ("1000", "25")
    assert (said["reserve_pool_size"], said["reserve_pool_timeout"]) == ("5", "3")
