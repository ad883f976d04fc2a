"""What an order would be invoiced with, seen by raising the invoice in a rehearsal."""

from uuid import UUID

from accounting.billing import raise_invoices
from accounting.invoices import find_of_orders, get_invoice
from accounting.journal import get_entry
from common.database import Transaction
from common.listening import Heard
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.events.v1.events_pb2 import Event
from erp.sales.v1.events_pb2 import OrderConfirmed


async def plan_invoice(tx: Transaction, event: Event) -> service_pb.PlanInvoiceResponse:
    """The invoice and entry that an order would get if this were heard of its confirmation now.

    Raises:
        DomainError: it cannot be invoiced.
    """
    order = OrderConfirmed.FromString(event.data)
    await raise_invoices(tx, [Heard(order, "", 0)])
    raised = (await find_of_orders(tx, [UUID(order.order_id)]))[UUID(order.order_id)]
    invoice = await get_invoice(tx, raised.id)
    entry = await get_entry(tx, raised.journal_entry_id) if raised.journal_entry_id else None
    return service_pb.PlanInvoiceResponse(
        invoice=invoice.to_wire(), journal_entry=entry.to_wire() if entry else None
    )
