"""A tenant that asks and asks, in a process of its own, and does not mind being refused.

`python -m benchmarks.noise URL TOKEN CLIENTS PER_SECOND` asks for pages of ten lists in turn, so
often in all, or (0) as often as it is answered. It ends with its standard input, and prints how
many requests were served and how many refused.
"""

import asyncio
import itertools
import sys
from collections import Counter

from benchmarks.http_client import Connection
from benchmarks.load import pace

_LISTS = (
    "accounts credit-notes customers invoices journal-entries orders payments products "
    "reservations warehouses"
).split()


async def ask(url: str, token: str, clients: int, per_second: float) -> Counter[int]:
    """Ask until standard input ends; how many answers there were of each status."""
    connections = [await Connection.open(url, token) for _ in range(clients)]
    paths = itertools.cycle(f"/api/v1/{name}?page_size=20" for name in _LISTS)
    statuses: Counter[int] = Counter()
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))

    async def work(client: int) -> None:
        status, answer = await connections[client].get(next(paths))
        assert status in (200, 429), answer
        statuses[status] += 1

    await pace(clients, work, per_second, until=ended.done)
    return statuses


if __name__ == "__main__":
    _, url, token, clients, per_second = sys.argv
    found = asyncio.run(ask(url, token, int(clients), float(per_second)))
    print(found[200], found[429])
