"""A hundred requests at once, and what became of each."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any

import httpx
from shop import Shop, eur

AT_ONCE = 100
Outcomes = Counter[str]


async def at_once(requests: Iterable[Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """The answers to requests that are sent together."""
    return list(await asyncio.gather(*requests))


def outcome_of(answer: httpx.Response) -> str:
    """OK, or the reason for which a rule of the business refused it; anything else is a failure."""
    if answer.is_success:
        return "OK"
    assert answer.status_code == 409, answer.text
    return str(answer.json()["reason"])


def outcomes_of(answers: Iterable[httpx.Response]) -> Outcomes:
    """How often what happened."""
    return Counter(map(outcome_of, answers))


async def race(shop: Shop, path: str, body: Any, times: int = AT_ONCE) -> Outcomes:
    """What becomes of one request that is sent many times at once."""
    return outcomes_of(await at_once(shop.try_post(path, body) for _ in range(times)))


class Goods:
    """A customer, a warehouse, and a product of which so much is there."""

    def __init__(self, shop: Shop, customer: str, warehouse: str, product: str) -> None:
        self.shop = shop
        self.customer, self.warehouse, self.product = customer, warehouse, product

    @classmethod
    async def of(cls, shop: Shop, stock: int) -> "Goods":
        customer, warehouse = await shop.customer(), await shop.warehouse()
        return cls(shop, customer, warehouse, await shop.product(warehouse, stock=stock))

    def lines(self, quantity: int) -> list[dict[str, str]]:
        """So many units."""
        return [{"product_id": self.product, "quantity": str(quantity)}]

    def order(self, quantity: int, **more: Any) -> dict[str, Any]:
        """An order to create and confirm in one call."""
        line = (self.product, quantity)
        body = self.shop.order_body(self.customer, self.warehouse, line)
        return {**body, "confirm": True, **more}

    async def ordered(self, quantity: int) -> Any:
        """An order that is confirmed, reserved and invoiced."""
        return await self.shop.post("/orders", self.order(quantity), wait=20)

    async def reserved(self, quantity: int, **more: Any) -> Any:
        """A reservation by hand."""
        return await self.shop.post("/reservations", self.reservation(quantity, **more))

    def reservation(self, quantity: int, **more: Any) -> dict[str, Any]:
        """A reservation to make."""
        return {"warehouse_id": self.warehouse, "lines": self.lines(quantity), **more}

    def payment(self, amount: str, *invoices: str) -> dict[str, Any]:
        """A payment of these invoices, each by the whole amount."""
        paid = [{"invoice_id": invoice, "amount": eur(amount)} for invoice in invoices]
        money = {"amount": eur(amount), "method": "bank_transfer", "allocations": paid}
        return {"customer_id": self.customer, **money}

    async def level(self) -> tuple[str, str, str]:
        """On hand, reserved, available."""
        return await self.shop.level(self.warehouse, self.product)
