"""Requests to addresses of others: nothing is followed, little is read, and not for long."""

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httpcore

from gateway.outside_addresses import AddressRefused, OutsideAddresses

__all__ = ["OutsideHttp", "Reply"]

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
_MOST_READ = 16 * 1024
_MOST_KEPT = 1000
_MOST_ADDRESSES = 3


@dataclass(frozen=True)
class Reply:
    """How one request went."""

    # 0 when there was no answer.
    status: int
    # Why it is no success; empty when it is.
    error: str
    # The beginning of the answer's body.
    text: str
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether the other side has taken it."""
        return not self.error


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to the very address that has been checked: a second look-up could say another."""

    def __init__(self, addresses: OutsideAddresses) -> None:
        self._addresses = addresses
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (named by httpcore)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await self._addresses.resolve(host, port)
        failure: Exception = AddressRefused("has a host that has no address")
        for address in found[:_MOST_ADDRESSES]:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class OutsideHttp:
    """Posts to others. Each request has a connection of its own; no proxy, no redirect, no cookie.

    Args:
        addresses: where to.
    """

    def __init__(self, addresses: OutsideAddresses) -> None:
        self._addresses = addresses
        self._tls = ssl.create_default_context()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send once, and say how that went; never fails otherwise."""
        started = time.monotonic()
        try:
            self._addresses.check_url(url)
            async with asyncio.timeout(TOTAL_SECONDS):
                status, text = await self._post(url, headers, body)
            error = _problem(status)
        except AddressRefused as refused:
            status, text, error = 0, "", f"The URL {refused}."
        except TimeoutError:
            status, text, error = 0, "", f"It took longer than {TOTAL_SECONDS:g} seconds."
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as failed:
            status, text, error = 0, "", _words(failed)
        return Reply(status, error, text, time.monotonic() - started)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        limits = dict.fromkeys(("connect", "read", "write", "pool"), CONNECT_SECONDS)
        limits["read"] = TOTAL_SECONDS
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls,
                network_backend=_Guarded(self._addresses),
                max_connections=1,
                max_keepalive_connections=0,
            ) as pool,
            pool.stream(
                "POST",
                url,
                headers=list(headers.items()),
                content=body,
                extensions={"timeout": limits},
            ) as answer,
        ):
            read = b""
            async for chunk in answer.aiter_stream():
                read += chunk
                if len(read) >= _MOST_READ:
                    break
            text = read[:_MOST_READ].decode("utf-8", "replace").replace("\x00", "")
            return answer.status, text[:_MOST_KEPT]


def _problem(status: int) -> str:
    if 200 <= status < 300:  # noqa: PLR2004 (success, RFC 9110)
        return ""
    if 300 <= status < 400:  # noqa: PLR2004 (redirection, RFC 9110)
        return f"It answered {status}; redirects are not followed."
    return f"It answered {status}."


def _words(error: Exception) -> str:
    kind = type(error).__name__
    return f"{kind}: {error}"[:300] if str(error) else kind
