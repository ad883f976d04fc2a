"""The primary dies under orders: a replica takes over, and no acknowledged order is lost."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest
from reports import Report
from shop import Shop, client_of, eventually

from ops.background import BackgroundStack, running

BUYERS = 6
MOST_SECONDS = 10.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    """A system with a primary and one standby that can succeed it."""
    directory = tmp_path_factory.mktemp("pair") / "dev"
    with running(directory, options=["--replicas=1", "--failover"]) as stack:
        yield stack


@pytest.fixture
async def shop(pair: BackgroundStack) -> AsyncIterator[Shop]:
    async with client_of(pair, "acme") as client:
        yield Shop(client)


class Trade:
    """Buyers who order without pause, and note what they were promised and when."""

    def __init__(self, shop: Shop, body: dict[str, Any]) -> None:
        self.shop, self.body = shop, body
        # By order: when it was asked for, and when it was promised.
        self.acknowledged: dict[str, tuple[float, float]] = {}
        self.statuses: set[int] = set()
        self._over = asyncio.Event()

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

    async def _buy(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            body = {**self.body, "reference": secrets.token_hex(8)}
            try:
                answer = await self.shop.try_post("/orders", body)
            except httpx.TransportError:
                continue
            self.statuses.add(answer.status_code)
            if answer.status_code == 201:
                self.acknowledged[answer.json()["id"]] = began, time.monotonic()
            else:
                await asyncio.sleep(0.05)


async def trade_of(shop: Shop) -> Trade:
    customer, warehouse = await shop.customer(), await shop.warehouse()
    product = await shop.product(warehouse, stock=10_000)
    return Trade(shop, {**shop.order_body(customer, warehouse, (product, 1)), "confirm": True})


async def may_succeed(stack: BackgroundStack) -> None:
    """Return when a standby has every acknowledged commit."""
    await eventually(lambda: confirming(stack), "a standby confirms", seconds=60)


async def confirming(stack: BackgroundStack) -> list[str]:
    record = await asyncio.to_thread((stack.directory / "cluster.json").read_text)
    return list(json.loads(record)["confirming"])


async def nothing_was_lost(shop: Shop, trade: Trade) -> None:
    orders = [await shop.settled(order) for order in trade.acknowledged]
    assert {order["reservation_state"] for order in orders} == {"reserved"}
    assert len({order["invoice_id"] for order in orders}) == len(orders)
    await eventually(lambda: no_violations(shop), "all promises hold")


async def no_violations(shop: Shop) -> bool:
    try:
        return not await shop.violations()
    except AssertionError:
        return False


async def killed(stack: BackgroundStack) -> None:
    stack.kill(stack.state["primary"])


async def frozen(stack: BackgroundStack) -> None:
    """The machine of the primary stands still: connections stay open and nobody answers."""
    [pid] = stack.pids(stack.state["primary"])
    for process in (server := psutil.Process(pid)), *server.children():
        process.send_signal(signal.SIGSTOP)


async def switched_over(stack: BackgroundStack) -> None:
    """An operator wants another primary."""
    kv_erp = str(Path(sys.executable).with_name("kv-erp"))
    environment = {**os.environ, "KV_ERP_DEV_DIR": str(stack.directory)}
    command = [kv_erp, "db", "promote", "--yes", "--json"]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "fault",
    [killed, pytest.param(frozen, marks=pytest.mark.long), switched_over],
    ids=lambda fault: fault.__name__,
)
async def test_a_standby_takes_over_and_the_old_primary_follows_it(
    pair: BackgroundStack, shop: Shop, fault: Any, report: Report
) -> None:
    trade = await trade_of(shop)
    await may_succeed(pair)
    before = pair.state["primary"]

    async with trade:
        failed_at = time.monotonic()
        await fault(pair)
        seconds = await trade.goes_on(since=failed_at) - failed_at
        await eventually(lambda: is_other(pair, before), "the old primary is back")
        await may_succeed(pair)

    report(f"primary {fault.__name__}: first new order after {seconds:.1f} s")
    assert pair.state["primary"] != before
    assert await confirming(pair) == [before]
    assert trade.statuses <= {201, 503, 504}
    assert seconds <= MOST_SECONDS
    await nothing_was_lost(shop, trade)


async def is_other(stack: BackgroundStack, before: str) -> bool:
    return bool(stack.state["primary"] != before)


@pytest.mark.long
async def test_without_a_standby_work_goes_on_and_nobody_else_takes_over(
    pair: BackgroundStack, shop: Shop
) -> None:
    trade = await trade_of(shop)
    await may_succeed(pair)
    primary = pair.state["primary"]
    (standby,) = await confirming(pair)
    [server] = pair.pids(standby)
    os.kill(server, signal.SIGSTOP)
    stopped = [*psutil.Process(server).children()]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)

    async with trade:
        await eventually(lambda: alone(pair), "commits go on without the standby", seconds=60)
        began = time.monotonic()
        await trade.goes_on(since=began)
        pair.kill(primary)
        began = time.monotonic()
        await trade.goes_on(since=began)
        assert pair.state["primary"] == primary
        for pid in (server, *(process.pid for process in stopped)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        await may_succeed(pair)

    await nothing_was_lost(shop, trade)


async def alone(stack: BackgroundStack) -> bool:
    return not await confirming(stack)
