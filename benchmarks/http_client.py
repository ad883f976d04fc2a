"""A small HTTP/1.1 client, so that what is measured is the server and not the client's library."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self, host: str, token: str) -> None:
        self._head = f"Host: {host}\r\nAuthorization: Bearer {token}\r\n"
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, Any]] | None = None

    @classmethod
    async def open(cls, url: str, token: str) -> "Connection":
        """Connect to a gateway as the bearer of a token."""
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: cls(address.netloc, token), address.hostname, address.port
        )
        return connection

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and body of a POST."""
        return await self._ask("POST", path, orjson.dumps(body), headers)

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and body of a GET."""
        return await self._ask("GET", path, b"", {})

    async def _ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        assert self._transport is not None
        if self._transport.is_closing():
            raise ConnectionResetError("The server hung up.")
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"{method} {path} HTTP/1.1\r\n{self._head}{more}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._answer = asyncio.get_running_loop().create_future()
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(head.encode() + body)
        return await self._answer

    def connection_made(self, transport: Any) -> None:
        """Called by asyncio."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("The server hung up."))

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Called by httptools."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by httptools."""
        assert self._answer is not None
        status = self._parser.get_status_code()
        self._answer.set_result((status, orjson.loads(self._body) if self._body else None))
