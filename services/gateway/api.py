"""The REST API: every request to /api/v1 becomes one call of an rpc."""

import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID

import structlog
from google.protobuf.message import Message
from starlette.types import Receive, Scope, Send

from common import (
    caller,
    consistency,
    origin,
    patience,
    rehearsal,
    spans,
    tracing,
    trailers,
)
from common.caller import become
from common.channel import Channel, Rpc
from common.errors import DomainError, NotPermitted
from common.fair_share import Places
from common.origin import Place
from common.repetitions import IDEMPOTENCY_KEY, REPEATS_ONLY
from common.rpc_policy import Access, Idempotency
from common.spans import Kind
from gateway.answers import (
    Answer,
    Headers,
    error_answer,
    internal_answer,
    json_answer,
    not_modified,
    resource_answer,
)
from gateway.credentials import Client
from gateway.door import STRANGER, Credentials
from gateway.errors import MethodNotAllowed, TooManyAtOnce, UnknownPath
from gateway.feed import Feed
from gateway.forgery import Origins, refuse_without_token
from gateway.http_request import HttpRequest
from gateway.kept_records import KeptRecords
from gateway.limits import RequestLimits
from gateway.masks import kept
from gateway.metrics import WAITED, WAITING, HttpMetrics
from gateway.preconditions import Preconditions, is_known
from gateway.repeating import until_answered
from gateway.representation import Representation
from gateway.requests import read_message
from gateway.routes import Match, Route, Routes
from gateway.settled_answers import SettledAnswers
from gateway.settlements import Settlements
from gateway.visits import visit_metadata

log = structlog.get_logger()

_OWN = "gateway"
# Stands for all paths that lead nowhere.
_UNKNOWN = "unknown"
# Calls that a process has open at the same time.
_AT_ONCE = 128
# Operators of the platform take turns as one more tenant.
_NO_TENANT = UUID(int=0)
_HEADER_OF_TRAILER = {
    trailers.IDEMPOTENT_REPLAYED: b"idempotent-replayed",
    trailers.CONSISTENCY_TOKEN: b"consistency-token",
    trailers.SET_SESSION: b"set-cookie",
    trailers.SET_DEVICE: b"set-cookie",
}
_VALIDATED = (b"validate-only", b"true")
_REPLAYED = (b"idempotent-replayed", b"true")


