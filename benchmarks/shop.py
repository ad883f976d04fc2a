"""The records that orders need, made over REST."""

import secrets
from dataclasses import dataclass
from typing import Any

from benchmarks.http_client import Connection
from ops.background import BackgroundStack

PLENTY = "100000000"


@dataclass(frozen=True)
class Shop:
    """A customer, a warehouse, and products with more stock than a run can sell."""

    customer: str
    warehouse: str
    products: list[str]

    def order(self, first: int, lines: int = 3) -> dict[str, Any]:
        """An order of one unit each of neighbouring products."""
        chosen = [self.products[(first + n) % len(self.products)] for n in range(lines)]
        items = [{"product_id": product, "quantity": "1"} for product in chosen]
        return {"customer_id": self.customer, "warehouse_id": self.warehouse, "lines": items}


async def connect(stack: BackgroundStack) -> Connection:
    """A connection as the tenant acme."""
    state = stack.state
    return await Connection.open(state["gateway"], state["tenants"]["acme"]["token"])


async def open_shop(stack: BackgroundStack, products: int = 100) -> Shop:
    """A shop of its own in the tenant acme."""
    connection = await connect(stack)
    customer = await _made(connection, "/customers", {"name": "Blue Door Ltd"})
    warehouse = await _made(
        connection, "/warehouses", {"code": f"W-{secrets.token_hex(4)}", "name": "Main"}
    )
    price = {"currency_code": "EUR", "amount": "120.00"}
    body = {"name": "Oak table", "list_price": price}
    ids = [
        await _made(connection, "/products", {**body, "sku": f"P-{secrets.token_hex(6)}"})
        for _ in range(products)
    ]
    cost = {"currency_code": "EUR", "amount": "0.01"}
    lines = [{"product_id": product, "quantity": PLENTY, "unit_cost": cost} for product in ids]
    await _made(connection, "/stock/receipts", {"warehouse_id": warehouse, "lines": lines})
    return Shop(customer, warehouse, ids)


async def _made(connection: Connection, path: str, body: dict[str, Any]) -> str:
    status, answer = await connection.post(f"/api/v1{path}", body)
    assert status == 201, answer
    return str(answer["id"])
