"""What a file servicer does, whatever the records: wire in, wire out."""

from typing import Any

from google.protobuf.message import Message

from common import ids
from common.database import Database
from common.files import exports, imports
from common.files.exports import CreateExport
from common.files.imports import CreateImport
from common.files.tabular import Columns
from common.listing import Listing
from common.pagination import Page
from erp.bulk.v1 import bulk_pb2 as pb

__all__ = ["ExportDesk", "ImportDesk"]


class ImportDesk:
    """Imports of one kind of record.

    Args:
        database: where they are.
        columns: of the files.
        job: the message of the job that reads a file in.
        listing: the list of imports.
    """

    def __init__(
        self, database: Database, columns: Columns, job: type[Message], listing: Listing
    ) -> None:
        self._database = database
        self._columns = columns
        self._job = job
        self._listing = listing

    async def create(self, request: Any) -> pb.Import:
        """Reads a file in."""
        command = CreateImport.from_wire(request, self._columns)
        created = await self._database.run(lambda tx: imports.create_import(tx, command, self._job))
        return created.to_wire()

    async def get(self, request: Any) -> pb.Import:
        """Tells how far an import has come."""
        async with self._database.read_transaction() as tx:
            return (await imports.get_import(tx, ids.parse(request.id, "id"))).to_wire()

    async def list(self, request: Any) -> dict[str, Any]:
        """Lists imports: the fields of the answer."""
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await imports.list_imports(tx, self._listing, page)
        return {"imports": [item.to_wire() for item in found], "next_page_token": token}


class ExportDesk:
    """Exports of one kind of record.

    Args:
        database: where they are.
        job: the message of the job that writes a file.
    """

    def __init__(self, database: Database, job: type[Message]) -> None:
        self._database = database
        self._job = job

    async def create(self, request: Any, about: str = "") -> pb.Export:
        """Writes a file; `about` says what it is about beyond its kind, such as a day."""
        command = CreateExport.from_wire(request, about)
        created = await self._database.run(lambda tx: exports.create_export(tx, command, self._job))
        return created.to_wire()

    async def get(self, request: Any) -> pb.Export:
        """Tells how far an export has come, and gives a part of its file."""
        export_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await exports.get_export(tx, export_id, request.part)).to_wire()
