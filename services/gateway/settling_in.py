"""Which services have made room for a new company: those that have come past its creation."""

import asyncio
from collections.abc import Mapping
from uuid import UUID

import structlog

from common import caller
from common.caller import acting_as, service_caller
from common.errors import DomainError
from erp.audit.v1 import audit_pb2 as pb
from gateway.invariants import Auditor

__all__ = ["SettlingIn"]

SOURCE = "gateway"
# The lane in which all hear of new companies.
LANE = "high"
# A company's first event of all is that it was created.
CREATED = 1

log = structlog.get_logger()


class SettlingIn:
    """Asks the services.

    Args:
        auditors: the services by name.
    """

    def __init__(self, auditors: Mapping[str, Auditor]) -> None:
        self._auditors = auditors

    @property
    def all(self) -> list[str]:
        """The services that make room for each company."""
        return sorted(self._auditors)

    async def awaiting(self, tenant_id: UUID) -> list[str]:
        """Those of the services that have not made room for a company, or cannot be asked."""
        request_id = caller.current().request_id
        with acting_as(service_caller("gateway", tenant_id, request_id)):
            done = await asyncio.gather(*(self._is_done(name) for name in self.all))
        return [name for name, is_done in zip(self.all, done, strict=True) if not is_done]

    async def _is_done(self, service: str) -> bool:
        try:
            answer = await self._auditors[service].ListPositions(pb.ListPositionsRequest())
        except DomainError as error:
            log.warning("cannot ask whether there is room", service=service, error=str(error))
            return False
        return any(
            one.sequence >= CREATED
            for one in answer.positions
            if (one.source, one.listener) == (SOURCE, LANE)
        )
