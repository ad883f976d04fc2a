"""Answers on their way out: status, headers, and a body in one piece."""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from starlette.types import Send

from common.errors import DomainError
from gateway.errors import MethodNotAllowed
from gateway.problems import CONTENT_TYPE, http_status_of, plain_problem, problem_of

Headers = Sequence[tuple[bytes, bytes]]

_JSON: Headers = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
# Kept by the client only, and asked about each time.
_RESOURCE: Headers = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Authorization, Cookie"),
)
_PROBLEM: Headers = ((b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store"))
BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Answer(NamedTuple):
    """One answer."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    async def send(
        self, send: Send, request_id: str, rate_headers: Headers, *, with_body: bool = True
    ) -> None:
        """Write it out."""
        headers = [*self.headers, *rate_headers, (b"x-request-id", request_id.encode())]
        if self.status not in _WITHOUT_BODY:
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body if with_body else b""})


def json_answer(status: int, value: Any, headers: Headers = ()) -> Answer:
    """An answer that holds this value."""
    return Answer(status, [*_JSON, *headers], orjson.dumps(value))


def resource_answer(status: int, body: bytes, etag: bytes, headers: Headers = ()) -> Answer:
    """An answer that holds one record, in the state that the ETag names."""
    return Answer(status, [*_RESOURCE, (b"etag", etag), *headers], body)


def not_modified(etag: bytes) -> Answer:
    """The answer to who knows the record's state already."""
    return Answer(HTTPStatus.NOT_MODIFIED, [*_RESOURCE[1:], (b"etag", etag)])


def error_answer(error: DomainError, instance: str) -> Answer:
    """The answer to a request that went wrong."""
    problem = problem_of(error, instance)
    return Answer(http_status_of(error), [*_PROBLEM, *_headers_of(error)], orjson.dumps(problem))


def internal_answer(instance: str) -> Answer:
    """The answer to a request that met a fault of ours."""
    return Answer(500, _PROBLEM, orjson.dumps(plain_problem(500, instance)))


def problem_bytes(status: int, request_id: str, headers: Headers) -> bytes:
    """A whole HTTP answer, for a connection that has not brought a request."""
    body = orjson.dumps(plain_problem(status))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"content-type: {CONTENT_TYPE.decode()}",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
        *(f"{name.decode()}: {value.decode()}" for name, value in headers),
        "cache-control: no-store",
        "connection: close\r\n\r\n",
    )
    return "\r\n".join(head).encode() + body


def _headers_of(error: DomainError) -> list[tuple[bytes, bytes]]:
    headers = []
    status = http_status_of(error)
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in BUSY or error.retry_after_seconds is not None:
        seconds = math.ceil(error.retry_after_seconds or 1)
        headers.append((b"retry-after", str(max(seconds, 1)).encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    return headers
