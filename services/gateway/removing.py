"""Removing what all services hold of a company, pass after pass until nothing is left."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import structlog

from common import deadline, jobs
from common.caller import acting_as, service_caller
from common.database import LONGEST_TRANSACTION_SECONDS, Database
from common.jobs import Work, handles
from erp.gateway.v1.jobs_pb2 import RemoveTenant
from erp.tenants.v1 import tenant_rows_service_pb2 as rows_pb
from gateway import deletions

__all__ = ["TenantRemover"]

# What had begun before the first pass has ended by the second one, and can write no more.
PAUSE_SECONDS = 2 * LONGEST_TRANSACTION_SECONDS
# For one table of a large company.
_TABLE_SECONDS = 600.0
_JOB_SECONDS = 6 * 3600.0

log = structlog.get_logger()


class TenantRemover:
    """Removes companies.

    Args:
        database: the gateway's.
        services: the rows of each service by its name (erp.tenants.v1.TenantRows).
    """

    def __init__(self, database: Database, services: Mapping[str, Any]) -> None:
        self._database = database
        self._services = services

    @property
    def handlers(self) -> SimpleNamespace:
        """The handlers of jobs, as a module would hold them."""
        queue, tries = deletions.QUEUE, 100
        mark = handles(RemoveTenant, queue=queue, tries=tries, timeout=_JOB_SECONDS, backoff=2)

        async def remove(work: Work[RemoveTenant]) -> None:
            await self._remove(work)

        return SimpleNamespace(remove=mark(remove))

    async def _remove(self, work: Work[RemoveTenant]) -> None:
        """Go over all tables once; a pass after the first that finds nothing was the last."""
        tenant_id, passes = UUID(work.message.tenant_id), work.message.passes
        with acting_as(service_caller("gateway", tenant_id, work.request_id)):
            may = await deletions.close(self._database)
        if not may:
            async with work.completion() as tx:
                await deletions.finish(tx, tenant_id, "refused")
            return
        removed = await self._go_over(work, tenant_id)
        log.info("rows of a deleted tenant removed", tenant=str(tenant_id), rows=removed)
        async with work.completion() as tx:
            if removed == 0 and passes:
                await deletions.finish(tx, tenant_id, "finished")
            else:
                again = RemoveTenant(tenant_id=str(tenant_id), passes=passes + 1)
                jobs.enqueue(tx, again, queue=deletions.QUEUE, delay_seconds=PAUSE_SECONDS)

    async def _go_over(self, work: Work[RemoveTenant], tenant_id: UUID) -> int:
        def as_tenant() -> AbstractContextManager[object]:
            return acting_as(service_caller("gateway", tenant_id, work.request_id))

        with as_tenant():
            tables = await self._tables()
        async with work.transaction() as tx:
            found = {name: sum(one.rows for one in held) for name, held in tables.items()}
            await deletions.note_found(tx, tenant_id, found, sum(map(len, tables.values())))
        removed, done = 0, 0
        for service, held in tables.items():
            for table in held:
                with as_tenant(), deadline.within(_TABLE_SECONDS):
                    request = rows_pb.RemoveRowsRequest(table=table.name)
                    removed += (await self._services[service].RemoveRows(request)).rows
                done += 1
                # Fenced: an attempt that has been overtaken stops here.
                async with work.transaction() as tx:
                    await deletions.note_progress(tx, tenant_id, done)
        return removed

    async def _tables(self) -> dict[str, list[rows_pb.TenantTable]]:
        request = rows_pb.ListTablesRequest()
        return {
            name: list((await rows.ListTables(request)).tables)
            for name, rows in self._services.items()
        }
