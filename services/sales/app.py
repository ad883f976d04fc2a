"""Sales' processes: built here once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import sales
from common import caller, runtime
from common.command_line import WorkerOptions
from common.deadline import DeadlineExceeded
from common.duties import Duty
from common.errors import Unavailable
from common.files.tables import EXPORT_PARTS, EXPORTS, IMPORTS, keep_files
from common.mailer import Mailer
from common.mailing import sending_by
from common.process import Stop
from common.runtime import Runtime
from common.server import Service
from common.settings import Settings
from erp.accounting.v1 import accounting_service_pb2, accounting_service_pb2_grpc
from erp.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from erp.inventory.v1.inventory_pb2 import Reservation
from erp.sales.v1 import (
    customer_file_service_pb2,
    customer_file_service_pb2_grpc,
    sales_service_pb2,
    sales_service_pb2_grpc,
)
from sales import customer_files, expiring, listeners, mailing
from sales.audit import auditor_of
from sales.figures import BUSINESS
from sales.file_servicer import CustomerFileServiceServicer
from sales.goods import Hold, OtherServices
from sales.lookups import Lookups
from sales.order_desk import OrderDesk
from sales.planning import Planners, plan_order
from sales.servicer import SalesServicer

NAME = "sales"
# Modules with handlers of jobs.
HANDLERS = (mailing, customer_files)
SYSTEM_REASONS = frozenset({expiring.SYSTEM_REASON})
LOOKUP_SECONDS = 5.0
_OWN = sales_service_pb2.DESCRIPTOR.services_by_name["SalesService"]
_FILES = customer_file_service_pb2.DESCRIPTOR.services_by_name["CustomerFileService"]
_INVENTORY = inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"]
_ACCOUNTING = accounting_service_pb2.DESCRIPTOR.services_by_name["AccountingService"]


async def serve(settings: Settings, stop: Stop) -> None:
    """Serve gRPC until told to stop."""
    opened = Runtime(NAME, settings, handlers=HANDLERS)
    servicer = SalesServicer(opened.database, OrderDesk(opened.database, others(opened)))
    register = sales_service_pb2_grpc.add_SalesServiceServicer_to_server
    auditor = auditor_of(opened.database)
    files = Service(
        _FILES,
        customer_file_service_pb2_grpc.add_CustomerFileServiceServicer_to_server,
        CustomerFileServiceServicer(opened.database),
    )
    await opened.serve(stop, Service(_OWN, register, servicer), files, auditor=auditor)


async def work(settings: Settings, stop: Stop, options: WorkerOptions) -> None:
    """Apply other services' events and keep the clock until told to stop."""
    opened = Runtime(NAME, settings, SYSTEM_REASONS, HANDLERS)
    duties = [
        Duty("end expired orders", 1.0, partial(expiring.expire_all, opened.database)),
        keep_files(opened.database, IMPORTS, EXPORTS, EXPORT_PARTS),
    ]
    with sending_by(Mailer(settings)):
        await opened.work(stop, options, listeners, duties, BUSINESS)


def migrate(settings: Settings) -> None:
    """Bring the database to the newest schema."""
    runtime.migrate(sales, settings)


def others(opened: Runtime) -> OtherServices:
    """What sales asks of inventory and accounting."""
    wire = inventory_service_pb2
    inventory_stub: Any = inventory_service_pb2_grpc.InventoryServiceStub
    accounting_stub: Any = accounting_service_pb2_grpc.AccountingServiceStub
    inventory = inventory_stub(opened.channel("inventory", _INVENTORY))
    accounting = accounting_stub(opened.channel("accounting", _ACCOUNTING))

    async def resolve(request: wire.ResolveGoodsRequest) -> wire.ResolveGoodsResponse:
        with _looking_up():
            answer: wire.ResolveGoodsResponse = await inventory.ResolveGoods(
                request, timeout=LOOKUP_SECONDS
            )
        return answer

    async def billing() -> accounting_service_pb2.BillingDefaults:
        request = accounting_service_pb2.GetBillingDefaultsRequest()
        with _looking_up():
            defaults: accounting_service_pb2.BillingDefaults = await accounting.GetBillingDefaults(
                request, timeout=LOOKUP_SECONDS
            )
        return defaults

    async def hold(goods: Hold) -> UUID:
        with _on_own_account():
            return UUID((await inventory.ReserveForOrder(goods.to_wire())).id)

    async def release(reservation_id: UUID) -> object:
        with _on_own_account():
            return await inventory.ReleaseHold(wire.ReleaseHoldRequest(id=str(reservation_id)))

    lookups = Lookups(opened.cache, resolve, billing)
    return OtherServices(
        lookups.resolve_goods,
        lookups.get_billing,
        hold,
        release,
        partial(plan_order, _planners(inventory, accounting)),
    )


def _planners(inventory: Any, accounting: Any) -> Planners:
    async def reservation(order: inventory_service_pb2.PlanReservationRequest) -> Reservation:
        with _on_own_account():
            planned: Reservation = await inventory.PlanReservation(order)
        return planned

    async def invoice(
        order: accounting_service_pb2.PlanInvoiceRequest,
    ) -> accounting_service_pb2.PlanInvoiceResponse:
        with _on_own_account():
            planned: accounting_service_pb2.PlanInvoiceResponse = await accounting.PlanInvoice(
                order
            )
        return planned

    return Planners(reservation, invoice)


@contextmanager
def _on_own_account() -> Iterator[None]:
    """Ask others in sales' own name: who may order need not be allowed to read or reserve stock."""
    me = caller.current()
    with caller.acting_as(caller.service_caller(NAME, me.tenant_id, me.request_id)):
        yield


@contextmanager
def _looking_up() -> Iterator[None]:
    """Look up for many orders at once: who is slow to answer counts as away for all of them."""
    try:
        with _on_own_account():
            yield
    except DeadlineExceeded as error:
        raise Unavailable(error.what) from error
