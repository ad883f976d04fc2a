"""Orders over REST until they are settled, against pgbench doing the same job's SQL."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks import database_work, floor
from benchmarks.http_client import Connection
from benchmarks.load import Load, measure
from benchmarks.shop import Shop, connect, open_shop
from ops.background import BackgroundStack

CLIENTS = 32
ORDERS = 3_000
BATCH = 100
WAIT = {"Prefer": "wait=30"}


@dataclass(frozen=True)
class Way:
    """One way to place orders, and what it cost."""

    name: str
    load: Load
    orders: int
    work: database_work.Work

    @property
    def per_second(self) -> float:
        """Settled orders a second."""
        return self.orders / self.load.seconds


Place = Callable[[Connection, int], Awaitable[None]]


async def run(stack: BackgroundStack) -> tuple[floor.Floor, list[Way]]:
    """The floor, and the three ways beside each other."""
    shop = await open_shop(stack)
    operator = stack.state["databases"]["sales"]
    await measured(stack, "warm-up", create_and_confirm(shop), 300)
    ways = [
        await measured(stack, "create, then confirm", create_then_confirm(shop), ORDERS),
        await measured(stack, "create and confirm", create_and_confirm(shop), ORDERS),
        await measured(stack, f"batches of {BATCH}", in_batches(shop), ORDERS, BATCH),
    ]
    return floor.measure(operator, floor.ORDER, CLIENTS), ways


def create_then_confirm(shop: Shop) -> Place:
    """Two calls an order."""

    async def place(connection: Connection, first: int) -> None:
        status, draft = await connection.post("/api/v1/orders", shop.order(first))
        assert status == 201, draft
        path = f"/api/v1/orders/{draft['id']}:confirm"
        status, order = await connection.post(path, {"version": 1}, **WAIT)
        assert status == 200, order
        assert order["awaiting"] == [], order

    return place


def create_and_confirm(shop: Shop) -> Place:
    """One call an order."""

    async def place(connection: Connection, first: int) -> None:
        body = {**shop.order(first), "confirm": True}
        status, order = await connection.post("/api/v1/orders", body, **WAIT)
        assert status == 201, order
        assert order["awaiting"] == [], order

    return place


def in_batches(shop: Shop) -> Place:
    """One call a hundred orders, then wait for the last to settle."""

    async def place(connection: Connection, first: int) -> None:
        orders = [{**shop.order(first + n), "confirm": True} for n in range(BATCH)]
        status, answer = await connection.post("/api/v1/orders:batchCreate", {"orders": orders})
        assert status == 200, answer
        # Orders settle in the order in which they were confirmed.
        last = f"/api/v1/orders/{answer['results'][-1]['order']['id']}"
        while (await connection.get(last))[1]["awaiting"]:
            await asyncio.sleep(0.02)

    return place


async def measured(
    stack: BackgroundStack, name: str, place: Place, orders: int, a_call: int = 1
) -> Way:
    """One way to place so many orders, `a_call` of them with each call."""
    connections = [await connect(stack) for _ in range(CLIENTS)]
    turn = itertools.count()

    async def work(client: int) -> None:
        await place(connections[client], next(turn) * 7)

    before = database_work.counted(stack)
    load = await measure(CLIENTS, work, orders // a_call)
    return Way(name, load, orders, database_work.counted(stack) - before)