class Sendable(Protocol):
    """What a request is answered with: an `Answer` in one piece, or a stream."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    async def send(
        self, send: Send, request_id: str, rate_headers: Headers, *, with_body: bool = True
    ) -> None:
        """Write it out."""


# Opens a stream for a message, a request, and who asks.
OpenStream = Callable[[Any, HttpRequest, Callable[[], Awaitable[Client]]], Awaitable[Sendable]]


class Api:
    """An ASGI application for /api/v1.

    Args:
        routes: what it offers.
        channels: the services by name.
        credentials: who may come in.
        limits: how often.
        feed: where the end of follow-up work is heard of.
        kept: answers that need not be asked for again.
        settled: what clients that waited were answered.
        origins: whose pages may send requests with a session's cookie.
        streams: by the path of the rpc, what answers a client that asks for a stream.
        timeout_seconds: how long one rpc may take.
        most_requests: how many it serves at the same time.
        tenant_turns: how many calls it has open for one tenant, while there are others.
    """

    def __init__(
        self,
        routes: Routes,
        channels: Mapping[str, Channel],
        credentials: Credentials,
        limits: RequestLimits,
        feed: Feed,
        kept: KeptRecords,
        settled: SettledAnswers,
        streams: Mapping[str, OpenStream] = MappingProxyType({}),
        *,
        origins: Origins = Origins(),  # noqa: B008 (frozen)
        timeout_seconds: float = 10.0,
        most_requests: int = 2000,
        tenant_turns: int = 4,
    ) -> None:
        self._routes = routes
        self._credentials = credentials
        self._limits = limits
        self._origins = origins
        self._timeout_seconds = timeout_seconds
        self._room = most_requests
        self._metrics = HttpMetrics()
        self._rpcs = {route.policy.path: _rpc(route, channels) for route in routes.all}
        reads = {
            route.policy.path: (route.policy, self._rpcs[route.policy.path]) for route in routes.all
        }
        self._settlements = Settlements(feed, reads)
        self._kept, self._settled = kept, settled
        self._streams = streams
        self._preconditions = Preconditions(routes.readers, self._rpcs)
        self._turns = Places(_AT_ONCE, tenant_turns, WAITING, WAITED, TooManyAtOnce)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Whatever happens, it is answered, and with its own request id."""
        started = time.monotonic()
        request = HttpRequest(scope, receive)
        tracing.follow(request.traceparent)
        patience.begin()
        self._room -= 1
        try:
            answer = await self._answer_or_error(request)
            # Before it is sent: a stream may go on for days.
            seconds = time.monotonic() - started
            with_body = request.method != "HEAD"
            await answer.send(send, request.request_id, request.rate_headers, with_body=with_body)
        finally:
            self._room += 1
        self._metrics.observe(request, answer.status, seconds)
        _record(request, answer.status, seconds)

    async def _answer_or_error(self, request: HttpRequest) -> Sendable:
        try:
            return await self._answer(request)
        except DomainError as error:
            return error_answer(error, request.path)
        except Exception:
            log.exception("request broke", request_id=request.request_id, path=request.path)
            return internal_answer(request.path)

    async def _answer(self, request: HttpRequest) -> Sendable:
        if self._room < 0:
            raise TooManyAtOnce
        match = self._routes.find(request.path)
        route = match.route(request.method) if match else None
        client = await self._admit(request, match, route)
        if match is None:
            raise UnknownPath
        if request.method == "OPTIONS":
            return Answer(HTTPStatus.NO_CONTENT, [(b"allow", _allow(match).encode())])
        if isinstance(client, DomainError):
            raise client
        if route is None:
            raise MethodNotAllowed(_allow(match))
        request.route = route
        self._refuse_forged(request, client)
        if not route.policy.lets_in(client.caller):
            raise NotPermitted(route.policy.permission)
        become(dataclasses.replace(client.caller, request_id=request.request_id))
        agent = request.user_agent.decode("latin-1")
        origin.come_from(Place(address=request.address, agent=agent))
        return await self._run(route, match.values, request)

    async def _admit(
        self, request: HttpRequest, match: Match | None, route: Route | None
    ) -> Client | DomainError:
        """Who asks, or why that is not known; counted in either case.

        Raises:
            RateLimited: they have asked too often.
        """
        template = match.template if match else _UNKNOWN
        if route is not None and route.policy.access is Access.ANYBODY:
            await self._limits.take(request, None, template, route.policy.rate_cost)
            return STRANGER
        try:
            client = await self._credentials.client_of(request)
        except DomainError as error:
            # Nothing heavy is done for them.
            await self._limits.take(request, None, template, 1)
            return error
        await self._limits.take(request, client, template, route.policy.rate_cost if route else 1)
        return client

    def _refuse_forged(self, request: HttpRequest, client: Client) -> None:
        """Let no page of others act for whoever is logged in, nor log somebody in."""
        if client.session is not None:
            self._origins.refuse_others(request)
            refuse_without_token(request, client.session)
        elif client is STRANGER:
            self._origins.refuse_others(request)

    async def _run(self, route: Route, values: tuple[str, ...], request: HttpRequest) -> Sendable:
        started = time.monotonic()
        message = await read_message(route, values, request)
        request.refuse_senseless()
        if request.wants_stream and route.policy.path in self._streams:
            client = partial(self._credentials.client_of, request)
            return await self._streams[route.policy.path](message, request, client)
        if route.policy.cache_seconds is not None:
            read = partial(self._read, route, message, request)
            shown = await self._kept.remember(route, message, read)
            return _record_answer(route, shown, (), request)
        guarded = await self._preconditions.guard(route, message, request)
        with guarded:
            answer, headers = await self._call(route, message, request)
        if route.policy.settlement is None or request.validate_only:
            return self._success(route, answer, headers, request)
        return await self._settle(route, message, answer, headers, request, started)

    async def _settle(
        self,
        route: Route,
        message: Message,
        answer: Any,
        headers: list[tuple[bytes, bytes]],
        request: HttpRequest,
        started: float,
    ) -> Answer:
        """Answer a command that others have to follow up, after its time if the client waits."""
        settlement, seconds = route.policy.settlement, request.wait_seconds
        assert settlement is not None
        again, asked = _REPLAYED in headers, (route.policy, request.idempotency_key, message)
        if again and answer.awaiting and (settled := await self._settled.find(*asked)):
            answer = settled
        elif seconds is not None and answer.awaiting:
            if self._settlements.can_follow(settlement):
                answer = await self._settlements.follow(settlement, answer, started, seconds, again)
            if answer.awaiting:
                return json_answer(202, route.write(answer), headers)
            answer = await self._settled.keep(*asked, answer)
        if seconds is not None:
            headers.append((b"preference-applied", b"wait=%d" % seconds))
        return self._success(route, answer, headers, request)

    def _success(
        self,
        route: Route,
        answer: Message,
        headers: list[tuple[bytes, bytes]],
        request: HttpRequest,
    ) -> Answer:
        if request.validate_only:
            headers.append(_VALIDATED)
        if route.success == HTTPStatus.NO_CONTENT:
            return Answer(HTTPStatus.NO_CONTENT, headers)
        # A state that was only tried is nowhere, so it has no ETag.
        if route.record not in self._routes.records or request.validate_only:
            return json_answer(route.success, kept(route.write(answer), request.mask), headers)
        return _record_answer(route, Representation.of(route.write(answer)), headers, request)

    async def _read(self, route: Route, message: Message, request: HttpRequest) -> Representation:
        answer, _ = await self._call(route, message, request)
        return Representation.of(route.write(answer))

    async def _call(
        self, route: Route, message: Message, request: HttpRequest
    ) -> tuple[Any, list[tuple[bytes, bytes]]]:
        """The service's answer, and the headers that its trailers become."""
        try:
            answer, carried = await self._ask(route, message, request)
        finally:
            await self._kept.outdate(route, message)
        if written := carried.get(trailers.CONSISTENCY_TOKEN):
            known = request.consistency_token
            carried[trailers.CONSISTENCY_TOKEN] = consistency.merge_tokens(known, written)
        return answer, [
            (header, carried[name].encode())
            for name, header in _HEADER_OF_TRAILER.items()
            if name in carried
        ]

    async def _ask(self, route: Route, message: Message, request: HttpRequest) -> Any:
        rpc, timeout = self._rpcs[route.policy.path], self._timeout_seconds
        metadata = _metadata(route, request)
        ask = partial(rpc.with_trailers, message, metadata=metadata, timeout=timeout)
        may_repeat = request.idempotency_key or request.validate_only
        # Whoever sends many at once waits here, where that costs nobody else a thing.
        async with self._turns.one_for(caller.current().tenant_id or _NO_TENANT):
            return await (until_answered(ask) if may_repeat else ask())


