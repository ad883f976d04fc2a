"""The client: repeats what may be repeated, and reads what it has written."""

import asyncio
import random
import uuid
from collections.abc import Mapping
from typing import Any, Self

import httpx

from client.problems import Problem, Unreachable
from client.requests import Options
from erp.client.operations import Operations

__all__ = ["Client"]

_ATTEMPTS = 5
_LONGEST_PAUSE_SECONDS = 10.0
# The same request may well succeed a little later.
_PASSING = frozenset(
    {
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.BAD_GATEWAY,
        httpx.codes.SERVICE_UNAVAILABLE,
        httpx.codes.GATEWAY_TIMEOUT,
    }
)
_TWIN_RUNS = "IDEMPOTENCY_KEY_IN_PROGRESS"


class Client(Operations):
    """The API as one user of one tenant.

    A command carries an idempotency key, so it is sent again when its answer was lost and still has
    effect once. Reads are never older than what this client has written.

    Args:
        url: the gateway, such as "https://erp.example".
        token: an API token.
        timeout_seconds: for one attempt.
        transport: in place of the network, or with limits of its own.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_seconds: float = 40.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
            transport=transport,
            # Credentials go where the caller says, not where the environment does.
            trust_env=False,
        )
        self._consistency_token = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def request(
        self,
        verb: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        options: Options | None = None,
    ) -> Any:
        """The JSON of a successful answer, asked for again while that may help."""
        options = options or Options()
        headers = _headers(verb, options)
        parameters = dict(query or {}) | (
            {"validate_only": "true"} if options.validate_only else {}
        )
        for attempt in range(1, _ATTEMPTS + 1):
            if self._consistency_token:
                headers["Consistency-Token"] = self._consistency_token
            try:
                answer = await self._http.request(
                    verb, path, json=body, params=_query(parameters), headers=headers
                )
            except httpx.TransportError as error:
                if attempt == _ATTEMPTS:
                    raise Unreachable(f"{verb} {path}: {error!r}") from error
                await asyncio.sleep(_pause(attempt, None))
                continue
            if answer.is_success:
                return self._understood(answer)
            problem = Problem.of(answer)
            if attempt == _ATTEMPTS or not _may_pass(problem):
                raise problem
            await asyncio.sleep(_pause(attempt, answer.headers.get("retry-after")))
        raise AssertionError("unreachable")

    def _understood(self, answer: httpx.Response) -> Any:
        if written := answer.headers.get("consistency-token"):
            self._consistency_token = written
        return answer.json() if answer.content else None


def _headers(verb: str, options: Options) -> dict[str, str]:
    headers = {}
    if verb != "GET" and not options.validate_only:
        headers["Idempotency-Key"] = options.idempotency_key or str(uuid.uuid4())
    if options.wait_seconds is not None:
        headers["Prefer"] = f"wait={options.wait_seconds}"
    if options.if_match is not None:
        headers["If-Match"] = options.if_match
    return headers


def _query(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in parameters.items()
    }


def _may_pass(problem: Problem) -> bool:
    return problem.status in _PASSING or problem.reason == _TWIN_RUNS


def _pause(attempt: int, retry_after: str | None) -> float:
    """Seconds: what the server asks for, else twice as long each time, with full jitter."""
    if retry_after is not None and retry_after.isdecimal():
        return min(float(retry_after), _LONGEST_PAUSE_SECONDS)
    return random.uniform(0, 0.1 * 2**attempt)  # noqa: S311 (jitter, not a secret)
