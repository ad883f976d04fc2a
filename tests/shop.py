"""The running system as an outsider sees it, and a shop that uses it as a customer would."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from ops.background import BackgroundStack

PATIENCE_SECONDS = 30


async def back(stack: BackgroundStack, name: str, gone: list[int]) -> None:
    """Return when other processes of that name run."""

    async def others() -> bool:
        pids = stack.pids(name)
        return bool(pids) and not set(pids) & set(gone)

    await eventually(others, f"{name} is back")


async def eventually(
    condition: Callable[[], Awaitable[Any]], what: str, seconds: float = PATIENCE_SECONDS
) -> Any:
    """The first truthy outcome of a condition, asked again until then."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if outcome := await condition():
                    return outcome
            except (httpx.TransportError, OSError):
                pass
            await asyncio.sleep(0.05)
    raise AssertionError(what)


class Shop:
    """One tenant's REST API, and the records that most tests begin with."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, **query: Any) -> Any:
        """The body of a successful GET."""
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any, wait: int = 0) -> Any:
        """The body of a successful POST; with `wait`, once its follow-ups are done."""
        answer = await self.try_post(path, body, wait)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def try_post(self, path: str, body: Any, wait: int = 0) -> httpx.Response:
        """The answer to a POST, whatever it is."""
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        return await self.client.post(path, json=body, headers=headers)

    async def customer(self) -> str:
        """A customer's id."""
        body = {"name": "Blue Door Ltd", "email": "buy@bluedoor.example", "currency_code": "EUR"}
        return str((await self.post("/customers", body))["id"])

    async def warehouse(self) -> str:
        """A warehouse's id."""
        body = {"code": f"W-{secrets.token_hex(4)}", "name": "Main warehouse"}
        return str((await self.post("/warehouses", body))["id"])

    async def product(self, warehouse: str = "", stock: int = 0, price: str = "120.00") -> str:
        """A product's id, with so much of it in stock at 70.00 each."""
        body = {"sku": f"P-{secrets.token_hex(4)}", "name": "Oak table", "list_price": eur(price)}
        product = str((await self.post("/products", body))["id"])
        if stock:
            await self.receive(warehouse, product, stock)
        return product

    async def receive(self, warehouse: str, product: str, quantity: int) -> Any:
        """A receipt of goods at 70.00 each."""
        line = {"product_id": product, "quantity": str(quantity), "unit_cost": eur("70.00")}
        return await self.post("/stock/receipts", {"warehouse_id": warehouse, "lines": [line]})

    async def level(self, warehouse: str, product: str) -> tuple[str, str, str]:
        """On hand, reserved, available."""
        query = {"product_id": product, "warehouse_id": warehouse}
        level = (await self.get("/stock/levels", **query))["stock_levels"][0]
        return level["on_hand"], level["reserved"], level["available"]

    def order_body(self, customer: str, warehouse: str, *lines: tuple[str, int]) -> dict[str, Any]:
        """A new order."""
        items = [{"product_id": product, "quantity": str(quantity)} for product, quantity in lines]
        return {"customer_id": customer, "warehouse_id": warehouse, "lines": items}

    async def confirmed(self, body: dict[str, Any], wait: int = 20) -> Any:
        """An order that was created and confirmed in one call."""
        return await self.post("/orders", {**body, "confirm": True}, wait)

    async def settled(self, order: str) -> Any:
        """The order once no other service has work left for it."""

        async def done() -> Any:
            found = await self.get(f"/orders/{order}")
            return found if not found["awaiting"] else None

        return await eventually(done, f"order {order} is settled")

    async def violations(self) -> Any:
        """What the invariants check finds."""
        return (await self.post("/audit/invariants:check", {}))["violations"]


def eur(amount: str) -> dict[str, str]:
    """An amount in euros."""
    return {"currency_code": "EUR", "amount": amount}


def client_of(stack: BackgroundStack, tenant: str) -> httpx.AsyncClient:
    state = stack.state
    # No TLS here: to read the certificates of all authorities would take 20 ms each time.
    return httpx.AsyncClient(
        verify=False,
        base_url=f"{state['gateway']}/api/v1",
        headers={"Authorization": f"Bearer {state['tenants'][tenant]['token']}"},
        timeout=60,
        limits=httpx.Limits(max_connections=200),
        trust_env=False,
    )
