"""Sending goods of confirmed orders, whole or in part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from common import caller, ids, numbers, outbox
from common.database import Transaction
from common.errors import DomainError, NotFound
from common.money import format_quantity
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_service_pb2 as rpc
from sales.errors import NothingToShip, OrderNotConfirmed, OrderNotReserved, ShipsMoreThanOrdered
from sales.goods import add_up
from sales.orders import Order, lock_orders, read_parts, write_lines, write_orders
from sales.shipments import Shipment, insert_shipments

SERIES = "SH"


@dataclass(frozen=True)
class ShipOrder:
    """Sends an order: some units of some lines, or all that is open."""

    order_id: UUID
    # 0 is any.
    version: int
    # Units by order line; empty is all that is open.
    units: Mapping[UUID, Decimal]
    request_id: str

    @classmethod
    def from_wire(cls, request: rpc.ShipOrderRequest) -> Self:
        """Read the request; a line that is named twice ships both."""
        units = add_up(
            (ids.parse(line.order_line_id, f"lines/{place}/order_line_id"), Decimal(line.quantity))
            for place, line in enumerate(request.lines)
        )
        order_id = ids.parse(request.id, "id")
        return cls(order_id, request.version, units, caller.current().request_id)


@dataclass(frozen=True)
class _Sent:
    """A shipment that is to be stored and announced."""

    order: Order
    shipment: Shipment
    request_id: str


async def ship_orders(tx: Transaction, commands: Sequence[ShipOrder]) -> list[Order | DomainError]:
    """Ship orders in the order in which they are named."""
    locked = await lock_orders(tx, [command.order_id for command in commands])
    await read_parts(tx, locked.values())
    outcomes = [_decide(command, locked) for command in commands]
    sent = [outcome for outcome in outcomes if isinstance(outcome, _Sent)]
    await _store(tx, sent)
    for item in sent:
        outbox.publish(tx, _event(item), request_id=item.request_id)
    return [outcome.order if isinstance(outcome, _Sent) else outcome for outcome in outcomes]


def _decide(command: ShipOrder, locked: Mapping[UUID, Order]) -> _Sent | DomainError:
    try:
        order = locked.get(command.order_id)
        if order is None:
            raise NotFound("order", command.order_id)
        demand_shippable(order)
        order.demand_version(command.version)
        shipment = ship(order, command.units)
    except DomainError as error:
        return error
    order.raise_version()
    return _Sent(order, shipment, command.request_id)


def demand_shippable(order: Order) -> None:
    """Check that goods of the order can leave.

    Raises:
        OrderNotConfirmed: it is not agreed on, or called off.
        OrderNotReserved: its goods are not held.
        NothingToShip: all of them have left.
    """
    if order.state != "confirmed":
        raise OrderNotConfirmed(order.state)
    if order.reservation_state != "reserved":
        raise OrderNotReserved(order.reservation_state)
    if all(not line.open for line in order.lines):
        raise NothingToShip(order.number or "")


def ship(order: Order, units: Mapping[UUID, Decimal]) -> Shipment:
    """Send units of the order's lines, all that is open when none are named.

    Raises:
        NotFound: the order has no such line.
        ShipsMoreThanOrdered: less than that is open on a line.
    """
    units = units or {line.id: line.open for line in order.lines if line.open}
    lines = {line.id: line for line in order.lines}
    for line_id, quantity in units.items():
        if line_id not in lines:
            raise NotFound("order line", line_id)
        if quantity > lines[line_id].open:
            raise ShipsMoreThanOrdered(
                str(line_id), format_quantity(lines[line_id].open), format_quantity(quantity)
            )
    for line_id, quantity in units.items():
        lines[line_id].shipped += quantity
    shipment = Shipment(order.id, ids.new(), "", "pending", datetime.now(UTC), dict(units))
    order.shipments.append(shipment)
    order.see_what_has_left()
    order.wait_for("shipment")
    return shipment


async def _store(tx: Transaction, sent: Sequence[_Sent]) -> None:
    taken = await numbers.take(tx, SERIES, len(sent))
    for item, number in zip(sent, taken, strict=True):
        item.shipment.number = number
    changed = {item.order.id: item.order for item in sent}
    await write_orders(tx, changed.values())
    await write_lines(tx, [line for order in changed.values() for line in order.lines])
    await insert_shipments(tx, [item.shipment for item in sent])


def _event(sent: _Sent) -> events.OrderShipped:
    products = {line.id: line.product_id for line in sent.order.lines}
    units = add_up(
        (products[line_id], quantity) for line_id, quantity in sent.shipment.units.items()
    )
    return events.OrderShipped(
        order_id=str(sent.order.id),
        shipment_id=str(sent.shipment.id),
        lines=[
            events.ShippedLine(product_id=str(product_id), quantity=format_quantity(quantity))
            for product_id, quantity in units.items()
        ],
    )
