"""Products in files over gRPC: wire in, wire out."""

from typing import Any

from common.database import Database
from common.files.desk import ExportDesk, ImportDesk
from common.files.imports import listed_by
from erp.bulk.v1 import bulk_pb2 as pb
from erp.inventory.v1 import product_file_service_pb2 as messages
from erp.inventory.v1 import product_file_service_pb2_grpc as rpc
from erp.inventory.v1.jobs_pb2 import RunProductExport, RunProductImport
from inventory.product_files import COLUMNS

_LIST = listed_by(messages.ListProductImportsRequest)


class ProductFileServiceServicer(rpc.ProductFileServiceServicer):
    """What files hold is told in product_files.py."""

    def __init__(self, database: Database) -> None:
        self._imports = ImportDesk(database, COLUMNS, RunProductImport, _LIST)
        self._exports = ExportDesk(database, RunProductExport)

    async def CreateProductImport(
        self, request: messages.CreateProductImportRequest, context: Any
    ) -> pb.Import:
        """Reads a file in."""
        return await self._imports.create(request)

    async def GetProductImport(
        self, request: messages.GetProductImportRequest, context: Any
    ) -> pb.Import:
        """Tells how far an import has come."""
        return await self._imports.get(request)

    async def ListProductImports(
        self, request: messages.ListProductImportsRequest, context: Any
    ) -> messages.ListProductImportsResponse:
        """Lists imports."""
        return messages.ListProductImportsResponse(**await self._imports.list(request))

    async def CreateProductExport(
        self, request: messages.CreateProductExportRequest, context: Any
    ) -> pb.Export:
        """Writes a file."""
        return await self._exports.create(request)

    async def GetProductExport(
        self, request: messages.GetProductExportRequest, context: Any
    ) -> pb.Export:
        """Tells how far an export has come, and gives a part of its file."""
        return await self._exports.get(request)
