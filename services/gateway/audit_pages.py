"""The audit logs of all services as one."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from erp.audit.v1 import audit_log_pb2 as log_pb
from erp.audit.v1.audit_pb2 import Violation
from erp.gateway.v1 import audit_service_pb2 as pb
from gateway.service_desk import ServiceDesk

__all__ = ["AuditLogs"]

# What the check of all promises looks at; the whole log has a check of its own.
_NEWEST_SEALS = 20


class AuditLog(Protocol):
    """The audit log of one service."""

    def ListEntries(self, request: log_pb.ListEntriesRequest) -> Awaitable[Any]: ...  # noqa: N802 (named by gRPC)

    def VerifySeals(self, request: log_pb.VerifySealsRequest) -> Awaitable[Any]: ...  # noqa: N802 (named by gRPC)


class AuditLogs:
    """Reads for the caller's tenant.

    Args:
        logs: the audit log of each service, by its name.
    """

    def __init__(self, logs: Mapping[str, AuditLog]) -> None:
        self._desk = ServiceDesk(logs)

    async def page(self, request: pb.ListAuditEntriesRequest) -> pb.ListAuditEntriesResponse:
        """A page of entries, the newest first: their ids are ordered by time in every service.

        Raises:
            InvalidRequest: the token, the filter or the order is wrong.
            Unavailable: a service is away; a page never leaves out what belongs on it.
        """
        asked = log_pb.ListEntriesRequest()
        return await self._desk.page(request, asked, pb.ListAuditEntriesResponse)

    async def verify(self) -> pb.VerifyAuditLogResponse:
        """What all seals of all services say."""
        found = await asyncio.gather(*(self._verify(service) for service in self._desk.names))
        answer = pb.VerifyAuditLogResponse()
        for one in found:
            answer.MergeFrom(one)
        return answer

    async def violations(self) -> list[Violation]:
        """Where the newest seals of a service do not fit, as a broken promise."""
        request = log_pb.VerifySealsRequest(newest=_NEWEST_SEALS)
        answers = await asyncio.gather(
            *(self._desk.call(service, request) for service in self._desk.names)
        )
        return [
            Violation(
                rule="audit_log_untouched",
                service=service,
                ids=[str(seal.number) for seal in answer.broken],
                detail=answer.broken[0].detail,
            )
            for service, answer in zip(self._desk.names, answers, strict=True)
            if answer.broken
        ]

    async def _verify(self, service: str) -> pb.VerifyAuditLogResponse:
        found = pb.VerifyAuditLogResponse()
        request = log_pb.VerifySealsRequest()
        while True:
            answer = await self._desk.call(service, request)
            found.broken.extend(
                pb.BrokenSeal(service=service, number=seal.number, detail=seal.detail)
                for seal in answer.broken
            )
            if not answer.has_more:
                newest = pb.AuditSeal(service=service, number=answer.number, hash=answer.hash)
                found.seals.append(newest)
                return found
            request.after = answer.number
