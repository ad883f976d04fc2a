"""The primary dies under orders: a replica takes over, and no acknowledged order is lost."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from reports import Report
from shop import Shop, client_of, eventually
from trade import Trade

from ops.background import BackgroundStack, running

pytestmark = pytest.mark.first

MOST_SECONDS = 10.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, began: Path) -> Iterator[BackgroundStack]:
    """A system with a primary and one standby that can succeed it."""
    directory = tmp_path_factory.mktemp("pair") / "dev"
    with running(directory, options=["--replicas=1", "--failover"], like=began) as stack:
        yield stack


@pytest.fixture
async def shop(pair: BackgroundStack) -> AsyncIterator[Shop]:
    async with client_of(pair, "acme") as client:
        yield Shop(client)


async def may_succeed(stack: BackgroundStack) -> None:
    """Return when a standby has every acknowledged commit."""
    await eventually(lambda: confirming(stack), "a standby confirms", seconds=60)


async def confirming(stack: BackgroundStack) -> list[str]:
    record = await asyncio.to_thread((stack.directory / "cluster.json").read_text)
    return list(json.loads(record)["confirming"])


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
    trade = await Trade.of(shop)
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
    assert seconds <= MOST_SECONDS
    await trade.lost_nothing()


async def is_other(stack: BackgroundStack, before: str) -> bool:
    return bool(stack.state["primary"] != before)


@pytest.mark.long
async def test_without_a_standby_work_goes_on_and_nobody_else_takes_over(
    pair: BackgroundStack, shop: Shop
) -> None:
    trade = await Trade.of(shop)
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

    await trade.lost_nothing()


async def alone(stack: BackgroundStack) -> bool:
    return not await confirming(stack)
