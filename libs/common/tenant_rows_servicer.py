"""Wire in, wire out: a service's rows of a tenant."""

from common import caller, tenant_rows
from common.database import Database
from common.errors import Unauthenticated
from erp.tenants.v1 import tenant_rows_service_pb2 as pb
from erp.tenants.v1 import tenant_rows_service_pb2_grpc as rpc

__all__ = ["TenantRowsServicer"]


class TenantRowsServicer(rpc.TenantRowsServicer):
    """Shows and removes one service's rows of the caller's tenant.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ListTables(
        self, request: pb.ListTablesRequest, context: object = None
    ) -> pb.ListTablesResponse:
        """The tables, with how many rows each has."""
        answer = pb.ListTablesResponse()
        async with self._database.read_transaction(fresh=True) as tx:
            for table in await tenant_rows.tables_of(tx):
                answer.tables.add(name=table.name, rows=await tx.scalar(table.counting()))
        return answer

    async def ReadRows(
        self, request: pb.ReadRowsRequest, context: object = None
    ) -> pb.ReadRowsResponse:
        """Some rows of a table."""
        async with self._database.read_transaction(fresh=True) as tx:
            table = await tenant_rows.get_table(tx, request.table)
            return await tenant_rows.read_rows(tx, table, request.after)

    async def RemoveRows(
        self, request: pb.RemoveRowsRequest, context: object = None
    ) -> pb.RemoveRowsResponse:
        """All rows of a table go, and of those that it cannot be without."""
        tenant_id = caller.current().tenant_id
        if tenant_id is None:
            raise Unauthenticated("The caller stands for no tenant.")
        async with self._database.read_transaction(fresh=True) as tx:
            table = await tenant_rows.get_table(tx, request.table)
            circle = tenant_rows.circle_of(table.name, await tenant_rows.tables_of(tx))
        reason = tenant_rows.SYSTEM_REASON
        async with self._database.system_transaction(reason) as connection:
            rows = await tenant_rows.remove_rows(connection, circle, tenant_id)
        return pb.RemoveRowsResponse(rows=rows)
