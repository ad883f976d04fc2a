"""A whole system whose every part can be harmed: its data is reached through proxies."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fault_proxy import HOST, FaultProxy

from ops.background import BackgroundStack, copy_data, running
from ops.credentials import Credentials
from ops.dev_directory import DevDirectory
from ops.postgres import UNSYNCED, EmbeddedPostgres
from ops.urls import with_address
from ops.valkey import EmbeddedValkey


@dataclass
class System:
    """The parts."""

    stack: BackgroundStack
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    to_postgres: FaultProxy
    to_valkey: FaultProxy
    chance: random.Random


@asynccontextmanager
async def started(folder: Path, seed: int, began: Path) -> AsyncIterator[System]:
    """Start all of it with the data of `began`; the seed decides what the faults leave open."""
    dev = DevDirectory(folder / "dev")
    copy_data(began, dev.path)
    dev.postgres.rename(folder / "postgres")
    password = Credentials(dev.secrets).superuser_password
    with (
        EmbeddedPostgres(folder / "postgres", password=password, settings=UNSYNCED) as postgres,
        EmbeddedValkey(folder / "v") as valkey,
    ):
        async with (
            FaultProxy(postgres.port, seed) as to_postgres,
            FaultProxy(valkey.port, seed) as to_valkey,
        ):
            environment = {
                **os.environ,
                "DATABASE_URL": with_address(postgres.superuser_url, f"{HOST}:{to_postgres.port}"),
                "REDIS_URL": f"redis://{HOST}:{to_valkey.port}/0",
            }
            # In a thread: the proxies work in this one while the stack starts and stops.
            run = running(dev.path, environment)
            stack = await asyncio.to_thread(run.__enter__)
            try:
                chance = random.Random(seed)
                yield System(stack, postgres, valkey, to_postgres, to_valkey, chance)
            finally:
                await to_postgres.pass_all()
                await to_valkey.pass_all()
                await asyncio.to_thread(run.__exit__, None, None, None)


async def restart(server: EmbeddedPostgres | EmbeddedValkey) -> None:
    """Kill a server of data as a crash does, and start it again."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
