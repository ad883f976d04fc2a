"""A TCP proxy that loses, delays and cuts on request, to see what its clients make of it."""

import asyncio
import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

HOST = "127.0.0.1"


@dataclass
class _Cut:
    """The next request that contains these bytes loses its connection."""

    matching: bytes
    after_execution: bool


class FaultProxy:
    """Stands before a server: `async with FaultProxy(port) as proxy`, and clients of `proxy.port`.

    Args:
        server_port: where the server is, on 127.0.0.1.
        seed: repeats the random faults of a run that printed it.
    """

    def __init__(self, server_port: int, seed: int | None = None) -> None:
        self.seed = secrets.randbits(32) if seed is None else seed
        self.port = 0
        self.cuts_done = 0
        self._server_port = server_port
        self._random = random.Random(self.seed)
        self._listening: asyncio.Server | None = None
        self._open = False
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._delay: Callable[[], float] = lambda: 0.0
        self._cuts: list[_Cut] = []
        self._cut_probability = 0.0

    async def __aenter__(self) -> Self:
        await self.pass_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(f"the fault proxy's seed was {self.seed}")  # noqa: T201 (pytest shows it)
        await self.refuse()

    async def pass_all(self) -> None:
        """Stop all faults."""
        self._delay, self._cuts, self._cut_probability = (lambda: 0.0), [], 0.0
        self._flowing.set()
        self._open = True
        if self._listening is None:
            self._listening = await asyncio.start_server(self._accept, HOST, self.port)
            self.port = self._listening.sockets[0].getsockname()[1]

    def delay(self, least_seconds: float, most_seconds: float) -> None:
        """Let each piece of a request be late by a random time."""
        self._delay = lambda: self._random.uniform(least_seconds, most_seconds)

    def stall(self) -> None:
        """Accept connections and bytes, and pass nothing on: half-open."""
        self._flowing.clear()

    def cut_request(self, matching: bytes = b"") -> None:
        """Close the connection of the next such request before it reached the server."""
        self._cuts.append(_Cut(matching, after_execution=False))

    def cut_reply(self, matching: bytes = b"") -> None:
        """Close the connection of the next such request once the server has carried it out."""
        self._cuts.append(_Cut(matching, after_execution=True))

    def cut_at_random(self, probability: float) -> None:
        """Close the connections of so many of all requests, before or after their execution."""
        self._cut_probability = probability

    async def refuse(self) -> None:
        """Close all connections and take no new ones."""
        self._open = False
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:  # it was in the queue when the door was shut
            writer.transport.abort()
            return
        connection = asyncio.create_task(self._pass(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                await self._connect(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        answers, requests = await asyncio.open_connection(HOST, self._server_port)
        swallow = asyncio.Event()
        pumps = [
            asyncio.create_task(self._pass_requests(reader, requests, swallow)),
            asyncio.create_task(self._pass_answers(answers, writer, swallow)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            requests.close()

    async def _pass_requests(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, swallow: asyncio.Event
    ) -> None:
        while request := await reader.read(65536):
            await self._flowing.wait()
            await asyncio.sleep(self._delay())
            cut = self._cut_of(request)
            if cut is not None:
                self.cuts_done += 1
                if not cut.after_execution:
                    return
                swallow.set()
            server.write(request)
            await server.drain()

    async def _pass_answers(
        self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, swallow: asyncio.Event
    ) -> None:
        while answer := await server.read(65536):
            await self._flowing.wait()
            if swallow.is_set():
                return
            writer.write(answer)
            await writer.drain()

    def _cut_of(self, request: bytes) -> _Cut | None:
        for cut in self._cuts:
            if cut.matching in request:
                self._cuts.remove(cut)
                return cut
        if self._random.random() < self._cut_probability:
            return _Cut(b"", after_execution=self._random.random() < 0.5)
        return None
