"""The audit logs of all services as one."""

import asyncio
import heapq
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from common import caller, ids
from common.caller import acting_as, service_caller
from common.errors import InvalidRequest
from common.pagination import Page
from erp.audit.v1 import audit_log_pb2 as log_pb
from erp.audit.v1.audit_pb2 import Violation
from erp.gateway.v1 import audit_service_pb2 as pb

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
        self._logs = logs

    async def page(self, request: pb.ListAuditEntriesRequest) -> pb.ListAuditEntriesResponse:
        """A page of entries, the newest first: their ids are ordered by time in every service.

        Raises:
            InvalidRequest: the token is not one that this list gave out.
            Unavailable: a service is away; a page never leaves out what belongs on it.
        """
        page = Page.from_wire(request)
        asked = log_pb.ListEntriesRequest(
            before_id=_before(page),
            kind=request.kind,
            record_id=request.record_id,
            actor=request.actor,
            limit=page.size + 1,
        )
        for name in ("start_time", "end_time"):
            if request.HasField(name):
                getattr(asked, name).CopyFrom(getattr(request, name))
        with _on_own_account():
            answers = await asyncio.gather(*(log.ListEntries(asked) for log in self._logs.values()))
        streams = [answer.entries for answer in answers]
        merged: Any = list(heapq.merge(*streams, key=lambda entry: entry.id, reverse=True))
        entries: Any
        entries, next_page = page.cut(merged, "id")
        return pb.ListAuditEntriesResponse(audit_entries=entries, next_page_token=next_page)

    async def verify(self) -> pb.VerifyAuditLogResponse:
        """What all seals of all services say."""
        with _on_own_account():
            found = await asyncio.gather(*(self._verify(service) for service in self._logs))
        answer = pb.VerifyAuditLogResponse()
        for one in found:
            answer.MergeFrom(one)
        return answer

    async def violations(self) -> list[Violation]:
        """Where the newest seals of a service do not fit, as a broken promise."""
        request = log_pb.VerifySealsRequest(newest=_NEWEST_SEALS)
        with _on_own_account():
            answers = await asyncio.gather(
                *(log.VerifySeals(request) for log in self._logs.values())
            )
        return [
            Violation(
                rule="audit_log_untouched",
                service=service,
                ids=[str(seal.number) for seal in answer.broken],
                detail=answer.broken[0].detail,
            )
            for service, answer in zip(self._logs, answers, strict=True)
            if answer.broken
        ]

    async def _verify(self, service: str) -> pb.VerifyAuditLogResponse:
        found = pb.VerifyAuditLogResponse()
        request = log_pb.VerifySealsRequest()
        while True:
            answer = await self._logs[service].VerifySeals(request)
            found.broken.extend(
                pb.BrokenSeal(service=service, number=seal.number, detail=seal.detail)
                for seal in answer.broken
            )
            if not answer.has_more:
                newest = pb.AuditSeal(service=service, number=answer.number, hash=answer.hash)
                found.seals.append(newest)
                return found
            request.after = answer.number


def _before(page: Page) -> str:
    if page.after is None:
        return ""
    try:
        return str(ids.parse(page.after[0], "page_token"))
    except InvalidRequest:
        rule = "is not a token that this list gave out"
        raise InvalidRequest.of("/page_token", rule) from None


@contextmanager
def _on_own_account() -> Iterator[None]:
    who = caller.current()
    with acting_as(service_caller("gateway", who.tenant_id, who.request_id)):
        yield
