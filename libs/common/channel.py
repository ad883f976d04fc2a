"""How one service calls another: identity, deadline, retries and errors on every call."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from prometheus_client import Counter

from common import caller, consistency, deadline, origin, rehearsal, tracing, trailers
from common.certificates import CertificateFiles
from common.deadline import DeadlineExceeded
from common.errors import DomainError, OutcomeUnknown, StatusCode, Unavailable
from common.identity import Minter
from common.lines import Lines
from common.rpc_policy import RpcPolicy
from common.status import error_from, status_of

__all__ = ["KEEPALIVE_SECONDS", "MESSAGE_BYTES", "Channel", "Rpc", "connect"]

MESSAGE_BYTES = 8 * 1024 * 1024
KEEPALIVE_SECONDS = 30
# What a hop takes off the deadline, so that the callee gives up before its caller does.
_HOP_SECONDS = 0.02
_DEFAULT_SECONDS = 10.0

# What gRPC itself says when a server is away. One that is ending also cancels the calls that it has
# not begun, and at the end of its grace those that run (grpc/grpc#41785). What the caller cancels
# never comes here: its task is cancelled.
_LOST = (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)

_CALLS = Counter("kv_erp_channel_calls_total", "Calls to other services.", ["target", "code"])

Metadata = Sequence[tuple[str, str]]


def connect(
    target: str,
    service: str,
    minter: Minter,
    policies: Mapping[str, RpcPolicy],
    connections: int = 1,
    certificates: CertificateFiles | None = None,
) -> "Channel":
    """A channel to a service, for its generated stub, whose methods then take a request and answer.

    Args:
        target: host:port, or dns:///name:port for all addresses of a name in turn.
        service: its name, the audience of our tokens.
        minter: signs who is calling.
        policies: its rpcs; they say which calls may be repeated.
        connections: how many to keep, to reach several processes behind one address.
        certificates: ours, which the service wants to see; without them calls are in the clear.
    """
    lines = Lines(target, service, _options(policies), connections, certificates)
    return Channel(service, minter, policies, lines)


class Channel:
    """Connections to one service, in the shape that generated stubs expect."""

    def __init__(
        self,
        service: str,
        minter: Minter,
        policies: Mapping[str, RpcPolicy],
        lines: Lines,
    ) -> None:
        self.service = service
        self._minter = minter
        self._policies = policies
        self._lines = lines

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = None,
    ) -> "Rpc":
        """One rpc of the service; generated stubs call this."""
        policy = self._policies.get(method)

        def make(line: grpc.aio.Channel) -> Any:
            return line.unary_unary(method, request_serializer, response_deserializer)

        repeatable = policy is not None and policy.repeatable
        return Rpc(self.service, self._minter, repeatable, self._lines, make)

    async def close(self) -> None:
        """Hang up."""
        await self._lines.close()


class Rpc:
    """One method of another service, called for the current caller within the current deadline."""

    def __init__(
        self,
        service: str,
        minter: Minter,
        repeatable: bool,
        lines: Lines,
        make: Callable[[grpc.aio.Channel], Any],
    ) -> None:
        self._service = service
        self._minter = minter
        self._repeatable = repeatable
        self._lines = lines
        self._make = make
        self._made_for = lines.current()
        self._callables = [make(line) for line in self._made_for]
        self._turn = 0
        self._succeeded = _CALLS.labels(service, "OK")

    async def __call__(
        self,
        request: Message,
        *,
        metadata: Metadata = (),
        timeout: float | None = None,  # noqa: ASYNC109 (as generated stubs name it; gRPC keeps it)
    ) -> Any:
        """The answer to a request.

        Args:
            request: the request message.
            metadata: pairs to send along, such as the idempotency key.
            timeout: seconds, in place of what the current deadline leaves.

        Raises:
            DomainError: the other service's own error, or why there was no answer.
        """
        call = self._start(request, metadata, timeout)
        try:
            answer = await call
            self._succeeded.inc()
            await _note_written(call)
        except grpc.aio.AioRpcError as error:
            raise self._explain(error) from None
        return answer

    async def with_trailers(
        self,
        request: Message,
        *,
        metadata: Metadata = (),
        timeout: float | None = None,  # noqa: ASYNC109 (as generated stubs name it; gRPC keeps it)
    ) -> tuple[Any, dict[str, str]]:
        """The answer and the metadata that came after it; otherwise as calling it."""
        call = self._start(request, metadata, timeout)
        try:
            answer = await call
            self._succeeded.inc()
            return answer, dict(await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            raise self._explain(error) from None

    def _start(self, request: Message, metadata: Metadata, timeout: float | None) -> Any:
        if timeout is None:
            timeout = deadline.remaining(_DEFAULT_SECONDS + _HOP_SECONDS) - _HOP_SECONDS
        if self._made_for is not (lines := self._lines.current()):
            self._made_for = lines
            self._callables = [self._make(line) for line in lines]
        self._turn = (self._turn + 1) % len(self._callables)
        return self._callables[self._turn](
            request, timeout=timeout, metadata=self._metadata(metadata)
        )

    def _metadata(self, extra: Metadata) -> grpc.aio.Metadata:
        who = caller.current()
        pairs = [
            ("authorization", "Bearer " + self._minter.mint(who, self._service)),
            ("x-request-id", who.request_id),
            *origin.metadata(),
            *extra,
        ]
        if who.tenant_id is not None:
            pairs.append(("x-tenant-id", str(who.tenant_id)))
        if rehearsal.current() is not None:
            pairs.append((rehearsal.VALIDATE_ONLY, "true"))
        trace = tracing.current()
        if trace is not None:
            pairs.append(("traceparent", trace.header))
        return grpc.aio.Metadata(*pairs)

    def _explain(self, error: grpc.aio.AioRpcError) -> DomainError:
        code, status = error.code(), status_of(error)
        _CALLS.labels(self._service, code.name).inc()
        if status.details:
            return error_from(status)
        if code is StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(self._service)
        if code in _LOST:
            return (
                Unavailable(self._service)
                if self._repeatable or _never_sent(error)
                else OutcomeUnknown()
            )
        return error_from(status)


async def _note_written(call: Any) -> None:
    """Let the answer at hand carry how far the other service has written for it."""
    if not consistency.collecting():
        return
    for name, value in await call.trailing_metadata() or ():
        if name == trailers.CONSISTENCY_TOKEN:
            consistency.fold_in(value)


def _never_sent(error: grpc.aio.AioRpcError) -> bool:
    # gRPC tells the two kinds of UNAVAILABLE apart by text only.
    details = (error.details() or "").lower()
    return "failed to connect" in details or "connections to all backends failing" in details


def _options(policies: Mapping[str, RpcPolicy]) -> list[tuple[str, Any]]:
    return [
        ("grpc.service_config", json.dumps(_service_config(policies))),
        # Processes behind one address are told apart by connection, so channels must not share any.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A server that has come back is to be found within a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ]


def _service_config(policies: Mapping[str, RpcPolicy]) -> dict[str, Any]:
    repeatable = [policy.path.split("/") for policy in policies.values() if policy.repeatable]
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": [code.name for code in _LOST],
    }
    names = [{"service": service, "method": method} for _, service, method in repeatable]
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": names, "retryPolicy": retry}] if names else [],
        # The budget: a failure costs one, a success returns a tenth, below half nobody retries.
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.1},
    }
