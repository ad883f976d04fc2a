"""What sales does when something happens elsewhere: its orders show how far they have come."""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from uuid import UUID

from common.database import Transaction
from common.listening import Heard, listens_to
from erp.accounting.v1 import events_pb2 as accounting
from erp.gateway.v1 import events_pb2 as gateway
from erp.inventory.v1 import events_pb2 as inventory
from erp.sales.v1 import events_pb2 as sales
from sales import companies, notices, settling
from sales.goods import add_up
from sales.orders import lock_orders, read_lines, read_parts, read_shipments, write_orders
from sales.settling import News, take_note

# A reservation that somebody made by hand may name an order, and still is not the order's own.
_BY_HAND = "direct"


@listens_to(gateway.TenantCreated, queue="high", tries=5, backoff=2)
async def open_company(tx: Transaction, created: Sequence[Heard[gateway.TenantCreated]]) -> None:
    """Make room for a new company."""
    for heard in created:
        await companies.open_company(tx, heard.message.name, heard.message.currency_code)


@listens_to(sales.OrderConfirmed, queue="default", tries=5, backoff=2)
async def confirm_by_mail(
    tx: Transaction, confirmed: Sequence[Heard[sales.OrderConfirmed]]
) -> None:
    """Have customers written to about their orders."""
    await notices.tell_of_confirmed(tx, confirmed)


@listens_to(inventory.ProductChanged, queue="high", tries=5, backoff=2)
async def forget_products(
    tx: Transaction, changed: Sequence[Heard[inventory.ProductChanged]]
) -> None:
    """Look products up anew, even if inventory died before it could say so to the cache."""
    tx.outdate(*(heard.message.product_id for heard in changed))


@listens_to(inventory.StockReserved, queue="high", tries=5, backoff=2)
async def note_reserved(
    tx: Transaction, reserved: Sequence[Heard[inventory.StockReserved]]
) -> None:
    """Show that the goods of orders are held; a hold with an end is none yet."""
    news = [
        News(UUID(heard.message.order_id), heard.request_id, settling.goods_reserved)
        for heard in reserved
        if _for_order(heard.message) and not heard.message.HasField("expire_time")
    ]
    await take_note(tx, news, settling.read_missing)


@listens_to(inventory.StockBackordered, queue="high", tries=5, backoff=2)
async def note_backordered(
    tx: Transaction, backordered: Sequence[Heard[inventory.StockBackordered]]
) -> None:
    """Show which goods of orders are missing."""
    news = [
        News(
            UUID(heard.message.order_id),
            heard.request_id,
            partial(settling.goods_backordered, missing=_missing(heard.message)),
        )
        for heard in backordered
        if _for_order(heard.message)
    ]
    await take_note(tx, news, read_lines)


@listens_to(inventory.StockReleased, queue="high", tries=5, backoff=2)
async def note_released(
    tx: Transaction, released: Sequence[Heard[inventory.StockReleased]]
) -> None:
    """Show that the goods of orders were let go of; a hold with an end was none when it ended."""
    news = [
        News(
            UUID(heard.message.order_id),
            heard.request_id,
            settling.goods_released,
            settling.has_answer_or_is_cancelled,
        )
        for heard in released
        if _for_order(heard.message) and not heard.message.expired
    ]
    await take_note(tx, news)


@listens_to(inventory.ShipmentRefused, queue="high", tries=5, backoff=2)
async def note_refused(
    tx: Transaction, refused: Sequence[Heard[inventory.ShipmentRefused]]
) -> None:
    """Open the lines of shipments that could not leave."""
    news = [
        News(
            UUID(heard.message.order_id),
            heard.request_id,
            partial(settling.shipment_refused, shipment_id=UUID(heard.message.shipment_id)),
        )
        for heard in refused
    ]
    await take_note(tx, news, read_parts)


@listens_to(accounting.InvoicePosted, queue="high", tries=5, backoff=2)
async def note_invoiced(tx: Transaction, posted: Sequence[Heard[accounting.InvoicePosted]]) -> None:
    """Show that the invoices of orders are in the books."""
    news = [
        News(
            UUID(heard.message.order_id),
            heard.request_id,
            partial(settling.invoice_posted, invoice_id=UUID(heard.message.invoice_id)),
        )
        for heard in posted
        if heard.message.order_id
    ]
    await take_note(tx, news)
    await notices.tell_of_posted(tx, posted)


@listens_to(accounting.InvoicePaid, queue="high", tries=5, backoff=2)
async def note_paid(tx: Transaction, paid: Sequence[Heard[accounting.InvoicePaid]]) -> None:
    """Keep orders that are paid from ending by themselves; nothing that shows changes."""
    wanted = [UUID(heard.message.order_id) for heard in paid if heard.message.order_id]
    orders = (await lock_orders(tx, wanted)).values()
    for order in orders:
        order.paid = True
    await write_orders(tx, orders)


@listens_to(accounting.InvoiceCredited, queue="high", tries=5, backoff=2)
async def note_credited(
    tx: Transaction, credited: Sequence[Heard[accounting.InvoiceCredited]]
) -> None:
    """Show that the invoices of orders were taken back."""
    news = [
        News(UUID(heard.message.order_id), heard.request_id, settling.invoice_credited)
        for heard in credited
        if heard.message.order_id
    ]
    await take_note(tx, news)


@listens_to(accounting.CostOfSalesPosted, queue="high", tries=5, backoff=2)
async def note_shipped(
    tx: Transaction, posted: Sequence[Heard[accounting.CostOfSalesPosted]]
) -> None:
    """Show that shipments left; goods that left without one were reserved by hand."""
    news = [
        News(
            UUID(heard.message.order_id),
            heard.request_id,
            partial(settling.shipment_left, shipment_id=UUID(heard.message.shipment_id)),
        )
        for heard in posted
        if heard.message.order_id and heard.message.shipment_id
    ]
    await take_note(tx, news, read_shipments)


def _for_order(
    message: inventory.StockReserved | inventory.StockBackordered | inventory.StockReleased,
) -> bool:
    return bool(message.order_id) and message.origin != _BY_HAND


def _missing(message: inventory.StockBackordered) -> dict[UUID, Decimal]:
    return add_up((UUID(line.product_id), Decimal(line.shortage)) for line in message.lines)
