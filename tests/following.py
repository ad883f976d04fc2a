"""A client of the event stream, strict about the format (WHATWG, server-sent events)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

Told = dict[str, Any]


class Follower:
    """Reads one stream; remembers each event in its order and the last id."""

    def __init__(self, lines: AsyncIterator[str], last_id: str = "") -> None:
        self._lines = lines
        self.last_id = last_id
        self.told: list[Told] = []
        self.comments = 0

    async def until(self, met: Callable[["Follower"], Any], seconds: float = 30) -> None:
        """Read on until a condition is met."""
        async with asyncio.timeout(seconds):
            while not met(self):
                await self._block()

    async def to_the_end(self, seconds: float = 30) -> None:
        """Read until the server ends the stream."""
        async with asyncio.timeout(seconds):
            try:
                while True:
                    await self._block()
            except StopAsyncIteration:
                return

    async def _block(self) -> None:
        """One block of lines, up to the empty one that ends it."""
        data = []
        while line := await anext(self._lines):
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            elif name == "id":
                self.last_id = value
            elif name == "data":
                data.append(value)
        if data:
            self.told.append(orjson.loads("\n".join(data)))


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, after: str = "", last_id: str = "", **query: str
) -> AsyncIterator[Follower]:
    """The stream after this cursor, as a browser would open it."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    params = {"after": after, **query}
    async with client.stream("GET", "/events", headers=headers, params=params) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream"
        yield Follower(answer.aiter_lines(), last_id)
