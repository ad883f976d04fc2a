"""Customers in files over gRPC: wire in, wire out."""

from typing import Any

from common.database import Database
from common.files.desk import ExportDesk, ImportDesk
from common.files.imports import listed_by
from erp.bulk.v1 import bulk_pb2 as pb
from erp.sales.v1 import customer_file_service_pb2 as messages
from erp.sales.v1 import customer_file_service_pb2_grpc as rpc
from erp.sales.v1.jobs_pb2 import RunCustomerExport, RunCustomerImport
from sales.customer_files import COLUMNS

_LIST = listed_by(messages.ListCustomerImportsRequest)


class CustomerFileServiceServicer(rpc.CustomerFileServiceServicer):
    """What files hold is told in customer_files.py."""

    def __init__(self, database: Database) -> None:
        self._imports = ImportDesk(database, COLUMNS, RunCustomerImport, _LIST)
        self._exports = ExportDesk(database, RunCustomerExport)

    async def CreateCustomerImport(
        self, request: messages.CreateCustomerImportRequest, context: Any
    ) -> pb.Import:
        """Reads a file in."""
        return await self._imports.create(request)

    async def GetCustomerImport(
        self, request: messages.GetCustomerImportRequest, context: Any
    ) -> pb.Import:
        """Tells how far an import has come."""
        return await self._imports.get(request)

    async def ListCustomerImports(
        self, request: messages.ListCustomerImportsRequest, context: Any
    ) -> messages.ListCustomerImportsResponse:
        """Lists imports."""
        return messages.ListCustomerImportsResponse(**await self._imports.list(request))

    async def CreateCustomerExport(
        self, request: messages.CreateCustomerExportRequest, context: Any
    ) -> pb.Export:
        """Writes a file."""
        return await self._exports.create(request)

    async def GetCustomerExport(
        self, request: messages.GetCustomerExportRequest, context: Any
    ) -> pb.Export:
        """Tells how far an export has come, and gives a part of its file."""
        return await self._exports.get(request)
