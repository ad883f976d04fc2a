"""Orders go on and settle whatever becomes of Redis."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from shop import Shop, back, eventually

from ops.background import BackgroundStack

ORDERS = 12


@asynccontextmanager
async def killed(stack: BackgroundStack) -> AsyncIterator[None]:
    gone = stack.kill("redis")
    yield
    await back(stack, "redis", gone)


@asynccontextmanager
async def paused(stack: BackgroundStack) -> AsyncIterator[None]:
    (pid,) = stack.pids("redis")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def flushed(stack: BackgroundStack) -> AsyncIterator[None]:
    async with Redis.from_url(stack.state["redis"]) as redis:
        await redis.flushall()
        yield
        await redis.flushall()


@asynccontextmanager
async def out_of_memory(stack: BackgroundStack) -> AsyncIterator[None]:
    async with Redis.from_url(stack.state["redis"]) as redis:
        await redis.config_set("maxmemory", "1")
        try:
            yield
        finally:
            await redis.config_set("maxmemory", "0")


@pytest.mark.parametrize(
    "fault",
    [
        paused,
        out_of_memory,
        killed,
        flushed,
    ],
    ids=lambda fault: fault.__name__,
)
async def test_orders_settle_while_redis_is_not_itself(
    stack: BackgroundStack, acme: Shop, fault: Callable[[BackgroundStack], object]
) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=ORDERS)
    body = {**acme.order_body(customer, warehouse, (product, 1)), "confirm": True}

    async with fault(stack):
        orders = await asyncio.gather(*(acme.post("/orders", body) for _ in range(ORDERS)))
        settled = [await acme.settled(order["id"]) for order in orders]

    assert {order["reservation_state"] for order in settled} == {"reserved"}
    assert await acme.level(warehouse, product) == (str(ORDERS), str(ORDERS), "0")
    await eventually(lambda: no_violations(acme), "all promises hold")


async def no_violations(shop: Shop) -> bool:
    return not await shop.violations()
