"""What other services would do about an order: asked only when its confirmation is rehearsed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common import caller
from erp.accounting.v1 import accounting_service_pb2 as accounting
from erp.events.v1.events_pb2 import Event
from erp.inventory.v1 import inventory_pb2
from erp.inventory.v1 import inventory_service_pb2 as inventory
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1.events_pb2 import OrderConfirmed

READS_STOCK = "inventory.stock.read"
READS_INVOICES = "accounting.invoices.read"
READS_ENTRIES = "accounting.entries.read"


@dataclass(frozen=True)
class Planners:
    """Who can tell what they would do when they heard of an order's confirmation."""

    reservation: Callable[[inventory.PlanReservationRequest], Awaitable[inventory_pb2.Reservation]]
    invoice: Callable[[accounting.PlanInvoiceRequest], Awaitable[accounting.PlanInvoiceResponse]]


async def plan_order(planners: Planners, order: OrderConfirmed) -> pb.OrderPlan:
    """What they would do, as far as the caller at hand may read it.

    Raises:
        DomainError: one of them could not do its part.
    """
    me = caller.current()
    event = Event(type=order.DESCRIPTOR.full_name, data=order.SerializeToString())
    reservation, billed = await asyncio.gather(
        planners.reservation(inventory.PlanReservationRequest(event=event)),
        planners.invoice(accounting.PlanInvoiceRequest(event=event)),
    )
    plan = pb.OrderPlan()
    if me.may(READS_STOCK):
        plan.reservation.CopyFrom(reservation)
    if me.may(READS_INVOICES):
        plan.invoice.CopyFrom(billed.invoice)
    if me.may(READS_ENTRIES) and billed.HasField("journal_entry"):
        plan.journal_entry.CopyFrom(billed.journal_entry)
    return plan
