"""What a noisy tenant costs the light traffic of another, with and without a cap on its calls."""

import asyncio
import os
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_client import Connection
from benchmarks.load import Load, measure
from ops.background import BackgroundStack, running

NOISY_CLIENTS = 100
CAP = 4
LIGHT_CLIENTS = 2
REQUESTS = 200
ROUNDS = 3
# A read of one tenant, a page of 20 with its transaction; the noise asks for the same.
_PATH = "/api/v1/customers?page_size=20"


@dataclass(frozen=True)
class FairShare:
    """The light tenant's requests: alone, and beside the noise, in alternating rounds."""

    alone: list[Load]
    beside: list[Load]
    # The noise's requests a second that were served.
    noise_per_second: float

    @property
    def p99_ratio(self) -> float:
        """Its p99 beside the noise to that alone, by medians."""
        return _median_p99(self.beside) / _median_p99(self.alone)


def run() -> dict[str, FairShare]:
    """By what holds the noise back: nothing but the processes, or a cap on its calls."""
    with tempfile.TemporaryDirectory() as scratch:
        return {
            "no cap reached": _measured(Path(scratch) / "free", 512),
            f"{CAP} calls at a time": _measured(Path(scratch) / "capped", CAP),
        }


def _measured(directory: Path, calls: int) -> FairShare:
    environment = {**os.environ, "KV_ERP_TENANT_CALLS": str(calls)}
    with running(directory, environment) as stack:
        return asyncio.run(_alternate(stack))


async def _alternate(stack: BackgroundStack) -> FairShare:
    light = [await _connected(stack, "globex") for _ in range(LIGHT_CLIENTS)]

    async def ask(client: int) -> None:
        status, _ = await light[client].get(_PATH)
        assert status == 200, status

    await measure(LIGHT_CLIENTS, ask, 100)
    alone, beside, served = [], [], 0
    for _ in range(ROUNDS):
        alone.append(await measure(LIGHT_CLIENTS, ask, REQUESTS))
        async with _noise(stack) as count:
            beside.append(await measure(LIGHT_CLIENTS, ask, REQUESTS))
        served += count["served"]
    return FairShare(alone, beside, served / sum(load.seconds for load in beside))


@asynccontextmanager
async def _noise(stack: BackgroundStack) -> AsyncIterator[dict[str, int]]:
    connections = [await _connected(stack, "acme") for _ in range(NOISY_CLIENTS)]
    count, stop = {"served": 0}, asyncio.Event()

    async def ask(connection: Connection) -> None:
        while not stop.is_set():
            status, _ = await connection.get(_PATH)
            assert status in (200, 429), status
            count["served"] += status == 200
            if status == 429:
                # As a client that minds the answer: it waits before it asks again.
                await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(ask(connection)) for connection in connections]
    yield count
    stop.set()
    await asyncio.gather(*tasks)


async def _connected(stack: BackgroundStack, tenant: str) -> Connection:
    state = stack.state
    return await Connection.open(state["gateway"], state["tenants"][tenant]["token"])


def _median_p99(loads: list[Load]) -> float:
    return statistics.median(load.p99_ms for load in loads)


if __name__ == "__main__":
    for name, measured in run().items():
        for place, loads in (("alone", measured.alone), ("beside the noise", measured.beside)):
            figures = ", ".join(f"{load.p50_ms:.1f}/{load.p99_ms:.1f}" for load in loads)
            print(f"{name}: {place}, p50/p99 ms: {figures}")
        print(
            f"{name}: noise {measured.noise_per_second:.0f}/s, p99 ratio {measured.p99_ratio:.2f}"
        )
