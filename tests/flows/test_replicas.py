"""A client reads its own writes, whatever its replica lacks; others are served by the replica."""

import base64
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from shop import Shop, client_of, eur, eventually

from ops.background import BackgroundStack, running

pytestmark = pytest.mark.first

REPLICA = "postgres-replica-1"


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory, began: Path) -> Iterator[BackgroundStack]:
    """A system of its own with one replica."""
    directory = tmp_path_factory.mktemp("replicated") / "dev"
    with running(directory, options=["--replicas=1"], like=began) as stack:
        yield stack


@pytest.fixture
async def shop(replicated: BackgroundStack) -> AsyncIterator[Shop]:
    """The tenant acme in it."""
    async with client_of(replicated, "acme") as client:
        yield Shop(client)


@contextmanager
def late(stack: BackgroundStack) -> Iterator[None]:
    """Let the replica show nothing new."""
    with psycopg.connect(stack.state["replicas"][REPLICA], autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state()"
        while connection.execute(state).fetchone() != ("paused",):
            time.sleep(0.01)
        yield
        connection.execute("SELECT pg_wal_replay_resume()")


async def new_customer(shop: Shop) -> str:
    """The address of a new customer, by which it is found: single records come from the cache."""
    email = f"{secrets.token_hex(8)}@bluedoor.example"
    await shop.post("/customers", {"name": "Blue Door", "email": email, "currency_code": "EUR"})
    return email


async def found(shop: Shop, email: str, token: str = "") -> dict[str, Any]:
    query = {"email": email}
    answer = await shop.client.get("/customers", params=query, headers=with_token(token))
    assert answer.status_code == 200, answer.text
    (customer,) = answer.json()["customers"] or [{"name": ""}]
    return dict(customer)


async def name_of(shop: Shop, email: str, token: str = "") -> str:
    return str((await found(shop, email, token))["name"])


async def rename(shop: Shop, customer: str, name: str, token: str) -> str:
    """Change a customer's name; the token of the answer."""
    known = await found(shop, customer, token)
    path, body = f"/customers/{known['id']}", {"name": name, "version": known["version"]}
    answer = await shop.client.patch(path, json=body, headers=with_token(token))
    assert answer.status_code == 200, answer.text
    return answer.headers["consistency-token"]


def with_token(token: str) -> dict[str, str]:
    return {"consistency-token": token} if token else {}


def positions(token: str) -> dict[str, int]:
    text = base64.urlsafe_b64decode(token + "==").decode()
    return {part.split("=")[0]: int(part.split("=")[1], 16) for part in text.split(",")}


async def until_the_replica_serves(stack: BackgroundStack, shop: Shop, customer: str) -> None:
    """Return when sales has had a read answered by its replica."""
    before = await served(stack)

    async def grown() -> bool:
        await name_of(shop, customer)
        return await served(stack) > before

    await eventually(grown, "the replica serves")


async def served(stack: BackgroundStack) -> float:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        metrics = (await client.get(stack.state["metrics"]["sales"])).text
    start = 'kv_erp_replica_reads_total{outcome="served"} '
    lines = [line for line in metrics.splitlines() if line.startswith(start)]
    return sum(float(line.removeprefix(start)) for line in lines)


async def test_the_writer_reads_its_write_and_others_the_replica(
    replicated: BackgroundStack, shop: Shop
) -> None:
    customer = await new_customer(shop)
    await until_the_replica_serves(replicated, shop, customer)
    await eventually(lambda: has_name(shop, customer, "Blue Door"), "the replica has it")
    token = await rename(shop, customer, "Before", "")
    await eventually(lambda: has_name(shop, customer, "Before"), "the replica has it")

    with late(replicated):
        token = await rename(shop, customer, "After", token)

        assert await name_of(shop, customer, token) == "After"
        assert await name_of(shop, customer) == "Before"
        created = await shop.post("/customers", {"name": "New", "currency_code": "EUR"})
        assert (await shop.get(f"/customers/{created['id']}"))["name"] == "New"

    await eventually(lambda: has_name(shop, customer, "After"), "the replica has caught up")


async def has_name(shop: Shop, customer: str, name: str) -> bool:
    return await name_of(shop, customer) == name


async def test_one_token_grows_with_every_service_that_a_client_writes_to(
    replicated: BackgroundStack, shop: Shop
) -> None:
    customer, warehouse = await shop.customer(), await shop.warehouse()
    product = await shop.product(warehouse, stock=2)
    body = {**shop.order_body(customer, warehouse, (product, 1)), "confirm": True}
    first = await shop.client.post(
        "/products", json={"sku": "T-1", "name": "x", "list_price": eur("1.00")}
    )

    token = first.headers["consistency-token"]
    answer = await shop.client.post("/orders", json=body, headers=with_token(token))

    assert positions(token).keys() == {"inventory"}
    grown = positions(answer.headers["consistency-token"])
    assert {"inventory", "sales"} <= grown.keys()
    assert grown["inventory"] >= positions(token)["inventory"]


async def test_a_token_that_nobody_gave_out_is_refused_and_one_of_the_future_harmless(
    replicated: BackgroundStack, shop: Shop
) -> None:
    customer = await new_customer(shop)
    future = base64.urlsafe_b64encode(b"sales=ffffffffffffffff").decode().rstrip("=")
    elsewhere = base64.urlsafe_b64encode(b"payroll=1").decode().rstrip("=")

    answer = await shop.client.get("/customers", headers=with_token("made up"))

    assert answer.status_code == 400
    assert "Consistency-Token" in answer.json()["detail"]
    assert await name_of(shop, customer, future) == "Blue Door"
    assert await name_of(shop, customer, elsewhere) == "Blue Door"


async def test_reads_go_on_while_the_replica_is_dead_and_return_to_it(
    replicated: BackgroundStack, shop: Shop
) -> None:
    customer = await new_customer(shop)
    await until_the_replica_serves(replicated, shop, customer)

    replicated.kill(REPLICA)

    assert {await name_of(shop, customer) for _ in range(50)} == {"Blue Door"}
    await until_the_replica_serves(replicated, shop, customer)
