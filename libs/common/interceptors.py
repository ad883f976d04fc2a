"""What happens to every call between the wire and its handler."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import grpc
import grpc.aio
import structlog
from google.protobuf.message import Message

from common import (
    consistency,
    deadline,
    ids,
    origin,
    rehearsal,
    spans,
    tracing,
    trailers,
    validation,
)
from common.caller import Caller, become, current_or_none
from common.consistency import Reading
from common.errors import (
    DomainError,
    InvalidRequest,
    NotFound,
    NotPermitted,
    OutcomeUnknown,
    StatusCode,
    Unauthenticated,
    Unavailable,
)
from common.fair_share import Calls
from common.identity import Verifier
from common.metrics import RpcMetrics
from common.repetitions import (
    IDEMPOTENCY_KEY,
    REPEATS_ONLY,
    CarryOut,
    Repetitions,
    refuse_first,
)
from common.replicas import ReplicaFailed
from common.rpc_policy import Idempotency, RpcPolicy
from common.spans import Kind
from common.status import DETAILS, Status, to_status, unexpected

__all__ = ["Interceptor"]

log = structlog.get_logger()

Behaviour = Callable[[Any, Any], Awaitable[Message]]

# Open to anybody: they tell nothing about any tenant.
_OPEN = ("/grpc.health.v1.", "/grpc.reflection.")
_BEARER = "Bearer "
# gRPC itself says so when it sends a call again.
_PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"
# What OpenTelemetry counts as a failure of the server.
_FAULTS = frozenset(
    "UNKNOWN DEADLINE_EXCEEDED UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS".split()
)
_CODES = {code.value[0]: code for code in StatusCode}


class _Owed(NamedTuple):
    """What a caller waits for, and of which rpc."""

    reply: asyncio.Future[Message | Status]
    policy: RpcPolicy


class Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Verifies, checks, times and records every call, and outlives the client that made it."""

    def __init__(
        self,
        service: str,
        policies: Mapping[str, RpcPolicy],
        verifier: Verifier,
        timeout_seconds: float,
        most_calls: int = 512,
        repetitions: Repetitions | None = None,
    ) -> None:
        """Guard the rpcs of a service.

        Args:
            service: its name, which errors and metrics carry.
            policies: its rpcs by path; no other is served.
            verifier: believes the callers.
            timeout_seconds: time for a call that brings no deadline.
            most_calls: how many calls of one tenant are worked on at the same time.
            repetitions: recognises calls that come again; without it all are new.
        """
        self._repetitions = repetitions
        self._service = service
        self._policies = policies
        self._verifier = verifier
        self._timeout_seconds = timeout_seconds
        self._calls = Calls(service, most_calls)
        self._metrics = RpcMetrics(service)
        self._handlers: dict[str, Any] = {}
        self._running: dict[asyncio.Task[Message | Status], _Owed] = {}

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        """The guarded handler of an rpc, None (unimplemented) when the rpc has no policy."""
        known = self._handlers.get(details.method)
        if known is not None:
            return known
        handler = await continuation(details)
        if details.method.startswith(_OPEN):
            return handler
        policy = self._policies.get(details.method)
        if handler is None or policy is None or not _is_async_unary(handler):
            return None
        self._handlers[details.method] = guarded = grpc.unary_unary_rpc_method_handler(
            self._guard(policy, handler.unary_unary),
            handler.request_deserializer,
            handler.response_serializer,
        )
        return guarded

    def let_go(self) -> None:
        """Answer the calls that still run, at the end of the grace; their handlers run on.

        gRPC would cancel them, as if their callers had.
        """
        for reply, policy in self._running.values():
            if not reply.done():
                lost = Unavailable(self._service) if policy.repeatable else OutcomeUnknown()
                reply.set_result(to_status(lost, self._service))

    async def finished(self, timeout_seconds: float) -> bool:
        """Whether all handlers end in this time, also those whose clients have gone."""
        if not self._running:
            return True
        _, late = await asyncio.wait(self._running, timeout=timeout_seconds)
        return not late

    def _done(self, task: asyncio.Task[Message | Status]) -> None:
        del self._running[task]
        self._metrics.running.dec()

    def _guard(self, policy: RpcPolicy, behaviour: Behaviour) -> Behaviour:
        async def answer(request: Message, context: Any) -> Message:
            # A task of its own, shielded: a client that hangs up must not cancel a transaction.
            task = asyncio.create_task(self._serve(policy, behaviour, request, context))
            reply = asyncio.shield(task)
            self._running[task] = _Owed(reply, policy)
            self._metrics.running.inc()
            task.add_done_callback(self._done)
            outcome = await reply
            if isinstance(outcome, Status):
                await _refuse(context, outcome)
            return outcome

        return answer

    async def _serve(
        self, policy: RpcPolicy, behaviour: Behaviour, request: Message, context: Any
    ) -> Message | Status:
        started = time.perf_counter()
        metadata = dict(context.invocation_metadata())
        request_id = metadata.get("x-request-id") or str(ids.new())
        tracing.follow(metadata.get("traceparent"))
        if _PREVIOUS_ATTEMPTS in metadata:
            self._metrics.retried(policy.path)
        outcome: Message | Status
        carried, written = trailers.collect(), consistency.collect()
        try:
            caller = self._identify(metadata, request_id)
            become(caller)
            origin.come_from(origin.place_of(policy.path, metadata))
            deadline.start(self._seconds_left(context))
            with self._calls.one_of(caller):
                _permit(policy, caller)
                validation.check(request)
                carry_out = partial(behaviour, request, context)
                outcome = await self._answer(policy, request, metadata, carry_out)
            if written:
                trailers.add(trailers.CONSISTENCY_TOKEN, consistency.write_token(written))
            if carried:
                context.set_trailing_metadata(tuple(carried.items()))
        except Exception as error:  # noqa: BLE001 (every failure becomes a status here)
            outcome = self._status_of(error, policy, request_id)
        self._record(policy, outcome, request_id, time.perf_counter() - started)
        return outcome

    async def _answer(
        self, policy: RpcPolicy, request: Message, metadata: Mapping[str, str], carry_out: CarryOut
    ) -> Message:
        if policy.idempotency is Idempotency.NO_SIDE_EFFECTS:
            with consistency.reading(_reading(metadata)):
                return await _read(carry_out)
        if metadata.get(rehearsal.VALIDATE_ONLY):
            # Its key is not looked at: in earnest it may come again under the same one.
            with rehearsal.rehearsing():
                return await carry_out()
        if self._repetitions is None:
            return await carry_out()
        key = metadata.get(IDEMPOTENCY_KEY)
        if metadata.get(REPEATS_ONLY):
            carry_out = refuse_first
        return await self._repetitions.answer(policy, request, key, carry_out)

    def _identify(self, metadata: Mapping[str, str], request_id: str) -> Caller:
        credential = metadata.get("authorization", "")
        if not credential.startswith(_BEARER):
            raise Unauthenticated("The call carries no internal identity.")
        caller = self._verifier.verify(credential[len(_BEARER) :], request_id)
        tenant = metadata.get("x-tenant-id")
        if tenant and tenant != str(caller.tenant_id):
            raise Unauthenticated("x-tenant-id is not the tenant of the internal identity.")
        return caller

    def _seconds_left(self, context: Any) -> float:
        left: float | None = context.time_remaining()
        return self._timeout_seconds if left is None else left

    def _status_of(self, error: Exception, policy: RpcPolicy, request_id: str) -> Status:
        if isinstance(error, DomainError):
            try:
                return to_status(error, self._service)
            except Exception as worse:  # noqa: BLE001 (an error whose text cannot be made is one of ours)
                error = worse
        log.error("rpc broke", method=policy.path, request_id=request_id, exc_info=error)
        return unexpected(self._service, request_id)

    def _record(
        self, policy: RpcPolicy, outcome: Message | Status, request_id: str, seconds: float
    ) -> None:
        code = _CODES[outcome.code].name if isinstance(outcome, Status) else "OK"
        self._metrics.observe(policy.path, code, seconds)
        attributes: dict[str, str | int] = {
            "rpc.system": "grpc",
            "rpc.method": policy.path[1:],
            "rpc.response.status_code": code,
            "kv_erp.request_id": request_id,
        }
        failed = code in _FAULTS
        name, trace = policy.path[1:], tracing.current()
        spans.record(name, Kind.SERVER, trace, seconds, attributes, failed=failed)
        # Services ask each other for news all the time, which is counted; all else leaves a line.
        write = log.debug if code == "OK" and _is_look(policy) else log.info
        write(
            "rpc",
            method=policy.path,
            status=code,
            duration_ms=round(seconds * 1000, 2),
            request_id=request_id,
        )


