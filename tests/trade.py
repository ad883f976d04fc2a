"""Orders all the time, and what became of them: what a fault costs in time, and nothing else."""

import asyncio
import secrets
import time
from typing import Any, Self

import httpx
from shop import Shop, eventually

BUYERS = 6
# A system that has no time left would recover from nothing, and each order is looked at afterwards.
PAUSE_SECONDS = 0.1


class Trade:
    """Buyers who order again and again, and note what they were promised and when."""

    def __init__(self, shop: Shop, body: dict[str, Any]) -> None:
        self.shop, self.body = shop, body
        # By order: when it was asked for, and when it was promised.
        self.acknowledged: dict[str, tuple[float, float]] = {}
        self.refused = 0
        self.statuses: set[int] = set()
        self._over = asyncio.Event()

    @classmethod
    async def of(cls, shop: Shop) -> Self:
        """Trade in one product, of which there is plenty."""
        customer, warehouse = await shop.customer(), await shop.warehouse()
        product = await shop.product(warehouse, stock=100_000)
        return cls(shop, {**shop.order_body(customer, warehouse, (product, 1)), "confirm": True})

    async def __aenter__(self) -> Self:
        self._buyers = [asyncio.create_task(self._buy()) for _ in range(BUYERS)]
        await self.goes_on(since=0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        await asyncio.gather(*self._buyers)

    async def goes_on(self, since: float) -> float:
        """Return when orders succeed that began after `since`; when the first did."""

        async def some() -> list[float]:
            return sorted(end for start, end in self.acknowledged.values() if start > since)

        return (await eventually(some, "orders succeed", seconds=60))[0]

    async def lost_nothing(self) -> None:
        """Every order that was acknowledged settles as if nothing had happened."""
        assert self.statuses <= {201, 503, 504}
        orders = [await self.shop.settled(order) for order in self.acknowledged]
        assert {order["reservation_state"] for order in orders} == {"reserved"}
        assert len({order["invoice_id"] for order in orders}) == len(orders)
        await eventually(self._all_promises_hold, "all promises hold", seconds=60)

    async def _all_promises_hold(self) -> bool:
        try:
            return not await self.shop.violations()
        except AssertionError:
            return False

    async def _buy(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            body = {**self.body, "reference": secrets.token_hex(8)}
            try:
                answer = await self.shop.try_post("/orders", body)
            except httpx.TransportError:
                self.refused += 1
            else:
                self.statuses.add(answer.status_code)
                if answer.status_code == 201:
                    self.acknowledged[answer.json()["id"]] = began, time.monotonic()
                else:
                    self.refused += 1
            await asyncio.sleep(PAUSE_SECONDS)
