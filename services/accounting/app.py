"""Accounting's processes: built here once."""

from collections.abc import Collection
from uuid import UUID

import accounting
from accounting import listeners, report_files
from accounting.audit import auditor_of
from accounting.figures import BUSINESS
from accounting.file_servicer import ReportFileServiceServicer
from accounting.receiving import ResolveCustomers
from accounting.servicer import AccountingServicer
from common import runtime
from common.caller import acting_as, current, service_caller
from common.command_line import WorkerOptions
from common.files.tables import EXPORT_PARTS, EXPORTS, keep_files
from common.process import Stop
from common.runtime import Runtime
from common.server import Service
from common.settings import Settings
from erp.accounting.v1 import (
    accounting_service_pb2,
    accounting_service_pb2_grpc,
    report_file_service_pb2,
    report_file_service_pb2_grpc,
)
from erp.sales.v1 import sales_service_pb2
from erp.sales.v1.sales_service_pb2_grpc import SalesServiceStub

NAME = "accounting"
# Modules with handlers of jobs.
HANDLERS = (report_files,)
_FILES = report_file_service_pb2.DESCRIPTOR.services_by_name["ReportFileService"]
_OWN = accounting_service_pb2.DESCRIPTOR.services_by_name["AccountingService"]
_SALES = sales_service_pb2.DESCRIPTOR.services_by_name["SalesService"]


async def serve(settings: Settings, stop: Stop) -> None:
    """Serve gRPC until told to stop."""
    opened = Runtime(NAME, settings, handlers=HANDLERS)
    sales = SalesServiceStub(opened.channel("sales", _SALES))
    servicer = AccountingServicer(opened.database, customers_of(sales), lambda: opened.locks)
    register = accounting_service_pb2_grpc.add_AccountingServiceServicer_to_server
    auditor = auditor_of(opened.database)
    files = Service(
        _FILES,
        report_file_service_pb2_grpc.add_ReportFileServiceServicer_to_server,
        ReportFileServiceServicer(opened.database),
    )
    await opened.serve(stop, Service(_OWN, register, servicer), files, auditor=auditor)


async def work(settings: Settings, stop: Stop, options: WorkerOptions) -> None:
    """Apply other services' events and write files until told to stop."""
    opened = Runtime(NAME, settings, handlers=HANDLERS)
    duties = [keep_files(opened.database, EXPORTS, EXPORT_PARTS)]
    await opened.work(stop, options, listeners, duties, BUSINESS)


def migrate(settings: Settings) -> None:
    """Bring the database to the newest schema."""
    runtime.migrate(accounting, settings)


def customers_of(sales: SalesServiceStub) -> ResolveCustomers:
    """Asks sales which customers exist, on accounting's own account.

    Whoever may record payments need not be allowed to read customers, and a group of commands
    asks once for all of its members.
    """

    async def resolve(customer_ids: Collection[UUID]) -> Collection[UUID]:
        wanted = sales_service_pb2.ResolveCustomersRequest(customer_ids=map(str, customer_ids))
        with acting_as(service_caller(NAME, current().tenant_id)):
            found = await sales.ResolveCustomers(wanted)
        return {UUID(customer.id) for customer in found.customers}

    return resolve
