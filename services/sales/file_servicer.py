"""Customers in files over gRPC: wire in, wire out."""

from typing import Any

from common import ids
from common.database import Database
from common.files import exports, imports
from common.files.exports import CreateExport
from common.files.imports import CreateImport
from common.pagination import Page
from erp.bulk.v1 import bulk_pb2 as pb
from erp.sales.v1 import customer_file_service_pb2 as messages
from erp.sales.v1 import customer_file_service_pb2_grpc as rpc
from erp.sales.v1.jobs_pb2 import RunCustomerExport, RunCustomerImport
from sales.customer_files import COLUMNS


class CustomerFileServiceServicer(rpc.CustomerFileServiceServicer):
    """What files hold is told in customer_files.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def CreateCustomerImport(
        self, request: messages.CreateCustomerImportRequest, context: Any
    ) -> pb.Import:
        """Reads a file in."""
        command = CreateImport.from_wire(request, COLUMNS)
        created = await self._database.run(
            lambda tx: imports.create_import(tx, command, RunCustomerImport)
        )
        return created.to_wire()

    async def GetCustomerImport(
        self, request: messages.GetCustomerImportRequest, context: Any
    ) -> pb.Import:
        """Tells how far an import has come."""
        async with self._database.read_transaction() as tx:
            return (await imports.get_import(tx, ids.parse(request.id, "id"))).to_wire()

    async def ListCustomerImports(
        self, request: messages.ListCustomerImportsRequest, context: Any
    ) -> messages.ListCustomerImportsResponse:
        """Lists imports."""
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await imports.list_imports(tx, page)
        return messages.ListCustomerImportsResponse(
            imports=[item.to_wire() for item in found], next_page_token=token
        )

    async def CreateCustomerExport(
        self, request: messages.CreateCustomerExportRequest, context: Any
    ) -> pb.Export:
        """Writes a file."""
        command = CreateExport.from_wire(request)
        created = await self._database.run(
            lambda tx: exports.create_export(tx, command, RunCustomerExport)
        )
        return created.to_wire()

    async def GetCustomerExport(
        self, request: messages.GetCustomerExportRequest, context: Any
    ) -> pb.Export:
        """Tells how far an export has come, and gives a part of its file."""
        export_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await exports.get_export(tx, export_id, request.part)).to_wire()
