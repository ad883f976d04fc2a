"""What stands before all: what browsers are told, who may read (CORS), what is too ambiguous.

Sources: https://fetch.spec.whatwg.org/#http-cors-protocol, RFC 9110 and RFC 9112 on what must occur
once, the OWASP REST Security Cheat Sheet on headers.
"""

import re
from collections import Counter
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.answers import Answer, error_answer
from gateway.errors import (
    HeadTooLarge,
    HttpError,
    InvalidHeader,
    TargetTooLong,
    TooManyHeaders,
    VersionNotSupported,
)
from gateway.http_request import HttpRequest
from gateway.limits import uncounted

__all__ = ["ALWAYS", "LARGEST_HEAD_BYTES", "Doorstep"]

LARGEST_HEAD_BYTES = 64 * 1024
MOST_HEADERS = 100
LONGEST_TARGET_BYTES = 16 * 1024

# An answer is data: it runs nothing, loads nothing, and is nobody's frame.
_DATA_POLICY = b"default-src 'none'; frame-ancestors 'none'"
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # For browsers that do not know frame-ancestors.
    (b"x-frame-options", b"DENY"),
)
_COUNTED = b"x-ratelimit-limit"
_POLICY = (b"content-security-policy", _DATA_POLICY)
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")

# Two of these could be understood in two ways, by us and by a proxy before us.
_ONCE = frozenset(
    b"host authorization content-length content-type idempotency-key consistency-token origin "
    b"x-csrf-token last-event-id x-request-id traceparent".split()
)
# RFC 3986, section 3.2: a name or an address, and a port.
_HOST = re.compile(rb"([A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(:\d{0,5})?")
_VERSIONS = frozenset({"1.0", "1.1"})
_ASKED_FOR = b"access-control-request-method"
_VARY_ORIGIN = (b"vary", b"Origin")
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        (
            b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
            b"Consistency-Token, Prefer, X-CSRF-Token, X-Request-Id, Last-Event-ID"
        ),
    ),
    (b"access-control-max-age", b"600"),
    (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
)
_EXPOSED = (
    b"access-control-expose-headers",
    (
        b"ETag, Consistency-Token, Idempotent-Replayed, Preference-Applied, Validate-Only, "
        b"Retry-After, X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, "
        b"X-RateLimit-Reset, RateLimit, RateLimit-Policy"
    ),
)


class Doorstep:
    """Stands before an application.

    Args:
        app: answers what is let in.
        trusted: origins of pages that may read answers and send cookies, such as
            "https://app.example.com".
        behind_proxies: whether X-Forwarded-Proto is the word of a proxy of ours.
    """

    def __init__(
        self, app: ASGIApp, trusted: Collection[str] = (), *, behind_proxies: bool = False
    ) -> None:
        self._app = app
        self._trusted = frozenset(origin.encode() for origin in trusted)
        self._behind_proxies = behind_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        added = [*ALWAYS, *self._about_origin(headers), *self._about_transport(headers)]

        async def send_more(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"]
                names = {name for name, _ in own}
                policy = () if _POLICY[0] in names else (_POLICY,)
                free = () if _COUNTED in names else uncounted()
                message["headers"] = [*own, *added, *policy, *free]
            await send(message)

        try:
            _refuse_ambiguous(scope)
        except HttpError as error:
            await _refuse(error, HttpRequest(scope, receive), send_more)
            return
        if scope["method"] == "OPTIONS" and _ASKED_FOR in headers and self._trusts(headers):
            request_id = HttpRequest(scope, receive).request_id
            await Answer(HTTPStatus.NO_CONTENT, _PREFLIGHT).send(send_more, request_id, ())
            return
        await self._app(scope, receive, send_more)

    def _trusts(self, headers: dict[bytes, bytes]) -> bool:
        return headers.get(b"origin") in self._trusted

    def _about_origin(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        if not self._trusted:
            return []
        if not self._trusts(headers):
            return [_VARY_ORIGIN]
        return [
            _VARY_ORIGIN,
            (b"access-control-allow-origin", headers[b"origin"]),
            (b"access-control-allow-credentials", b"true"),
            _EXPOSED,
        ]

    def _about_transport(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        scheme = headers.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip()
        return [_HSTS] if self._behind_proxies and scheme == b"https" else []


def _refuse_ambiguous(scope: Scope) -> None:
    """Let by what can be understood in one way only.

    Raises:
        HttpError: it cannot, or it is longer than any request needs.
    """
    headers = scope["headers"]
    if scope["http_version"] not in _VERSIONS:
        raise VersionNotSupported
    if len(headers) > MOST_HEADERS:
        raise TooManyHeaders(MOST_HEADERS)
    if sum(len(name) + len(value) for name, value in headers) > LARGEST_HEAD_BYTES:
        raise HeadTooLarge(LARGEST_HEAD_BYTES)
    if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_TARGET_BYTES:
        raise TargetTooLong(LONGEST_TARGET_BYTES)
    names = dict(headers)
    if len(names) < len(headers):
        counted = Counter(name for name, _ in headers)
        for name in _ONCE & counted.keys():
            if counted[name] > 1:
                raise InvalidHeader(name.decode().title(), "must not be repeated")
    _refuse_misframed(scope["http_version"], names)


def _refuse_misframed(version: str, headers: dict[bytes, bytes]) -> None:
    host = headers.get(b"host")
    if host is None and version == "1.1":
        raise InvalidHeader("Host", "is missing")
    if host and not _HOST.fullmatch(host):
        raise InvalidHeader("Host", "must be a name or an address, and a port")
    coding = headers.get(b"transfer-encoding")
    if coding is not None and (version == "1.0" or coding.strip().lower() != b"chunked"):
        raise InvalidHeader("Transfer-Encoding", "must be chunked, in HTTP/1.1")


async def _refuse(error: HttpError, request: HttpRequest, send: Send) -> None:
    # What comes after it on this connection cannot be trusted to be a request.
    answer = error_answer(error, request.path)
    closing = answer._replace(headers=[*answer.headers, (b"connection", b"close")])
    await closing.send(send, request.request_id, ())