def _is_look(policy: RpcPolicy) -> bool:
    """Whether a service only looks, on its own account."""
    reads = policy.idempotency is Idempotency.NO_SIDE_EFFECTS
    who = current_or_none()
    return reads and policy.internal and who is not None and who.subject.startswith("service:")


def _reading(metadata: Mapping[str, str]) -> Reading | None:
    """How fresh a call's reads must be: the gateway alone says so, on behalf of a client."""
    token = metadata.get(trailers.CONSISTENCY_TOKEN)
    if token is None:
        return None
    try:
        return Reading(consistency.parse_token(token))
    except ValueError as error:
        raise InvalidRequest.of(trailers.CONSISTENCY_TOKEN, str(error)) from None


async def _read(carry_out: CarryOut) -> Message:
    try:
        return await carry_out()
    except (ReplicaFailed, NotFound):
        reading = consistency.current_reading()
        if reading is None or not reading.from_replica:
            raise
    # It only reads, so it may run twice; what a replica did not find may be there by now.
    with consistency.reading(None):
        return await carry_out()


def _permit(policy: RpcPolicy, caller: Caller) -> None:
    if not policy.lets_in(caller):
        raise NotPermitted(policy.permission)


def _is_async_unary(handler: Any) -> bool:
    # The methods of a generated servicer that nobody has overridden are plain functions.
    return handler.unary_unary is not None and asyncio.iscoroutinefunction(handler.unary_unary)


async def _refuse(context: Any, status: Status) -> None:
    await context.abort(
        _CODES[status.code], status.message[:300], ((DETAILS, status.SerializeToString()),)
    )
