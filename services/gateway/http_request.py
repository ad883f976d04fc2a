"""A request as it came: the few headers that matter, and a body within limits of time and size."""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from starlette.types import Receive, Scope

from common import consistency, ids
from gateway.errors import (
    BodyTooLarge,
    BodyTooSlow,
    ClientGone,
    InvalidHeader,
    UnsupportedMediaType,
)
from gateway.masks import Mask
from gateway.routes import Route

LARGEST_BODY_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30
# Where the server puts what closes the connection at once.
ABORT = "kv_erp.abort"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_JSON = re.compile(rb'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r'wait\s*=\s*("?)(\d{1,4})\1', re.ASCII)


class HttpRequest:
    """One request."""

    __slots__ = (
        "__dict__",
        "_abort",
        "_headers",
        "_receive",
        "_scope_headers",
        "address",
        "mask",
        "method",
        "path",
        "peer",
        "query",
        "rate_headers",
        "repeats_only",
        "request_id",
        "route",
        "validate_only",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._abort: Callable[[], None] = scope.get("extensions", {}).get(ABORT, _nothing)
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.method: str = scope["method"]
        # Still percent-encoded.
        self.path: str = scope["raw_path"].decode("ascii", "replace")
        self.query: bytes = scope["query_string"]
        # Where the connection comes from.
        self.peer: str | None = client[0] if (client := scope.get("client")) else None
        self._scope_headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        # Where the client is, as far as that can be believed; known once the request was counted.
        self.address: str = "unknown"
        # Known once the request has been counted.
        self.rate_headers: Sequence[tuple[bytes, bytes]] = ()
        # Known once the request has been let in.
        self.route: Route | None = None
        # Whether the command is to be tried without effect.
        self.validate_only = False
        # What of the answer is wanted; empty when all of it is.
        self.mask: Mask = {}
        # Whether it may only get the answer that it had before, since doing it now would be wrong.
        self.repeats_only = False
        given = self._headers.get(b"x-request-id")
        self.request_id: str = (
            given.decode() if given and _REQUEST_ID.fullmatch(given) else str(ids.new())
        )

    @property
    def wants_stream(self) -> bool:
        """Whether the answer is to go on for as long as there is news."""
        return b"text/event-stream" in self._headers.get(b"accept", b"")

    @property
    def last_event_id(self) -> str:
        """Where the caller's stream broke off; empty when it has had none."""
        return self._headers.get(b"last-event-id", b"").decode("latin-1")

    async def gone(self) -> None:
        """Return when the client has hung up. Only once the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def hang_up(self) -> None:
        """Close the connection without regard to what has not been sent."""
        self._abort()

    @property
    def authorization(self) -> bytes | None:
        """The credential, as sent."""
        return self._headers.get(b"authorization")

    @property
    def forwarded_for(self) -> list[bytes]:
        """The X-Forwarded-For headers, as sent, in their order."""
        return [value for name, value in self._scope_headers if name == b"x-forwarded-for"]

    @property
    def cookies(self) -> list[bytes]:
        """The Cookie headers, as sent, in their order."""
        return [value for name, value in self._scope_headers if name == b"cookie"]

    @property
    def csrf_token(self) -> bytes | None:
        """What proves that the session's own page sent this, as sent."""
        return self._headers.get(b"x-csrf-token")

    @property
    def origin(self) -> bytes | None:
        """The origin of the page that sent this (RFC 6454), as sent."""
        return self._headers.get(b"origin")

    @property
    def fetch_site(self) -> bytes | None:
        """How that page's site relates to ours (Fetch Metadata), as sent."""
        return self._headers.get(b"sec-fetch-site")

    @property
    def host(self) -> bytes | None:
        """The name under which we were called, as sent."""
        return self._headers.get(b"host")

    @property
    def user_agent(self) -> bytes:
        """The program that sent this, in its own words."""
        return self._headers.get(b"user-agent", b"")

    @property
    def if_match(self) -> bytes | None:
        """What the record must be for the request to have effect (RFC 9110), as sent."""
        return self._headers.get(b"if-match")

    @property
    def if_none_match(self) -> bytes | None:
        """What the caller knows of the record already, as sent."""
        return self._headers.get(b"if-none-match")

    @property
    def traceparent(self) -> str | None:
        """The caller's place in a trace, as sent."""
        header = self._headers.get(b"traceparent")
        return header.decode("latin-1") if header else None

    @property
    def idempotency_key(self) -> str | None:
        """The caller's name for this request, under which it has effect once.

        Raises:
            InvalidHeader: it is not 1 to 255 visible ASCII characters.
        """
        key = self._headers.get(b"idempotency-key")
        if key is None:
            return None
        if not _IDEMPOTENCY_KEY.fullmatch(key):
            raise InvalidHeader("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
        return key.decode()

    @cached_property
    def consistency_token(self) -> str:
        """What the caller's reads must be as fresh as; "" when that does not matter to it.

        Raises:
            InvalidHeader: no answer has carried such a token.
        """
        token = self._headers.get(b"consistency-token", b"").decode("latin-1").strip()
        try:
            consistency.parse_token(token)
        except ValueError as error:
            raise InvalidHeader("Consistency-Token", str(error)) from None
        return token

    def refuse_senseless(self) -> None:
        """Refuse headers that mean nothing, also where nobody would have looked at them.

        Raises:
            InvalidHeader: there is one.
        """
        for name in ("idempotency_key", "consistency_token", "wait_seconds"):
            getattr(self, name)

    @cached_property
    def wait_seconds(self) -> int | None:
        """How long the caller would wait for the follow-up work (RFC 7240); None when not asked.

        Raises:
            InvalidHeader: that is not a number of seconds, or too many.
        """
        header = self._headers.get(b"prefer")
        if header is None:
            return None
        for preference in header.decode("latin-1").lower().split(","):
            name = preference.partition("=")[0].strip()
            if name == "wait":
                return _seconds(preference.partition(";")[0].strip())
        return None

    async def body(self) -> bytes:
        """The whole body, empty when there is none.

        Raises:
            BodyTooLarge: more than 4 MiB, declared or sent.
            BodyTooSlow: it did not arrive within 10 s.
            UnsupportedMediaType: there is one and it is not declared as plain JSON.
        """
        length = self._headers.get(b"content-length")
        if length == b"0" or (length is None and b"transfer-encoding" not in self._headers):
            return b""
        if length is not None and int(length) > LARGEST_BODY_BYTES:
            raise BodyTooLarge(LARGEST_BODY_BYTES)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._received()
        except TimeoutError:
            raise BodyTooSlow(BODY_SECONDS) from None
        kind, coding = self._headers.get(b"content-type", b""), b"content-encoding"
        if body and (coding in self._headers or not _JSON.fullmatch(kind)):
            raise UnsupportedMediaType
        return body

    async def _received(self) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message: Any = await self._receive()
            if message["type"] == "http.disconnect":
                # What has arrived may be the beginning of something else.
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > LARGEST_BODY_BYTES:
                raise BodyTooLarge(LARGEST_BODY_BYTES)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _seconds(preference: str) -> int:
    match = _WAIT.fullmatch(preference)
    if match is None or int(match[2]) > LONGEST_WAIT_SECONDS:
        raise InvalidHeader(
            "Prefer", f"must say wait=N with N from 0 to {LONGEST_WAIT_SECONDS} seconds"
        )
    return int(match[2])


def _nothing() -> None:
    """The connection is not ours to close."""
