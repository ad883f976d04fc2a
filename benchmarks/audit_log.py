"""What it costs that every change is written down: orders with the audit log and without."""

import asyncio
import statistics
import tempfile
from pathlib import Path

import psycopg

from benchmarks.load import Load
from benchmarks.orders import create_and_confirm, measured
from benchmarks.shop import open_shop
from ops.background import BackgroundStack, running

ORDERS = 600
TURNS = 3
_TABLES = """
    SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger
    WHERE tgfoid IN ('audit_inserted'::regproc, 'audit_changed'::regproc)
"""


async def run(stack: BackgroundStack) -> dict[str, list[Load]]:
    """The loads of each turn."""
    place = create_and_confirm(await open_shop(stack))
    await measured(stack, "warm-up", place, ORDERS)
    loads: dict[str, list[Load]] = {"with": [], "without": []}
    for _ in range(TURNS):
        for way, found in loads.items():
            _switch(stack, on=way == "with")
            found.append((await measured(stack, way, place, ORDERS)).load)
    _switch(stack, on=True)
    return loads


def _switch(stack: BackgroundStack, *, on: bool) -> None:
    """Have the triggers fire, or not."""
    for url in stack.state["databases"].values():
        with psycopg.connect(url) as connection:
            for (table,) in connection.execute(_TABLES).fetchall():
                word = "ENABLE" if on else "DISABLE"
                connection.execute(f"ALTER TABLE {table} {word} TRIGGER USER".encode())


def main() -> None:
    """Measure on a stack of its own, and print."""
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch) / "dev") as stack:
        loads = asyncio.run(run(stack))
    medians = {}
    for way, found in loads.items():
        medians[way] = statistics.median(load.per_second for load in found)
        turns = ", ".join(f"{load.per_second:.0f}" for load in found)
        print(f"{way} the audit log: {medians[way]:.0f} settled orders/s ({turns})")
    print(f"ratio {medians['with'] / medians['without']:.2f}")


if __name__ == "__main__":
    main()
