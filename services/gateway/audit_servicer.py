"""Wire in, wire out: the audit log over all services."""

from typing import Any

from erp.gateway.v1 import audit_service_pb2 as pb
from erp.gateway.v1 import audit_service_pb2_grpc as rpc
from gateway.audit_pages import AuditLogs


class AuditServicer(rpc.AuditServiceServicer):
    """Who changed what."""

    def __init__(self, logs: AuditLogs) -> None:
        self._logs = logs

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Any
    ) -> pb.ListAuditEntriesResponse:
        """A page of changes."""
        return await self._logs.page(request)

    async def VerifyAuditLog(
        self, request: pb.VerifyAuditLogRequest, context: Any
    ) -> pb.VerifyAuditLogResponse:
        """Compare entries with their seals."""
        return await self._logs.verify()
