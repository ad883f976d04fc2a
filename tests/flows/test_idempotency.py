"""Every command may be sent again under its key: it has effect once and keeps its first answer."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from shop import Shop, back, client_of, eur, eventually

from ops.background import BackgroundStack

pytestmark = pytest.mark.first

TWINS = 100


def key() -> str:
    return secrets.token_hex(8)


class Twice:
    """A client that sends each command twice under one key and compares the answers."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, method: str, path: str, body: Any, **headers: str) -> Any:
        name = {"Idempotency-Key": key(), **headers}
        first = await self._client.request(method, path, json=body, headers=name)
        again = await self._client.request(method, path, json=body, headers=name)
        assert first.is_success, first.text
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true", f"{method} {path}"
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        return first.json()

    async def post(self, path: str, body: Any, **headers: str) -> Any:
        return await self.send("POST", path, body, **headers)


@pytest.fixture
async def twice(stack: BackgroundStack) -> AsyncIterator[Twice]:
    async with client_of(stack, "acme") as client:
        yield Twice(client)


async def test_a_whole_flow_may_be_replayed_command_by_command(acme: Shop, twice: Twice) -> None:
    customer = await twice.post("/customers", {"name": "Blue Door", "currency_code": "EUR"})
    patch = {"name": "Red Door", "version": customer["version"]}
    assert (await twice.send("PATCH", f"/customers/{customer['id']}", patch))["version"] == 2
    warehouse = await twice.post("/warehouses", {"code": key(), "name": "Main"})
    new = {"sku": key(), "name": "Oak table", "list_price": eur("120.00")}
    product = await twice.post("/products", new)
    line = {"product_id": product["id"], "quantity": "10", "unit_cost": eur("70.00")}
    place = {"warehouse_id": warehouse["id"]}
    await twice.post("/stock/receipts", {**place, "lines": [line]})
    loss = {"product_id": product["id"], "quantity": "-1"}
    await twice.post("/stock/adjustments", {**place, "reason": "damage", "lines": [loss]})
    held = {"product_id": product["id"], "quantity": "2"}
    reservation = await twice.post("/reservations", {**place, "lines": [held]})
    await twice.post(f"/reservations/{reservation['id']}:release", {})
    body = acme.order_body(customer["id"], warehouse["id"], (product["id"], 3))
    order = await twice.post("/orders", body)
    confirmed = await twice.post(f"/orders/{order['id']}:confirm", {}, Prefer="wait=20")
    await twice.post(f"/orders/{order['id']}:ship", {}, Prefer="wait=20")
    due = (await acme.get(f"/invoices/{confirmed['invoice_id']}"))["amount_due"]
    paid = {"customer_id": customer["id"], "amount": due, "method": "bank_transfer"}
    payment = await twice.post("/payments", paid)
    share = {"invoice_id": confirmed["invoice_id"], "amount": due}
    await twice.post(f"/payments/{payment['id']}:allocate", {"allocations": [share]})
    await twice.post(f"/payments/{payment['id']}:void", {"reason": "bounced"})
    other = await twice.post("/orders", {**body, "confirm": True}, Prefer="wait=20")
    await twice.post(f"/orders/{other['id']}:cancel", {"reason": "changed mind"})
    await acme.settled(other["id"])

    assert await acme.level(warehouse["id"], product["id"]) == ("6", "0", "6")
    assert len((await acme.get("/orders", customer_id=customer["id"]))["orders"]) == 2
    assert await acme.violations() == []


@pytest.mark.parametrize("atomic", [False, True])
async def test_a_batch_may_be_replayed(acme: Shop, twice: Twice, atomic: bool) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, 10)
    order = acme.order_body(customer, warehouse, (product, 1))
    orders = [order, {**order, "confirm": True}]

    await twice.post("/orders:batchCreate", {"orders": orders, "atomic": atomic})

    assert len((await acme.get("/orders", customer_id=customer))["orders"]) == 2


