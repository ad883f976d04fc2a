"""The feed as server-sent events: one answer that goes on until somebody ends it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Gauge
from starlette.types import Send

from common import validation
from common.caller import Caller
from common.errors import DomainError, StatusCode, Unavailable
from gateway.answers import Headers
from gateway.cloud_events import to_cloud_event
from gateway.credentials import Client
from gateway.errors import HttpError, TooManyAtOnce
from gateway.event_bells import Bell, Bells
from gateway.event_cursor import Cursor
from gateway.event_pages import EventPages, Page, Wanted
from gateway.http_request import HttpRequest

__all__ = ["EventStreams"]

HEARTBEAT_SECONDS = 15.0
# How soon a credential that is no longer good ends its streams.
RECHECK_SECONDS = 2.0
# A client that takes nothing for so long is hung up on; until then no more is read for it.
STALL_SECONDS = 30.0
_AWAY_SECONDS = 1.0
_PAGE = 100
_HEADERS: Headers = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_RETRY = b"retry: 2000\n\n"

_OPEN = Gauge("kv_erp_event_streams_open", "Clients that follow events as they happen.")
log = structlog.get_logger()


@dataclass(eq=False)
class TooManyStreams(HttpError):
    """The tenant follows its events as often as it may at this process: 429."""

    status = StatusCode.RESOURCE_EXHAUSTED
    http_status = 429
    detail = "{most} streams of events are open already. Close one of them."
    retry_after_seconds = 5.0

    most: int


class EventStreams:
    """Opens streams within limits, and ends them all when the process is to stop.

    Args:
        pages: reads the events.
        bells: tells of new ones.
        most: streams of this process.
        most_of_tenant: streams of one tenant.
    """

    def __init__(
        self, pages: EventPages, bells: Bells, *, most: int = 500, most_of_tenant: int = 20
    ) -> None:
        self._pages = pages
        self._bells = bells
        self._most = most
        self._most_of_tenant = most_of_tenant
        self._open: Counter[UUID] = Counter()
        self._ending = False

    def end(self) -> None:
        """End all streams: their clients come back, to another process."""
        self._ending = True
        self._bells.wake_all()

    async def open(
        self, message: Any, request: HttpRequest, client: Callable[[], Awaitable[Client]]
    ) -> "EventStream":
        """The answer that a request for a stream is given.

        Args:
            message: what is to be followed.
            request: the request, which may say where it broke off.
            client: who asks; raises once they may not any more.

        Raises:
            InvalidRequest: a field breaks its rule, or there is no such place or event.
            TooManyStreams: the tenant has no stream left.
            TooManyAtOnce: the process has none.
        """
        validation.check(message)
        who = (await client()).caller
        assert who.tenant_id is not None
        if self._open[who.tenant_id] >= self._most_of_tenant:
            raise TooManyStreams(self._most_of_tenant)
        if self._ending or self._open.total() >= self._most:
            raise TooManyAtOnce
        wanted = Wanted.from_wire(message)
        cursor = await self._pages.start(request.last_event_id or message.after)
        # Who is away is waited for later; who has forgotten what comes next says so now.
        with contextlib.suppress(Unavailable):
            await self._pages.read(cursor, self._pages.sources_of(who, wanted), wanted, 1)
        return EventStream(self, who, client, request, wanted, cursor)

    @contextlib.contextmanager
    def one_of(self, tenant_id: UUID) -> Iterator[None]:
        """Count a stream while it is open."""
        self._open[tenant_id] += 1
        _OPEN.inc()
        try:
            yield
        finally:
            _OPEN.dec()
            self._open[tenant_id] -= 1
            if not self._open[tenant_id]:
                del self._open[tenant_id]

    async def follow(self, stream: "EventStream") -> AsyncIterator[bytes]:
        """What one client is sent, until its credential ends or the process does."""
        sources = self._pages.sources_of(stream.reader, stream.wanted)
        heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        with self._bells.hung_for(stream.tenant_id, sources) as bell:
            stream.bell, news = bell, sources
            yield _RETRY + _id_of(stream.cursor)
            while not self._ending and not stream.is_gone and await stream.may_go_on():
                page = await self._next(stream, bell, news)
                if page.events:
                    yield b"".join(_frame(*item) for item in page.events)
                elif time.monotonic() >= heartbeat:
                    yield b": \n" + _id_of(stream.cursor)
                if page.events or time.monotonic() >= heartbeat:
                    heartbeat = time.monotonic() + HEARTBEAT_SECONDS
                news = news if page.has_more else await bell.heard(RECHECK_SECONDS)

    async def _next(self, stream: "EventStream", bell: Bell, news: frozenset[str]) -> Page:
        """The next events of the services with news; one that is away is asked again later."""
        if not news:
            return Page((), stream.cursor, has_more=False)
        try:
            page = await self._pages.read(stream.cursor, news, stream.wanted, _PAGE)
        except DomainError as error:
            if len(news) == 1:
                log.info("event stream waits", error=str(error))
                asyncio.get_running_loop().call_later(_AWAY_SECONDS, bell.ring, min(news))
                return Page((), stream.cursor, has_more=False)
            # One of them is away: each by itself, so that the others are heard meanwhile.
            pages = [await self._next(stream, bell, frozenset({one})) for one in sorted(news)]
            events = [event for page in pages for event in page.events]
            return Page(events, stream.cursor, any(page.has_more for page in pages))
        stream.cursor = page.after
        bell.seen = page.after.positions
        return page


class EventStream:
    """One client's stream: an answer that is sent for as long as it lasts."""

    status = HTTPStatus.OK

    def __init__(
        self,
        streams: EventStreams,
        reader: Caller,
        client: Callable[[], Awaitable[Client]],
        request: HttpRequest,
        wanted: Wanted,
        cursor: Cursor,
    ) -> None:
        self._streams = streams
        self._client = client
        self._request = request
        self.reader = reader
        self.wanted = wanted
        self.cursor = cursor
        self._checked = time.monotonic()
        self.is_gone = False
        # Rings while it is followed.
        self.bell: Bell | None = None

    @property
    def tenant_id(self) -> UUID:
        """Whose events these are."""
        assert self.reader.tenant_id is not None
        return self.reader.tenant_id

    async def may_go_on(self) -> bool:
        """Whether the client is still who it was, with the permissions that it had."""
        now = time.monotonic()
        if now < self._checked + RECHECK_SECONDS:
            return True
        self._checked = now
        try:
            caller = (await self._client()).caller
        except Unavailable:
            return True
        except DomainError:
            return False
        return (caller.tenant_id, caller.permissions) == (
            self.reader.tenant_id,
            self.reader.permissions,
        )

    async def send(
        self, send: Send, request_id: str, rate_headers: Headers, *, with_body: bool = True
    ) -> None:
        """Write until the stream ends or the client is gone."""
        headers = [*_HEADERS, *rate_headers, (b"x-request-id", request_id.encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if with_body:
            with self._streams.one_of(self.tenant_id):
                if not await self._send_events(send):
                    self._request.hang_up()
                    return
        await send({"type": "http.response.body", "body": b""})

    async def _send_events(self, send: Send) -> bool:
        """Whether the client is still there when the stream ends."""
        gone = asyncio.create_task(self._notice_the_end())
        frames = self._streams.follow(self)
        try:
            async for frame in frames:
                # Waits for as long as the client's buffer is full: nothing more is read meanwhile.
                body = {"type": "http.response.body", "body": frame, "more_body": True}
                async with asyncio.timeout(STALL_SECONDS):
                    await send(body)
        except TimeoutError:
            log.info("event stream stalled", request_id=self._request.request_id)
            return False
        finally:
            gone.cancel()
            await frames.aclose()  # type: ignore[attr-defined]
        return True

    async def _notice_the_end(self) -> None:
        await self._request.gone()
        self.is_gone = True
        if self.bell is not None:
            # Its place is free at once for the client that comes back.
            self.bell.wake()


def _frame(event: Any, after: Cursor) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (str(after).encode(), to_cloud_event(event))


def _id_of(cursor: Cursor) -> bytes:
    """A new place without an event: a client takes note of it and shows nothing."""
    return b"id: %s\n\n" % str(cursor).encode()
