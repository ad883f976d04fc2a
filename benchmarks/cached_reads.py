"""What the cache saves: the same requests to two stacks, one of them without a cache."""

import asyncio
import os
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Load, Work, measure
from benchmarks.shop import Shop, connect, open_shop
from ops.background import BackgroundStack, running

CLIENTS = 8
ROUNDS = 4
READS, DRAFTS = 1_500, 600
# Nobody listens there: what the cache does without Redis is what there would be without a cache.
NO_CACHE = {"REDIS_CACHE_URL": "redis://127.0.0.1:1/1"}


@dataclass(frozen=True)
class CachedReads:
    """Requests a second by round, with and without the cache."""

    reads: list[tuple[float, float]]
    drafts: list[tuple[float, float]]

    @property
    def read_ratio(self) -> float:
        """GETs of a product with the cache, in times of those without: the median round."""
        return _ratio(self.reads)

    @property
    def draft_ratio(self) -> float:
        """The same of orders of three lines that are drafted."""
        return _ratio(self.drafts)


async def run(cached: BackgroundStack, uncached: BackgroundStack) -> CachedReads:
    """Measure both in rounds that alternate."""
    sides = [(stack, await open_shop(stack)) for stack in (cached, uncached)]
    reads, drafts = [], []
    for _ in range(ROUNDS):
        reads.append(await _both(sides, _read, READS))
        drafts.append(await _both(sides, _draft, DRAFTS))
    return CachedReads(reads, drafts)


Side = tuple[BackgroundStack, Shop]
Prepare = Callable[[BackgroundStack, Shop], Awaitable[Work]]


async def _both(sides: Sequence[Side], work: Prepare, count: int) -> tuple[float, float]:
    loads: list[Load] = []
    for stack, shop in sides:
        loads.append(await measure(CLIENTS, await work(stack, shop), count))
    return loads[0].per_second, loads[1].per_second


async def _read(stack: BackgroundStack, shop: Shop) -> Work:
    connections = [await connect(stack) for _ in range(CLIENTS)]
    products = iter(range(1_000_000))

    async def work(client: int) -> None:
        product = shop.products[next(products) % len(shop.products)]
        status, _ = await connections[client].get(f"/api/v1/products/{product}")
        assert status == 200

    return work


async def _draft(stack: BackgroundStack, shop: Shop) -> Work:
    connections = [await connect(stack) for _ in range(CLIENTS)]
    orders = iter(range(1_000_000))

    async def work(client: int) -> None:
        status, answer = await connections[client].post("/api/v1/orders", shop.order(next(orders)))
        assert status == 201, answer

    return work


def _ratio(rounds: Sequence[tuple[float, float]]) -> float:
    return statistics.median(with_cache / without for with_cache, without in rounds)


def main() -> None:
    """Measure on two stacks of our own, and print."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch) / "cached") as cached,
        running(Path(scratch) / "uncached", {**os.environ, **NO_CACHE}) as uncached,
    ):
        figures = asyncio.run(run(cached, uncached))
    print(figures)
    print(f"reads {figures.read_ratio:.2f} times, drafts {figures.draft_ratio:.2f} times")


if __name__ == "__main__":
    main()