async def test_what_a_broken_batch_has_made_is_not_made_again(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    order = acme.order_body(customer, warehouse, (await acme.product(warehouse, 10), 1))
    body, name = {"orders": [order] * 20}, {"Idempotency-Key": key()}

    for _ in range(3):
        await asyncio.gather(
            *(acme.client.post("/orders:batchCreate", json=body, headers=name) for _ in range(5))
        )

    assert len((await acme.get("/orders", customer_id=customer))["orders"]) == 20


async def test_a_hundred_parallel_twins_make_one_order(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, TWINS)
    body = {**acme.order_body(customer, warehouse, (product, 1)), "confirm": True}
    name = {"Idempotency-Key": key()}

    answers = await asyncio.gather(
        *(acme.client.post("/orders", json=body, headers=name) for _ in range(TWINS))
    )

    made = [answer for answer in answers if answer.status_code == 201]
    others = [answer for answer in answers if answer.status_code != 201]
    assert made
    assert len({answer.json()["id"] for answer in made}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in made) == 1
    assert {answer.json()["reason"] for answer in others} <= {"IDEMPOTENCY_KEY_IN_PROGRESS"}
    assert all(answer.headers["retry-after"] == "1" for answer in others)
    await acme.settled(made[0].json()["id"])
    assert (await acme.level(warehouse, product))[1] == "1"


async def test_a_key_with_another_body_is_422_and_changes_nothing(acme: Shop) -> None:
    name = {"Idempotency-Key": key()}
    body = {"name": "Blue Door", "email": f"{key()}@bluedoor.example", "currency_code": "EUR"}
    await acme.client.post("/customers", json=body, headers=name)

    refused = await acme.client.post("/customers", json={**body, "name": "Red"}, headers=name)

    assert (refused.status_code, refused.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len((await acme.get("/customers", email=body["email"]))["customers"]) == 1


async def test_a_command_that_was_refused_may_be_repeated_once_it_can_succeed(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, 0)
    body = acme.order_body(customer, warehouse, (product, 1))
    body |= {"confirm": True, "backorder": "forbid"}
    name = {"Idempotency-Key": key()}
    refused = await acme.client.post("/orders", json=body, headers=name)

    await acme.receive(warehouse, product, 1)
    made = await acme.client.post("/orders", json=body, headers=name)
    again = await acme.client.post("/orders", json=body, headers=name)

    assert refused.json()["reason"] == "INSUFFICIENT_STOCK"
    assert (made.status_code, again.json()["id"]) == (201, made.json()["id"])


async def test_keys_of_another_tenant_and_another_route_are_other_keys(
    acme: Shop, globex: Shop
) -> None:
    name, body = {"Idempotency-Key": key()}, {"name": "Blue Door", "currency_code": "EUR"}

    answers = [
        await acme.client.post("/customers", json=body, headers=name),
        await globex.client.post("/customers", json=body, headers=name),
        await acme.client.post("/warehouses", json={"code": key(), "name": "W"}, headers=name),
    ]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert all("idempotent-replayed" not in answer.headers for answer in answers)


async def test_a_secret_is_shown_again_and_stored_nowhere_as_it_is(
    stack: BackgroundStack, twice: Twice
) -> None:
    made = await twice.post("/api-tokens", {"name": key(), "permissions": ["sales.*"]})

    assert made["token"].startswith("kv_")


async def test_killed_at_any_moment_the_retry_gets_the_first_answer(
    stack: BackgroundStack, acme: Shop
) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, 1000)
    body = {**acme.order_body(customer, warehouse, (product, 1)), "confirm": True}
    acknowledged: dict[str, str] = {}

    async def until_made(name: str) -> None:
        async def made() -> bool:
            headers = {"Idempotency-Key": name}
            answer = await acme.client.post("/orders", json=body, headers=headers)
            if answer.status_code == 201:
                acknowledged[name] = answer.json()["id"]
            else:
                assert answer.status_code in (409, 503), answer.text
            return answer.status_code == 201

        await eventually(made, f"the order {name} is made")

    names = [key() for _ in range(100)]
    making = asyncio.gather(*map(until_made, names))
    await eventually(lambda: _at_least(acknowledged, 20), "some orders are made")
    gone = stack.kill("sales")
    await making
    await back(stack, "sales", gone)

    replayed = await asyncio.gather(
        *(
            acme.client.post("/orders", json=body, headers={"Idempotency-Key": name})
            for name in names
        )
    )
    assert [answer.json()["id"] for answer in replayed] == [acknowledged[name] for name in names]
    assert len(set(acknowledged.values())) == len(names)
    orders = (await acme.get("/orders", customer_id=customer, page_size=200))["orders"]
    assert {order["id"] for order in orders} == set(acknowledged.values())


async def _at_least(acknowledged: dict[str, str], count: int) -> bool:
    return len(acknowledged) >= count
