"""Wire in, wire out: all that the system holds of a company."""

from typing import Any

from common import ids
from common.database import Database
from erp.gateway.v1 import tenant_data_pb2 as pb
from erp.gateway.v1 import tenant_data_service_pb2 as api
from erp.gateway.v1 import tenant_data_service_pb2_grpc as rpc
from gateway import deletions, tenant_exports
from gateway.operators import Operators

__all__ = ["TenantDataServicer"]


class TenantDataServicer(rpc.TenantDataServiceServicer):
    """What a company takes along or leaves. Every rule lives in tenant_exports and deletions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._operators = Operators(database)

    async def CreateTenantExport(
        self, request: api.CreateTenantExportRequest, context: Any
    ) -> pb.TenantExport:
        """Have the caller's company written to an archive."""
        return await self._database.run(tenant_exports.create)

    async def GetTenantExport(
        self, request: api.GetTenantExportRequest, context: Any
    ) -> pb.TenantExport:
        """Tell how far an export is."""
        export_id = ids.parse(request.id, "id")
        return await self._database.read(lambda tx: tenant_exports.get(tx, export_id, request.part))

    async def ExportTenant(self, request: api.ExportTenantRequest, context: Any) -> pb.TenantExport:
        """Have any company written to an archive."""
        tenant_id = ids.parse(request.tenant_id, "tenant_id")
        return await self._operators.export(tenant_id, request.reason)

    async def GetExportOfTenant(
        self, request: api.GetExportOfTenantRequest, context: Any
    ) -> pb.TenantExport:
        """Tell how far an export of any company is."""
        tenant_id = ids.parse(request.tenant_id, "tenant_id")
        export_id = ids.parse(request.id, "id")
        return await self._operators.look_at_export(tenant_id, export_id, request.part)

    async def DeleteTenant(
        self, request: api.DeleteTenantRequest, context: Any
    ) -> pb.TenantDeletion:
        """Delete a company."""
        tenant = await self._operators.look_at(ids.parse(request.id, "id"))
        asked = (tenant, request.confirm_slug, request.reason)
        return await self._database.run(lambda tx: deletions.request(tx, *asked))

    async def GetTenantDeletion(
        self, request: api.GetTenantDeletionRequest, context: Any
    ) -> pb.TenantDeletion:
        """Tell how far a deletion is."""
        tenant_id = ids.parse(request.id, "id")
        return await self._database.read(lambda tx: deletions.get(tx, tenant_id))
