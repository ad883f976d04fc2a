"""What other services did for orders: how it shows on them, and when nothing is left to be done."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from common import outbox
from common.database import Transaction
from common.errors import NotFound
from erp.sales.v1 import events_pb2 as events
from sales.lifecycle import INVOICE, RESERVATION
from sales.orders import (
    Order,
    lock_orders,
    read_lines,
    write_lines,
    write_orders,
)
from sales.shipments import Shipment, write_states

_NONE = Decimal(0)


def was_confirmed(order: Order) -> bool:
    """Whether other services work for it: a draft's id may stand in a reservation all the same."""
    return order.number is not None


@dataclass(frozen=True)
class News:
    """Something that another service did for an order."""

    order_id: UUID
    request_id: str
    # Shows it on the order.
    apply: Callable[[Order], None]
    concerns: Callable[[Order], bool] = was_confirmed


Read = Callable[[Transaction, Collection[Order]], Awaitable[None]]


async def take_note(tx: Transaction, news: Sequence[News], read: Read | None = None) -> None:
    """Show news on their orders, in the order in which they came, and tell which orders settled.

    News of orders that are not ours, or that the news do not concern, change nothing.

    Args:
        tx: the transaction to join.
        news: any number; they cost the same few statements.
        read: reads those parts of the orders that the news are about.

    Raises:
        ImpossibleMove: what is said to have happened cannot happen to the order.
    """
    if not news:
        return
    locked = await lock_orders(tx, [item.order_id for item in news])
    if read:
        await read(tx, locked.values())
    pending = _pending(locked.values())
    changed: dict[UUID, Order] = {}
    for item in news:
        order = locked.get(item.order_id)
        if order is not None and item.concerns(order):
            _apply(tx, item, order)
            changed[order.id] = order
    await write_orders(tx, changed.values())
    await write_lines(tx, [line for order in changed.values() for line in order.lines])
    await write_states(tx, [shipment for shipment in pending if not shipment.pending])


def _apply(tx: Transaction, item: News, order: Order) -> None:
    settled = order.settled
    item.apply(order)
    order.raise_version()
    if order.settled and not settled:
        outbox.publish(tx, events.OrderSettled(order_id=str(order.id)), request_id=item.request_id)


async def read_missing(tx: Transaction, of: Collection[Order]) -> None:
    """Read the lines of orders whose goods were missing."""
    await read_lines(tx, [order for order in of if order.reservation_state == "backordered"])


def goods_reserved(order: Order) -> None:
    """All goods are held."""
    order.reservation_state = RESERVATION.move(order.reservation_state, "reserved")
    for line in order.lines:
        line.shortage = _NONE
    order.wait_no_more_for("reservation")


def goods_backordered(order: Order, missing: Mapping[UUID, Decimal]) -> None:
    """Goods are missing, so many units of each product."""
    order.reservation_state = RESERVATION.move(order.reservation_state, "backordered")
    left = dict(missing)
    # What is there goes to the lines that come first.
    for line in reversed(order.lines):
        line.shortage = min(left.get(line.product_id, _NONE), line.quantity)
        left[line.product_id] = left.get(line.product_id, _NONE) - line.shortage
    order.wait_no_more_for("reservation")


def has_answer_or_is_cancelled(order: Order) -> bool:
    """Whether a release concerns it: before the answer, it is about an earlier, temporary hold."""
    return was_confirmed(order) and (
        order.reservation_state != "pending" or order.state == "cancelled"
    )


def goods_released(order: Order) -> None:
    """The goods were let go of."""
    order.reservation_state = RESERVATION.move(order.reservation_state, "released")
    order.wait_no_more_for("release")


def invoice_posted(order: Order, invoice_id: UUID) -> None:
    """The invoice is in the books."""
    order.invoice_state = INVOICE.move(order.invoice_state, "posted")
    order.invoice_id = invoice_id
    order.wait_no_more_for("invoice")


def invoice_credited(order: Order) -> None:
    """The invoice was taken back."""
    order.invoice_state = INVOICE.move(order.invoice_state, "credited")
    order.wait_no_more_for("credit")


def shipment_left(order: Order, shipment_id: UUID) -> None:
    """The goods of a shipment left, and their cost is in the books."""
    _get_shipment(order, shipment_id).move("shipped")
    _wait_for_shipments(order)


def shipment_refused(order: Order, shipment_id: UUID) -> None:
    """The goods of a shipment could not leave: its lines are open again."""
    shipment = _get_shipment(order, shipment_id)
    shipment.move("refused")
    for line in order.lines:
        line.shipped -= shipment.units.get(line.id, _NONE)
    order.see_what_has_left()
    _wait_for_shipments(order)


def _pending(of: Collection[Order]) -> list[Shipment]:
    return [shipment for order in of for shipment in order.shipments if shipment.pending]


def _get_shipment(order: Order, shipment_id: UUID) -> Shipment:
    for shipment in order.shipments:
        if shipment.id == shipment_id:
            return shipment
    raise NotFound("shipment", shipment_id)


def _wait_for_shipments(order: Order) -> None:
    if not _pending([order]):
        order.wait_no_more_for("shipment")
