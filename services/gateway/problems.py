"""Errors as RFC 9457 problems: what a client is told when something goes wrong."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from common.errors import DomainError, StatusCode
from common.status import Status, error_from

CONTENT_TYPE = b"application/problem+json"

_HTTP_STATUS = {
    StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    StatusCode.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    StatusCode.ABORTED: HTTPStatus.CONFLICT,
    StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
# An idempotency key that comes back with another body: no change of a field repairs that.
_UNPROCESSABLE = frozenset({"IDEMPOTENCY_KEY_REUSED"})
_HIDDEN = "Something went wrong here. It has been recorded."


def http_status_of(error: DomainError) -> int:
    """The HTTP status for an error."""
    own: int | None = getattr(error, "http_status", None)
    if own is not None:
        return own
    if error.reason in _UNPROCESSABLE:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    return _HTTP_STATUS.get(error.status, HTTPStatus.INTERNAL_SERVER_ERROR)


def problem_of(error: DomainError, instance: str | None = None) -> dict[str, Any]:
    """The problem object for an error; what is our own fault keeps its text to itself.

    The type is "about:blank", so the title is the status in words; `reason` is what a program
    looks at, and the error's values stand beside it. A value that is called like one of these
    members is left out.
    """
    status = http_status_of(error)
    problem = plain_problem(status, instance)
    if status != HTTPStatus.INTERNAL_SERVER_ERROR:
        problem |= {"detail": str(error), "reason": error.reason}
        for name, value in _values(error).items():
            problem.setdefault(name, value)
    return problem


def problem_of_status(status: Status) -> dict[str, Any]:
    """The problem object for an error inside an answer, such as that of one row of many."""
    return problem_of(error_from(status))


def plain_problem(status: int, instance: str | None = None) -> dict[str, Any]:
    """The problem object for a status that says all there is to say."""
    phrase = HTTPStatus(status).phrase
    server_error = status == HTTPStatus.INTERNAL_SERVER_ERROR
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": phrase,
        "status": int(status),
        "detail": _HIDDEN if server_error else HTTPStatus(status).description or phrase,
        "instance": instance,
        "reason": "INTERNAL" if server_error else phrase.upper().replace(" ", "_"),
    }
    if instance is None:
        del problem["instance"]
    return problem


def _values(error: DomainError) -> Mapping[str, Any]:
    violations = getattr(error, "violations", ())
    if violations:
        return {"errors": [{"pointer": item.pointer, "detail": item.rule} for item in violations]}
    return {name: value for name, value in error.values().items() if name != "summary"}
