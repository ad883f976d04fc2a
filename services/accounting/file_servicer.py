"""Reports in files over gRPC: wire in, wire out."""

from typing import Any

from accounting.dates import parse_date
from common.database import Database
from common.files.desk import ExportDesk
from erp.accounting.v1 import report_file_service_pb2 as messages
from erp.accounting.v1 import report_file_service_pb2_grpc as rpc
from erp.accounting.v1.jobs_pb2 import RunTrialBalanceExport
from erp.bulk.v1 import bulk_pb2 as pb


class ReportFileServiceServicer(rpc.ReportFileServiceServicer):
    """What files hold is told in report_files.py."""

    def __init__(self, database: Database) -> None:
        self._trial_balances = ExportDesk(database, RunTrialBalanceExport)

    async def CreateTrialBalanceExport(
        self, request: messages.CreateTrialBalanceExportRequest, context: Any
    ) -> pb.Export:
        """Writes a file."""
        about = str(parse_date(request.as_of, "as_of")) if request.HasField("as_of") else ""
        return await self._trial_balances.create(request, about)

    async def GetTrialBalanceExport(
        self, request: messages.GetTrialBalanceExportRequest, context: Any
    ) -> pb.Export:
        """Tells how far an export has come, and gives a part of its file."""
        return await self._trial_balances.get(request)
