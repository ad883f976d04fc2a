"""Runs the scenarios of orders on a stack of its own and writes RESULTS.md: `make bench`.

`python -m benchmarks primitives` does so for the primitives, without a stack.
"""

import asyncio
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import hot_product, orders, primitives, startup
from benchmarks.figures import commit, machine
from benchmarks.floor import Floor
from benchmarks.hot_product import HotProduct
from benchmarks.orders import CLIENTS, Way
from benchmarks.startup import Startup
from ops.background import running

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Measure, print, and write."""
    with tempfile.TemporaryDirectory() as scratch:
        started = startup.run(Path(scratch) / "startup")
        print(f"start {started}")
        with running(Path(scratch) / "orders") as stack:
            hot = asyncio.run(hot_product.run(stack))
            print(f"hot product {hot}")
            floor, ways = asyncio.run(orders.run(stack))
    text = "\n".join([_head(), _hot(hot), _orders(floor, ways), _startup(started)])
    RESULTS.write_text(text)
    print(text)


def _head() -> str:
    return f"""# What was measured

`make bench` on {datetime.now(UTC):%Y-%m-%d}, commit {commit()},
{machine()}. Load generator, services, PostgreSQL and Valkey share these
cores; fsync and synchronous_commit are on. The floor is pgbench (prepared statements) on the same
PostgreSQL, in the same run.
"""


def _hot(hot: HotProduct) -> str:
    last = hot.loads[-1]
    ours = _figures([load.per_second for load in hot.loads])
    return f"""## One hot product

{hot_product.RESERVATIONS} reservations of one unit of the same product over gRPC by
{hot_product.CLIENTS} clients, in {hot_product.ROUNDS} rounds that alternate with two floors: one
that locks the row, updates it, inserts one row and commits; and one that also writes what a
reservation writes, its line and a numbered event. An rpc of the same server that does nothing shows
what gRPC alone carries on these cores.

| | a second, by round | p50 ms | p99 ms | kv-erp in times of it |
|---|---|---|---|---|
| floor: one row | {_figures(hot.one_row)} | | | {hot.ratio_to(hot.one_row):.2f} |
| floor: the same SQL | {_figures(hot.same_sql)} | | | {hot.ratio_to(hot.same_sql):.2f} |
| an rpc that does nothing | {_figures(hot.empty)} | | | {hot.ratio_to(hot.empty):.2f} |
| kv-erp | {ours} | {last.p50_ms:.1f} | {last.p99_ms:.1f} | |

Exact at the end: {"yes" if hot.exact else "NO"}.
"""


def _figures(figures: list[float]) -> str:
    return ", ".join(f"{figure:.0f}" for figure in figures)


def _orders(floor: Floor, ways: list[Way]) -> str:
    rows = "\n".join(_order_row(way, floor) for way in ways)
    return f"""## Orders until settled

Orders of three lines over REST by {CLIENTS} clients; settled means stock reserved, invoice and
entry posted, and the order knows. The floor is the same job's SQL in one transaction:
{floor.per_second:.0f} a second, mean {floor.mean_ms:.1f} ms. Latency is that of a call: until the
order is settled, or for a batch until all of it is.

| way | orders/s | of the floor | p50 ms | p99 ms | p99/p50 | round trips | statements |
|---|---|---|---|---|---|---|---|
{rows}

Round trips and statements are those of all services for one order.
"""


def _order_row(way: Way, floor: Floor) -> str:
    load = way.load
    return (
        f"| {way.name} | {way.per_second:.0f} | {way.per_second / floor.per_second:.2f} "
        f"| {load.p50_ms:.0f} | {load.p99_ms:.0f} | {load.p99_ms / load.p50_ms:.1f} "
        f"| {way.work.round_trips / way.orders:.1f} | {way.work.statements / way.orders:.1f} |"
    )


def _startup(started: Startup) -> str:
    rows = "\n".join(f"| {name} | {mib:.0f} |" for name, mib in started.memory_mib.items())
    return f"""## Start and memory

From an empty directory to `ready`: {started.first_seconds:.1f} s; the second start on its data:
{started.second_seconds:.1f} s (packages installed already in both).

| idle process | PSS MiB |
|---|---|
{rows}
"""


if __name__ == "__main__":
    if sys.argv[1:2] == ["primitives"]:
        primitives.REPORT.write(sys.argv[2:])
    else:
        main()
