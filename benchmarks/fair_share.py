"""What a noisy tenant costs the light traffic of another: `python -m benchmarks.fair_share`.

A light tenant asks at an even pace for a page of a list; its time counts from when a request was
due. Beside it another asks without minding refusals, in a process of its own:

- within its plan: it asks far more often than the plan `default` allows, over ten routes, from the
  beginning of a window of the limits. What the plan allows is served in one rush. A quarter of the
  window is measured, so the rush counts four times. This shows budgets and turns.
- over its plan: later in the same window all is refused. This shows the price of a refusal. Both
  have a target (FEATURES P12).
- unmetered: as often as it is answered, on as many connections as it likes. Only turns hold it
  back. It shows what stands before a light request, and cannot show more: all processes share the
  machine's cores with the noise, which leaves none of them idle, so everything takes longer by the
  CPU alone. No target can be set for it here.

A p99 of a few hundred requests varies by itself: how much, the times alone of one run show, which
are all of the same. A ratio within that says nothing.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, at_most, seen
from benchmarks.http_client import Connection
from benchmarks.load import Load, measure, pace
from ops.background import BackgroundStack, running

LIGHT_CLIENTS, LIGHT_PER_SECOND = 4, 30
METERED_CLIENTS, METERED_PER_SECOND = 20, 100
UNMETERED_CLIENTS = 100
WITHIN_SECONDS, OVER_SECONDS, UNMETERED_SECONDS = 15, 12, 8
_PATH = "/api/v1/customers?page_size=20"


@dataclass(frozen=True)
class FairShare:
    """The light tenant's requests: alone, and beside the noise."""

    alone: Load
    beside: Load
    # Requests of the noise.
    served: int
    refused: int

    @property
    def p99_ratio(self) -> float:
        """Its p99 beside the noise to that alone."""
        return self.beside.p99_ms / self.alone.p99_ms


def run(stack: BackgroundStack, seconds: float = 1.0) -> dict[str, FairShare]:
    """By what holds the noise back: its plan, that it is used up, or turns alone.

    Args:
        stack: where.
        seconds: how long a second lasts: less than 1 for a first look.
    """
    metered = ("initech", METERED_CLIENTS, METERED_PER_SECOND)
    unmetered = ("acme", UNMETERED_CLIENTS, 0)
    return {
        "within its plan": asyncio.run(_beside(stack, metered, WITHIN_SECONDS * seconds)),
        "over its plan": asyncio.run(_beside(stack, metered, OVER_SECONDS * seconds)),
        "unmetered": asyncio.run(_beside(stack, unmetered, UNMETERED_SECONDS * seconds)),
    }


async def _beside(stack: BackgroundStack, noise: tuple[str, int, int], seconds: float) -> FairShare:
    light = [await _connected(stack) for _ in range(LIGHT_CLIENTS)]

    async def ask(client: int) -> None:
        status, _ = await light[client].get(_PATH)
        assert status == 200, status

    async def traffic() -> Load:
        return await pace(
            LIGHT_CLIENTS, ask, LIGHT_PER_SECOND, count=round(LIGHT_PER_SECOND * seconds)
        )

    await measure(LIGHT_CLIENTS, ask, 200)
    alone = await traffic()
    with _noise(stack, *noise) as process:
        beside = await traffic()
        said, _ = process.communicate()
    served, refused = map(int, said.split())
    return FairShare(alone, beside, served, refused)


@contextmanager
def _noise(
    stack: BackgroundStack, tenant: str, clients: int, per_second: int
) -> Iterator["subprocess.Popen[str]"]:
    state = stack.state
    command = [sys.executable, "-m", "benchmarks.noise", state["gateway"]]
    command += [state["tenants"][tenant]["token"], str(clients), str(per_second)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


async def _connected(stack: BackgroundStack) -> Connection:
    state = stack.state
    return await Connection.open(state["gateway"], state["tenants"]["globex"]["token"])


def figures(seconds: float = 1.0) -> list[Figure]:
    """What was measured, on a stack of our own, beside what was promised."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch) / "dev", os.environ) as stack,
    ):
        shares = run(stack, seconds)
    within, over, unmetered = shares.values()
    return [
        at_most("p99 beside a tenant within its plan, to that alone", within.p99_ratio, 1.2),
        *_seen(within),
        at_most("p99 beside one that is over its plan, likewise", over.p99_ratio, 1.2),
        *_seen(over),
        seen("p99 beside an unmetered one that never pauses", f"{unmetered.p99_ratio:.2f}"),
        *_seen(unmetered),
    ]


def _seen(share: FairShare) -> list[Figure]:
    alone, beside = share.alone, share.beside
    return [
        seen("p50 and p99 alone", f"{alone.p50_ms:.1f} and {alone.p99_ms:.1f} ms"),
        seen("p50 and p99 beside it", f"{beside.p50_ms:.1f} and {beside.p99_ms:.1f} ms"),
        seen("requests of the noise", f"{share.served} served, {share.refused} refused"),
    ]


if __name__ == "__main__":
    scale = float(sys.argv[1]) if sys.argv[1:] else 1.0
    print(*(figure.row() for figure in figures(scale)), sep="\n")
