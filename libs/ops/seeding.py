"""Fills a running system with tenants, goods in stock and customers, through its API."""

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from ops.credentials import SERVICES
from ops.environment import Wiring
from ops.errors import StackFailure
from ops.progress import Progress
from ops.readiness import wait_for_companies
from ops.together import together

AT_A_TIME = 16
LINES_A_RECEIPT = 250
ATTEMPTS = 10
_AGAIN = frozenset({429, 503})
_NAMES = ("Oak", "Ash", "Beech", "Pine", "Walnut"), ("table", "chair", "shelf", "bench", "stool")


@dataclass(frozen=True)
class Amount:
    """How much there is to be, over all tenants together."""

    tenants: int
    products: int
    customers: int
    stock: int

    def shares(self, total: int) -> list[int]:
        """`total`, as evenly as it goes to the tenants."""
        least, rest = divmod(total, self.tenants)
        return [least + (number < rest) for number in range(self.tenants)]


def make_tenants(wiring: Wiring, log: Path, count: int) -> dict[str, dict[str, str]]:
    """Companies for load, with a token each that ends those given out before."""
    command = [sys.executable, "-m", "gateway", "seed", str(count)]
    environment = wiring.for_migration("gateway")
    with log.open("ab") as errors:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, check=False
        )
    if done.returncode:
        raise StackFailure(f"The tenants could not be made; {log} says why.")
    return dict(json.loads(done.stdout))


async def fill(
    gateway: str,
    wiring: Wiring,
    tenants: Mapping[str, Mapping[str, str]],
    amount: Amount,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Give each tenant a warehouse, its share of products, in stock, and of customers.

    Returns:
        for each tenant its slug and token, and the ids of what was made.
    """
    ids = [tenant["id"] for tenant in tenants.values()]
    urls = {name: wiring.operator_database_url(name) for name in SERVICES}
    with progress.step("Companies"):
        await together(*(wait_for_companies(url, ids, name) for name, url in urls.items()))
    products, customers = amount.shares(amount.products), amount.shares(amount.customers)
    filled = []
    with progress.counting("Products, stock and customers") as on_percent:
        for number, (slug, tenant) in enumerate(tenants.items()):
            shares = products[number], customers[number], amount.stock
            async with _Filler(gateway, tenant["token"]) as filler:
                filled.append({"slug": slug, **await filler.fill(*shares)})
            on_percent(100 * (number + 1) // len(tenants))
    return filled


class _Filler:
    """One tenant's API."""

    def __init__(self, gateway: str, token: str) -> None:
        self._token = token
        self._client = httpx.AsyncClient(
            base_url=f"{gateway}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            trust_env=False,
        )
        self._slots = asyncio.Semaphore(AT_A_TIME)
        # Codes are unique in a tenant, and it may be filled more than once.
        self._run = secrets.token_hex(3).upper()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def fill(self, products: int, customers: int, stock: int) -> dict[str, Any]:
        warehouse = await self._create("/warehouses", {"code": self._run, "name": "Main"})
        made = await together(*(self._product(number) for number in range(products)))
        if stock:
            for start in range(0, products, LINES_A_RECEIPT):
                await self._receive(warehouse, made[start : start + LINES_A_RECEIPT], stock)
        people = await together(*(self._customer(number) for number in range(customers)))
        ids = {"warehouse": warehouse, "products": made, "customers": people}
        return {"token": self._token, **ids}

    async def _product(self, number: int) -> str:
        wood, thing = (words[number // 5**place % 5] for place, words in enumerate(_NAMES))
        price = {"currency_code": "EUR", "amount": f"{20 + number % 180}.50"}
        sku = f"{self._run}-{number:05}"
        body = {"sku": sku, "name": f"{wood} {thing} {number}", "list_price": price}
        return await self._create("/products", body)

    async def _customer(self, number: int) -> str:
        name = f"Customer {self._run} {number}"
        email = f"{self._run.lower()}-{number}@customers.example"
        return await self._create(
            "/customers", {"name": name, "email": email, "currency_code": "EUR"}
        )

    async def _receive(self, warehouse: str, products: Sequence[str], quantity: int) -> None:
        cost = {"currency_code": "EUR", "amount": "12.00"}
        lines = [
            {"product_id": product, "quantity": str(quantity), "unit_cost": cost}
            for product in products
        ]
        await self._create("/stock/receipts", {"warehouse_id": warehouse, "lines": lines})

    async def _create(self, path: str, body: dict[str, Any]) -> str:
        """The id of a new record. A repetition after an answer that got lost makes no second."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        async with self._slots:
            for attempt in range(1, ATTEMPTS + 1):
                answer = await self._client.post(path, json=body, headers=headers)
                if answer.is_success:
                    return str(answer.json()["id"])
                if answer.status_code not in _AGAIN or attempt == ATTEMPTS:
                    break
                await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))
        raise StackFailure(f"POST /api/v1{path} answered {answer.status_code}: {answer.text}")
