"""What can go wrong with a part of the system, each fault over when its function returns."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from chaos.system import System, restart
from redis.asyncio import Redis
from shop import back

SECONDS = 2.0
SERVICES = ("inventory", "accounting", "sales")
PROCESSES = (*SERVICES, *(f"{name}-worker" for name in SERVICES), "gateway")

Fault = Callable[[System], Awaitable[None]]


async def a_process_is_killed(system: System) -> None:
    name = system.chance.choice(PROCESSES)
    await back(system.stack, name, system.stack.kill(name))


async def a_process_stands_still(system: System) -> None:
    pids = system.stack.pids(system.chance.choice(PROCESSES))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(SECONDS)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


async def postgres_is_killed(system: System) -> None:
    await restart(system.postgres)


async def postgres_is_cut_off(system: System) -> None:
    await system.to_postgres.refuse()
    await asyncio.sleep(SECONDS)
    await system.to_postgres.pass_all()


async def postgres_is_far_away(system: System) -> None:
    system.to_postgres.delay(0.005, 0.05)
    await asyncio.sleep(SECONDS)
    await system.to_postgres.pass_all()


async def connections_to_postgres_break(system: System) -> None:
    system.to_postgres.cut_at_random(0.02)
    await asyncio.sleep(SECONDS)
    await system.to_postgres.pass_all()


async def redis_is_killed(system: System) -> None:
    await restart(system.valkey)


async def redis_is_cut_off(system: System) -> None:
    await system.to_valkey.refuse()
    await asyncio.sleep(SECONDS)
    await system.to_valkey.pass_all()


async def redis_stands_still(system: System) -> None:
    system.to_valkey.stall()
    await asyncio.sleep(SECONDS)
    await system.to_valkey.pass_all()


async def redis_is_full(system: System) -> None:
    async with Redis.from_url(system.valkey.url) as redis:
        await redis.config_set("maxmemory", "1")
        await asyncio.sleep(SECONDS)
        await redis.config_set("maxmemory", "0")


async def redis_is_flushed(system: System) -> None:
    async with Redis.from_url(system.valkey.url) as redis:
        await redis.flushall()


FAULTS: tuple[Fault, ...] = (
    a_process_is_killed,
    a_process_stands_still,
    postgres_is_killed,
    postgres_is_cut_off,
    postgres_is_far_away,
    connections_to_postgres_break,
    redis_is_killed,
    redis_is_cut_off,
    redis_stands_still,
    redis_is_full,
    redis_is_flushed,
)
