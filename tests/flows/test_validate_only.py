"""Commands tried with validate_only: the whole answer over all services, and no effect in any."""

import secrets
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from shop import Shop, eur, eventually

from ops.background import BackgroundStack

TRY = {"validate_only": "true"}
TABLES = """
    SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition AND a.attname = 'tenant_id'
"""


def everything(stack: BackgroundStack) -> dict[str, list[Any]]:
    """All that is stored of acme, in all services, but for what workers do by themselves."""
    tenant = stack.state["tenants"]["acme"]["id"]
    found: dict[str, list[Any]] = {}
    for service in ("inventory", "accounting", "sales", "gateway"):
        with psycopg.connect(stack.state["databases"][service]) as connection:
            for (table,) in connection.execute(TABLES).fetchall():
                if table in ("subscriptions", "idempotency_keys", "audit_seals"):
                    continue
                query = f"SELECT t::text FROM {table} t WHERE tenant_id = %s ORDER BY 1"
                rows = connection.execute(query.encode(), [tenant]).fetchall()
                found[f"{service}.{table}"] = rows
    return found


@dataclass
class Trial:
    """A company with a customer and five tables in stock, watched for any change."""

    shop: Shop
    stack: BackgroundStack
    customer: str
    warehouse: str
    product: str

    async def draft(self, quantity: int, **fields: Any) -> Any:
        return await self.shop.post("/orders", self.body(quantity, **fields))

    def body(self, quantity: int, **fields: Any) -> dict[str, Any]:
        line = (self.product, quantity)
        return self.shop.order_body(self.customer, self.warehouse, line) | fields

    async def tried(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer to a command that is only tried, and that has changed nothing."""
        before = everything(self.stack)
        answer = await self.shop.client.request(
            method, path, params=TRY, json=body, headers=headers
        )
        assert everything(self.stack) == before
        return answer


@pytest.fixture
async def trial(acme: Shop, stack: BackgroundStack) -> Trial:
    customer, warehouse, product = (
        await acme.customer(),
        await acme.warehouse(),
        await acme.product(),
    )
    receipt = await acme.receive(warehouse, product, 5)

    async def posted() -> Any:
        """Until then workers have something left to do."""
        return (await acme.get("/journal-entries", source_id=receipt["id"]))["journal_entries"]

    await eventually(posted, "the receipt is in the books")
    return Trial(acme, stack, customer, warehouse, product)


async def test_confirming_shows_its_plan_over_all_services(trial: Trial) -> None:
    order = await trial.draft(3)

    answer = await trial.tried("POST", f"/orders/{order['id']}:confirm", {"version": 1})

    tried = answer.json()
    assert (answer.status_code, answer.headers["Validate-Only"]) == (200, "true")
    assert "ETag" not in answer.headers
    assert (tried["state"], tried["number"][:3], tried["version"]) == ("confirmed", "SO-", 2)
    plan = tried["plan"]
    assert plan["reservation"]["state"] == "held"
    assert plan["invoice"]["gross"] == tried["gross"] == eur("428.40")
    assert plan["invoice"]["lines"][0]["tax_rate"] == "0.19"
    lines = {line["account_code"]: line for line in plan["journal_entry"]["lines"]}
    assert lines["1200"]["debit"]["amount"] == "428.40"
    assert (lines["4000"]["credit"]["amount"], lines["2200"]["credit"]["amount"]) == (
        "360.00",
        "68.40",
    )
    again = await trial.shop.get(f"/orders/{order['id']}")
    assert again == order
    assert "plan" not in again


async def test_what_was_tried_is_what_happens(trial: Trial) -> None:
    order = await trial.draft(3)
    path = f"/orders/{order['id']}:confirm"
    tried = (await trial.tried("POST", path, {})).json()

    done = await trial.shop.post(path, {}, 20)

    assert done["number"] == tried["number"]
    invoice = await trial.shop.get(f"/invoices/{done['invoice_id']}")
    assert invoice["number"] == tried["plan"]["invoice"]["number"]
    assert invoice["lines"] == tried["plan"]["invoice"]["lines"]


async def test_goods_that_are_missing_show_as_a_shortage_or_refuse(trial: Trial) -> None:
    waits = await trial.tried("POST", "/orders", trial.body(8, confirm=True))
    refuses = await trial.tried("POST", "/orders", trial.body(8, confirm=True, backorder="forbid"))
    fits = await trial.tried("POST", "/orders", trial.body(5, confirm=True, backorder="forbid"))

    assert waits.status_code == 201
    reservation = waits.json()["plan"]["reservation"]
    assert (reservation["state"], reservation["lines"][0]["shortage"]) == ("backordered", "3")
    assert (refuses.status_code, refuses.json()["reason"]) == (409, "INSUFFICIENT_STOCK")
    assert refuses.json()["available"] == "5"
    assert (fits.status_code, fits.json()["plan"]["reservation"]["state"]) == (201, "held")


async def test_every_kind_of_command_can_be_tried(trial: Trial) -> None:
    order = await trial.draft(1)
    product = await trial.shop.get(f"/products/{trial.product}")
    line = {"product_id": trial.product, "quantity": "1", "unit_cost": eur("1.00")}
    place = {"warehouse_id": trial.warehouse}
    adjusted = {"product_id": trial.product, "quantity": "-1"}
    held = {"product_id": trial.product, "quantity": "2"}
    token = await trial.shop.post("/api-tokens", {"name": "x", "permissions": ["sales.*"]})
    commands = [
        ("POST", "/customers", {"name": "Red Door Ltd"}, 201),
        ("PATCH", f"/customers/{trial.customer}", {"version": 1, "name": "Green"}, 200),
        ("POST", "/products", {"sku": "TRIED", "name": "x", "list_price": eur("1.00")}, 201),
        ("PATCH", f"/products/{trial.product}", {"version": 1, "name": "Elm table"}, 200),
        ("PATCH", f"/products/{trial.product}", {"version": 7, "name": "Elm table"}, 409),
        ("POST", f"/products/{trial.product}:archive", {}, 200),
        ("POST", "/products", {"sku": product["sku"], "name": "x", "list_price": eur("1")}, 409),
        ("POST", "/warehouses", {"code": "TRIED", "name": "x"}, 201),
        ("POST", "/stock/receipts", place | {"lines": [line]}, 201),
        ("POST", "/stock/adjustments", place | {"reason": "x", "lines": [adjusted]}, 201),
        ("POST", "/reservations", place | {"lines": [held]}, 201),
        ("POST", "/orders", trial.body(1), 201),
        ("POST", "/orders:batchCreate", {"orders": [trial.body(1, confirm=True)] * 2}, 200),
        ("POST", f"/orders/{order['id']}:cancel", {}, 200),
        ("POST", "/orders", trial.body(1) | {"customer_id": trial.product}, 404),
        ("POST", "/tax-rates", {"code": "tried", "name": "x", "rate": "0.1"}, 201),
        ("POST", "/api-tokens", {"name": "tried", "permissions": ["sales.*"]}, 201),
        ("DELETE", f"/api-tokens/{token['id']}", None, 204),
        ("POST", "/customers", {"nom": "Red Door Ltd"}, 400),
    ]

    for method, path, body, status in commands:
        answer = await trial.tried(method, path, body, Prefer="wait=5")
        assert answer.status_code == status, (path, answer.text)
        assert ("Validate-Only" in answer.headers) == (status < 400), path
        assert "Consistency-Token" not in answer.headers


async def test_a_key_is_free_after_a_trial(trial: Trial) -> None:
    body, key = {"name": "Red Door Ltd"}, secrets.token_hex()

    await trial.tried("POST", "/customers", body, **{"Idempotency-Key": key})
    answer = await trial.shop.client.post(
        "/customers", json=body | {"name": "Other"}, headers={"Idempotency-Key": key}
    )

    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers


@pytest.mark.parametrize(
    "query", ["validate_only=yes", "validate_only", "validate_only=true&validate_only=true"]
)
async def test_what_is_neither_true_nor_false_is_refused(acme: Shop, query: str) -> None:
    answer = await acme.client.post(f"/customers?{query}", json={"name": "Red Door Ltd"})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/validate_only"
