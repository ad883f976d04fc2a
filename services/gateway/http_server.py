"""The HTTP server: uvicorn, with limits on a connection and an end that cuts nobody off."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from common import ids
from common.settings import Address, SettingsError
from gateway.answers import problem_bytes
from gateway.doorstep import ALWAYS, LARGEST_HEAD_BYTES
from gateway.http_request import ABORT
from gateway.limits import uncounted

HEAD_SECONDS = 10.0
# How long a client may go on sending what has been refused. Hanging up on it at once would
# reset the connection, and the answer that explains the refusal would be lost.
LINGER_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 65
# A client that has an answer waiting takes so much of it in this time, or is taken for gone.
READING_SECONDS = 20.0
LEAST_READ_BYTES = 16 * 1024
MOST_CONNECTIONS = 8192

_UPGRADE = re.compile(rb"^upgrade(?=[ \t]*:)", re.IGNORECASE | re.MULTILINE)
_NO_UPGRADE = b"x-grade"

log = structlog.get_logger()


class GuardedProtocol(HttpToolsProtocol):
    """One connection, with the limits on time and size of a request's head that uvicorn lacks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head, unless there are too many connections already."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._head_bytes = 0
        self._in_head = True
        self._is_refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            # Nor is it kept for a moment.
            self.transport.close()
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Send no more until the client has read, and see to it that it does."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._stop_watching()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Hang up on a client that asks nothing more, also where it has not read its answer."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read what has come, unless it was refused already."""
        if self._is_refused:
            return
        if self._in_head:
            data = _without_upgrade(data)
            self._head_bytes += len(data)
            if self._timer is None:
                self._start_timer()
        super().data_received(data)
        if self._in_head and self._head_bytes > LARGEST_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; one that follows the body is a trailer, which must not pass for one.

        Source: RFC 9110, section 6.5.1. A proxy that vouches for headers does not look at trailers.
        """
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request in."""
        if self.parser.should_upgrade():
            # Its body would be taken for what another protocol says.
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._in_head = False
        self._stop_timer()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        if self._is_refused or self.transport.is_closing():
            return
        self._in_head = True
        self._head_bytes = 0
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a client that is still sending a moment to notice its answer."""
        super().on_response_complete()
        if not self._in_head:
            self._stop_timer()
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (named by uvicorn)
        """Answer what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._time_is_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        if self._is_answering():
            # The client has begun its next request early; this one's answer must still reach it.
            self._start_timer()
        elif self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            # Not even begun: an answer could be taken for that of a request just under way.
            self.transport.close()

    def _watch_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(READING_SECONDS, self._judge_reading, unread)

    def _stop_watching(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _judge_reading(self, unread_before: int) -> None:
        """Hang up on a client that keeps an answer waiting in our memory."""
        if unread_before - self.transport.get_write_buffer_size() < LEAST_READ_BYTES:
            log.info("client does not read", unread_bytes=unread_before)
            self.transport.abort()
        else:
            self._watch_reading()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in place of the application, and hang up."""
        if self._is_refused or self.transport.is_closing():
            return
        if self._is_answering() and self._is_in_first_body():
            self._take_from_application()
        if self._is_answering():
            self.transport.close()
            return
        headers = (*ALWAYS, *uncounted())
        self.transport.write(problem_bytes(status, str(ids.new()), headers))
        self._linger()

    def _linger(self) -> None:
        """Say that there is no more, and give the client a moment to notice."""
        self._is_refused = True
        self._stop_timer()
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _is_in_first_body(self) -> bool:
        """Whether what comes is the body of the very request that is to be answered next."""
        return not self._in_head and not self.pipeline and not self.cycle.response_started

    def _take_from_application(self) -> None:
        """Let the application believe that the client has gone; its body is not worth reading."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        self.cycle.response_complete = True


class HttpServer(uvicorn.Server):
    """Serves an ASGI application on one address until told to stop."""

    def __init__(self, app: ASGIApp, bind: Address, *, shared: bool, grace_seconds: float) -> None:
        """Listen at once.

        Args:
            app: the application.
            bind: where to listen; port 0 is any free one.
            shared: whether other processes listen there as well.
            grace_seconds: how long running requests may take to finish at the end.

        Raises:
            SettingsError: the address is taken.
        """
        super().__init__(_config(app, grace_seconds))
        self._socket = _listen(bind, shared=shared)
        self.port: int = self._socket.getsockname()[1]
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take requests."""
        self._running = asyncio.create_task(self.serve([self._socket]))
        log.info("serving http", port=self.port)

    async def stop(self) -> None:
        """Take no more, and return when the last one is answered or the grace is over."""
        self.should_exit = True
        if self._running:
            await self._running

    def hasten(self) -> None:
        """Wait for nobody any more."""
        self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield


def _without_upgrade(data: bytes) -> bytes:
    """What came of a head, without the offer of another protocol, which is never taken.

    The parser would stop at such an offer, before the body. Java's client makes one with the first
    request of a connection, curl by --http2. Under its other name the header means nothing; the
    length of the data stays, since what is taken for the head may end in a body.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(_NO_UPGRADE, head) + end + rest


def _config(app: ASGIApp, grace_seconds: float) -> uvicorn.Config:
    options: dict[str, Any] = {
        "http": GuardedProtocol,
        "ws": "none",
        "lifespan": "off",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "date_header": False,
        # Whose word about the client's address counts is not for the server to guess.
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": max(1, round(grace_seconds)),
    }
    return uvicorn.Config(app, **options)


def _listen(bind: Address, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    # Said in full, since asyncio switches Nagle's algorithm off only where it sees the protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((bind.host.strip("[]"), bind.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"KV_ERP_HTTP_BIND: cannot listen on {bind}: {error.strerror}."
        ) from None
    listener.listen(2048)
    return listener
