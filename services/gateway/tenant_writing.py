"""Writing all that every service holds of a company into one archive."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson

from common import deadline
from common.caller import acting_as, service_caller
from common.jobs import Work, handles
from erp.gateway.v1.jobs_pb2 import WriteTenantExport
from erp.tenants.v1 import tenant_rows_service_pb2 as rows_pb
from gateway import tenant_exports
from gateway.archives import Archive, ArchivedFile

__all__ = ["TenantWriter"]

PART_BYTES = 1_000_000
_PAGE_SECONDS = 60.0
_JOB_SECONDS = 6 * 3600.0
# What the files and the manifest look like; raised when a reader has to know.
_FORMAT = "kv-erp tenant export 1"


class TenantWriter:
    """Writes exports.

    Args:
        services: the rows of each service by its name (erp.tenants.v1.TenantRows).
    """

    def __init__(self, services: Mapping[str, Any]) -> None:
        self._services = services

    @property
    def handlers(self) -> SimpleNamespace:
        """The handlers of jobs, as a module would hold them."""
        queue = tenant_exports.QUEUE
        mark = handles(WriteTenantExport, queue=queue, tries=20, timeout=_JOB_SECONDS, backoff=2)

        async def write(work: Work[WriteTenantExport]) -> None:
            with acting_as(service_caller("gateway", work.tenant_id, work.request_id)):
                await _Writing(work, self._services).run()

        return SimpleNamespace(write=mark(write))


class _Writing:
    """One attempt at an export, from the first table to the last."""

    def __init__(self, work: Work[WriteTenantExport], services: Mapping[str, Any]) -> None:
        self._work = work
        self._export_id = UUID(work.message.export_id)
        self._services = services
        self._archive = Archive()
        self._parts = 0
        self._files: list[dict[str, Any]] = []
        self._started = datetime.now(UTC)

    async def run(self) -> None:
        tables = [
            (service, table.name)
            for service, rows in self._services.items()
            for table in (await rows.ListTables(rows_pb.ListTablesRequest())).tables
        ]
        async with self._work.transaction() as tx:
            wanted = await tenant_exports.begin(tx, self._export_id, len(tables))
        if not wanted:
            return
        for done, (service, table) in enumerate(tables, 1):
            await self._write_table(service, table)
            async with self._work.transaction() as tx:
                await tenant_exports.note_progress(tx, self._export_id, done)
        self._write_manifest()
        await self._finish()

    async def _write_table(self, service: str, table: str) -> None:
        name = f"{service}/{table}.ndjson"
        with self._archive.file(name) as file:
            last, more = "", True
            while more:
                last = await self._write_page(file, service, table, last)
                more = bool(last)
                await self._store(PART_BYTES)
        said = {"name": name, "rows": file.lines, "bytes": file.size, "sha256": file.sha256}
        self._files.append(said)

    async def _write_page(self, file: ArchivedFile, service: str, table: str, after: str) -> str:
        request = rows_pb.ReadRowsRequest(table=table, after=after)
        with deadline.within(_PAGE_SECONDS):
            answer = await self._services[service].ReadRows(request)
        for line in answer.lines:
            file.write_line(line)
        return str(answer.last)

    def _write_manifest(self) -> None:
        manifest = {
            "format": _FORMAT,
            "tenant_id": str(self._work.tenant_id),
            "export_id": str(self._export_id),
            "started": self._started,
            "finished": datetime.now(UTC),
            "files": self._files,
        }
        with self._archive.file("manifest.json") as file:
            file.write_line(orjson.dumps(manifest, option=orjson.OPT_INDENT_2).decode())
        self._archive.close()

    async def _store(self, least: int) -> None:
        if body := self._archive.take(least):
            # Fenced: an attempt that has been overtaken stops here.
            async with self._work.transaction() as tx:
                await tenant_exports.add_part(tx, self._export_id, self._parts, body)
            self._parts += 1

    async def _finish(self) -> None:
        await self._store(1)
        rows = sum(file["rows"] for file in self._files)
        whole = (rows, self._archive.size, self._archive.sha256)
        async with self._work.completion() as tx:
            await tenant_exports.finish(tx, self._export_id, *whole)
