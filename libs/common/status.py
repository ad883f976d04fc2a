"""google.rpc.Status: how an error travels between processes."""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from common.errors import DomainError, InvalidField, InvalidRequest, NotFound, StatusCode

__all__ = ["DETAILS", "RemoteError", "Status", "error_from", "status_of", "to_status", "unexpected"]

# The metadata key under which gRPC carries a Status.
DETAILS = "grpc-status-details-bin"

_CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}
# gRPC refuses trailing metadata of 8 KB, and base64 makes a third more of these.
_MESSAGE_BYTES = 800
_VALUE_BYTES = 300
_DETAIL_BYTES = 3500
_VIOLATIONS = 20


class RemoteError(DomainError):
    """Another service's error, passed on exactly as it was received."""

    def __init__(self, wire: Status) -> None:
        super().__init__()
        self.wire = wire
        details = _details(wire)
        info = details.get(ErrorInfo, ErrorInfo())
        retry = details.get(RetryInfo)
        self._values = dict(info.metadata)
        self.domain = info.domain
        self.violations = _violations(details.get(BadRequest, BadRequest()))
        # Past the class variables of DomainError: here they are those of one error.
        vars(self).update(
            status=_CODES.get(wire.code, StatusCode.UNKNOWN),
            detail=wire.message,
            reason=info.reason or Code.Name(wire.code),
            retry_after_seconds=retry.retry_delay.ToTimedelta().total_seconds() if retry else None,
        )

    def __str__(self) -> str:
        return str(self.wire.message)

    def values(self) -> dict[str, str]:
        """The values that the other service gave."""
        return self._values


def to_status(error: DomainError, service: str) -> Status:
    """The status that tells a caller everything about an error of this service."""
    if isinstance(error, RemoteError):
        return error.wire
    status = Status(code=error.status.value[0], message=_cut(str(error), _MESSAGE_BYTES))
    for detail in _describe(error, f"{service}.kv-erp"):
        status.details.add().Pack(detail)
    return status


def unexpected(service: str, request_id: str) -> Status:
    """The status for an error that is a fault of ours: it says nothing but where to look."""
    status = Status(code=Code.INTERNAL, message="Something went wrong here. It has been recorded.")
    info = ErrorInfo(
        reason="INTERNAL", domain=f"{service}.kv-erp", metadata={"request_id": request_id}
    )
    status.details.add().Pack(info)
    return status


def status_of(error: grpc.RpcError) -> Status:
    """The status that a failed call brought, made up from code and text when it brought none."""
    trailers: Any = error.trailing_metadata() or ()
    packed = dict(trailers).get(DETAILS)
    if packed:
        try:
            return Status.FromString(packed)
        except DecodeError:
            pass
    return Status(code=error.code().value[0], message=error.details() or "")


def error_from(status: Status) -> RemoteError:
    """The error for a status that another service gave."""
    return RemoteError(status)


def _describe(error: DomainError, domain: str) -> list[Message]:
    if isinstance(error, InvalidRequest):
        return [ErrorInfo(reason=error.reason, domain=domain), _bad_request(error.violations)]
    values = {name: _cut(text, _VALUE_BYTES) for name, text in error.values().items()}
    details: list[Message] = [
        _fitting(ErrorInfo(reason=error.reason, domain=domain, metadata=values))
    ]
    if isinstance(error, NotFound):
        details.append(
            ResourceInfo(resource_type=error.kind, resource_name=_cut(str(error.id), _VALUE_BYTES))
        )
    if error.retry_after_seconds is not None:
        retry = RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        details.append(retry)
    return details


def _bad_request(violations: Sequence[InvalidField]) -> BadRequest:
    bad = BadRequest()
    for item in violations[:_VIOLATIONS]:
        bad.field_violations.add(
            field=_cut(item.pointer, _VALUE_BYTES), description=_cut(item.rule, _VALUE_BYTES)
        )
    while bad.ByteSize() > _DETAIL_BYTES:
        del bad.field_violations[-1]
    return bad


def _fitting(info: ErrorInfo) -> ErrorInfo:
    while info.ByteSize() > _DETAIL_BYTES:
        del info.metadata[max(info.metadata, key=lambda name: len(info.metadata[name]))]
    return info


def _cut(text: str, most_bytes: int) -> str:
    if len(text) * 4 <= most_bytes or len(encoded := text.encode()) <= most_bytes:
        return text
    return encoded[: most_bytes - 3].decode(errors="ignore") + "…"


def _details(status: Status) -> dict[type[Any], Any]:
    known = {kind.DESCRIPTOR.full_name: kind for kind in (ErrorInfo, BadRequest, RetryInfo)}
    details: dict[type[Any], Any] = {}
    for packed in status.details:
        kind = known.get(packed.TypeName())
        if kind is not None:
            details[kind] = kind.FromString(packed.value)
    return details


def _violations(bad: BadRequest) -> list[InvalidField]:
    return [InvalidField(item.field, item.description) for item in bad.field_violations]
