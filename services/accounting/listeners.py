"""What accounting does when something happens elsewhere."""

from collections.abc import Sequence

from accounting import billing, companies, crediting, stock_entries
from common.database import Transaction
from common.listening import Heard, listens_to
from erp.gateway.v1.events_pb2 import TenantCreated
from erp.inventory.v1.events_pb2 import StockAdjusted, StockReceived, StockShipped
from erp.sales.v1.events_pb2 import OrderCancelled, OrderConfirmed


@listens_to(TenantCreated, queue="high")
async def open_books(tx: Transaction, created: Sequence[Heard[TenantCreated]]) -> None:
    """Open the books of a new company."""
    await companies.set_up(tx, created[0].message)


@listens_to(OrderConfirmed, queue="high")
async def raise_invoices(tx: Transaction, confirmed: Sequence[Heard[OrderConfirmed]]) -> None:
    """Raise an invoice for each confirmed order."""
    await billing.raise_invoices(tx, confirmed)


@listens_to(OrderCancelled, queue="high")
async def credit_invoices(tx: Transaction, cancelled: Sequence[Heard[OrderCancelled]]) -> None:
    """Credit the invoice of each order that was called off."""
    await crediting.credit_orders(tx, cancelled)


@listens_to(StockReceived, queue="high")
async def post_receipts(tx: Transaction, received: Sequence[Heard[StockReceived]]) -> None:
    """Post what goods cost that came in."""
    await stock_entries.post_receipts(tx, received)


@listens_to(StockAdjusted, queue="high")
async def post_adjustments(tx: Transaction, adjusted: Sequence[Heard[StockAdjusted]]) -> None:
    """Post what was found or lost."""
    await stock_entries.post_adjustments(tx, adjusted)


@listens_to(StockShipped, queue="high")
async def post_cost_of_sales(tx: Transaction, shipped: Sequence[Heard[StockShipped]]) -> None:
    """Post what goods cost that left."""
    await stock_entries.post_shipments(tx, shipped)
