"""What is lost when parts of the system die: time, and nothing else."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from shop import Shop, back, eventually

from ops.background import BackgroundStack

WORKERS = ("inventory-worker", "accounting-worker", "sales-worker")
SERVERS = ("inventory", "accounting", "sales", "gateway")
ORDERS_AT_A_TIME = 8


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.long)])
async def test_flushed_redis_and_killed_workers_lose_no_order(
    stack: BackgroundStack, acme: Shop, count: int
) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=count)
    body = {**acme.order_body(customer, warehouse, (product, 1)), "confirm": True}

    async with repeatedly(lambda: flush(stack)), repeatedly(lambda: kill_next(stack, WORKERS)):
        orders = await in_turn([lambda: acme.post("/orders", body)] * count)

    settled = [await acme.settled(order["id"]) for order in orders]
    assert {order["reservation_state"] for order in settled} == {"reserved"}
    assert len({order["invoice_id"] for order in settled}) == count
    assert await acme.level(warehouse, product) == (str(count), str(count), "0")
    await eventually(lambda: no_violations(acme), "all promises hold")


@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.long)])
async def test_what_was_acknowledged_survives_the_death_of_every_server(
    stack: BackgroundStack, acme: Shop, count: int
) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=2 * count)
    body = {**acme.order_body(customer, warehouse, (product, 1)), "confirm": True}
    statuses: set[int] = set()

    async def buy() -> str | None:
        reference = secrets.token_hex(8)
        try:
            answer = await acme.try_post("/orders", {**body, "reference": reference})
        except httpx.TransportError:
            return None  # the gateway itself died under it
        statuses.add(answer.status_code)
        return answer.json()["id"] if answer.status_code == 201 else None

    async with repeatedly(lambda: kill_next(stack, SERVERS)):
        acknowledged = [order for order in await in_turn([buy] * count) if order]

    await eventually(lambda: acme.get("/orders", page_size=1), "the gateway answers")
    settled = [await acme.settled(order) for order in acknowledged]
    assert statuses <= {201, 503, 504}
    assert {order["reservation_state"] for order in settled} <= {"reserved"}
    await eventually(lambda: no_violations(acme), "all promises hold")


async def test_clients_that_hang_up_at_any_moment_confuse_nobody(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=1000)
    body = acme.order_body(customer, warehouse, (product, 1))

    async def ask(turn: int) -> None:
        reference = f"{secrets.token_hex(8)}-{turn}"
        try:
            async with asyncio.timeout(turn % 40 / 1000):
                order = await acme.post("/orders", {**body, "reference": reference})
                assert order["reference"] == reference
        except (TimeoutError, httpx.TransportError):
            pass

    await in_turn([lambda turn=turn: ask(turn) for turn in range(600)], at_a_time=40)

    order = await acme.confirmed(body)
    assert order["reservation_state"] == "reserved"
    await eventually(lambda: no_violations(acme), "all promises hold")


async def in_turn(
    actions: list[Callable[[], Awaitable[Any]]], at_a_time: int = ORDERS_AT_A_TIME
) -> list[Any]:
    """The outcomes of the actions, some at a time."""
    slots = asyncio.Semaphore(at_a_time)

    async def act(action: Callable[[], Awaitable[Any]]) -> Any:
        async with slots:
            return await action()

    return await asyncio.gather(*map(act, actions))


@asynccontextmanager
async def repeatedly(action: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Do something harmful again and again while what is inside goes on, and once at least."""

    async def go_on() -> None:
        while True:
            await action()
            await asyncio.sleep(1)

    await action()
    task = asyncio.create_task(go_on())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def flush(stack: BackgroundStack) -> None:
    async with Redis.from_url(stack.state["redis"]) as redis:
        with suppress(RedisError, OSError):
            await redis.flushall()


_turn = iter(range(1_000_000))


async def kill_next(stack: BackgroundStack, names: tuple[str, ...]) -> None:
    name = names[next(_turn) % len(names)]
    await back(stack, name, stack.kill(name))


async def no_violations(shop: Shop) -> bool:
    return not await shop.violations()
