"""Who waits for a lock is woken over a connection that is watched."""

import asyncio

import pytest
from fault_proxy import FaultProxy
from redis.asyncio import Redis

from common import lock_wakeups
from common.jobs_testing import eventually
from common.lock_wakeups import Wakeups

CHANNEL = "lock_wakeups:test"


@pytest.fixture
async def proxied(servers, monkeypatch):
    """Wakeups behind a proxy, the proxy, and a client beside it."""
    monkeypatch.setattr(lock_wakeups, "_SILENCE_SECONDS", 0.1)
    direct = servers.valkey.url
    async with FaultProxy(servers.valkey.port) as proxy, Redis.from_url(direct) as beside:
        redis = Redis.from_url(f"redis://127.0.0.1:{proxy.port}/0")
        wakeups = Wakeups(redis, CHANNEL)
        await wakeups.connect(5)
        yield wakeups, proxy, beside
        await wakeups.close()
        await redis.aclose()


async def woken_by(wakeups, beside):
    with wakeups.expected("token") as woken:
        await beside.publish(CHANNEL, "token")
        async with asyncio.timeout(5):
            await woken.wait()
    return woken.is_served


async def listeners(beside):
    return {one["id"]: one["cmd"] for one in await beside.client_list(_type="pubsub")}


async def test_a_quiet_connection_is_asked_for_a_sign_of_life_and_kept(proxied):
    wakeups, _, beside = proxied
    before = set(await listeners(beside))

    async def asked():
        return "ping" in (await listeners(beside)).values()

    await eventually(asked)

    assert await woken_by(wakeups, beside)
    assert set(await listeners(beside)) == before


@pytest.mark.parametrize("fault", ["stall", "drop"])
async def test_a_connection_that_is_lost_or_hangs_is_made_anew(proxied, fault):
    wakeups, proxy, beside = proxied
    if fault == "stall":
        proxy.stall()
    else:
        await proxy.refuse()
    await eventually(lambda: not wakeups.are_heard)

    await proxy.pass_all()
    await eventually(lambda: wakeups.are_heard)

    assert await woken_by(wakeups, beside)