def _metadata(route: Route, request: HttpRequest) -> list[tuple[str, str]]:
    pairs = []
    token = request.consistency_token
    reads = route.policy.idempotency is Idempotency.NO_SIDE_EFFECTS
    # What is kept for others must be as fresh as the primary.
    if reads and route.policy.cache_seconds is None:
        # An empty one says: any replica will do. Who sends none is answered by the primary.
        pairs.append((trailers.CONSISTENCY_TOKEN, token))
    if request.validate_only:
        pairs.append((rehearsal.VALIDATE_ONLY, "true"))
    elif key := request.idempotency_key:
        pairs.append((IDEMPOTENCY_KEY, key))
    if request.repeats_only:
        pairs.append((REPEATS_ONLY, "true"))
    if route.service == _OWN:
        pairs += visit_metadata(request)
    return pairs


def _record(request: HttpRequest, status: int, seconds: float) -> None:
    template = request.route.template if request.route else _UNKNOWN
    name = f"{request.method} {template}" if request.route else "unknown"
    attributes: dict[str, str | int] = {
        "http.request.method": request.method,
        "http.route": template,
        "http.response.status_code": status,
        "kv_erp.request_id": request.request_id,
    }
    failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    spans.record(name, Kind.SERVER, tracing.current(), seconds, attributes, failed=failed)
    log.info(
        "request",
        request_id=request.request_id,
        method=request.method,
        path=request.path,
        route=template,
        status=status,
        duration_ms=round(seconds * 1000, 2),
    )


def _rpc(route: Route, channels: Mapping[str, Channel]) -> Rpc:
    serialize: Callable[[Any], bytes] = route.policy.request.SerializeToString
    return channels[route.service].unary_unary(
        route.policy.path, serialize, route.policy.response.FromString
    )


def _allow(match: Match) -> str:
    methods = {*match.routes, "OPTIONS", *(["HEAD"] if "GET" in match.routes else [])}
    return ", ".join(sorted(methods))


def _record_answer(
    route: Route, shown: Representation, headers: Headers, request: HttpRequest
) -> Answer:
    etag, body = shown.masked(request.mask) if request.mask else shown
    if route.verb == "GET" and is_known(etag, request.if_none_match):
        return not_modified(etag)
    return resource_answer(route.success, body, etag, headers)
