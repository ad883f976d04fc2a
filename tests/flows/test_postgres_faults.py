"""What is lost when PostgreSQL dies or stands still under orders: time, and nothing else."""

import asyncio
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from shop import Shop, back, eventually

from ops.background import BackgroundStack

Fault = Callable[[BackgroundStack], Awaitable[None]]

BUYERS = 8
STILL_SECONDS = 1.0


async def kill(stack: BackgroundStack) -> None:
    """Kill the server as a crash does; its children follow, and recovery begins."""
    await back(stack, "postgres", stack.kill("postgres"))


async def freeze(stack: BackgroundStack) -> None:
    """Let the server and all its backends stand still for a moment."""
    [server] = stack.pids("postgres")
    stopped = [server, *children_of(server)]
    for pid in stopped:
        signal_if_there(pid, signal.SIGSTOP)
    # The time of standing still is the fault itself.
    await asyncio.sleep(STILL_SECONDS)
    for pid in stopped:
        signal_if_there(pid, signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def signal_if_there(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@pytest.mark.parametrize("fault", [kill, freeze])
async def test_orders_outlive_a_postgres_that_dies_or_stands_still(
    stack: BackgroundStack, acme: Shop, fault: Fault
) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=1000)
    body = {**acme.order_body(customer, warehouse, (product, 1)), "confirm": True}
    over, statuses, acknowledged = asyncio.Event(), set[int](), list[str]()

    async def buy() -> None:
        while not over.is_set():
            answer = await acme.try_post("/orders", {**body, "reference": secrets.token_hex(8)})
            statuses.add(answer.status_code)
            if answer.status_code == 201:
                acknowledged.append(answer.json()["id"])
            else:
                await asyncio.sleep(0.05)

    buyers = [asyncio.create_task(buy()) for _ in range(BUYERS)]
    await eventually(lambda: count_above(acknowledged, 5), "orders come in")
    await fault(stack)
    before = len(acknowledged)
    await eventually(lambda: count_above(acknowledged, before + 5), "orders come in again")
    over.set()
    await asyncio.gather(*buyers)

    settled = [await acme.settled(order) for order in acknowledged]
    assert statuses <= {201, 503, 504}
    assert {order["reservation_state"] for order in settled} == {"reserved"}
    assert len({order["invoice_id"] for order in settled}) == len(acknowledged)
    await eventually(lambda: no_violations(acme), "all promises hold")


async def count_above(things: list[str], least: int) -> bool:
    return len(things) > least


async def no_violations(shop: Shop) -> bool:
    try:
        return not await shop.violations()
    except (AssertionError, httpx.TransportError):
        return False
