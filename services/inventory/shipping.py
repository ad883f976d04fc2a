"""Promised goods that leave the warehouse, at the cost that the moving average gives them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from common import caller, ids, outbox
from common.database import Transaction
from common.errors import DomainError, NotFound
from erp.inventory.v1.events_pb2 import ShipmentRefused, StockShipped
from erp.inventory.v1.inventory_service_pb2 import ShipReservationRequest
from inventory.companies import Company, get_company
from inventory.errors import ReservationBelongsToOrder
from inventory.levels import Key, Levels, Units, totals
from inventory.movements import Movement, Source, insert_movements
from inventory.promises import (
    find_reservations,
    find_reservations_of_orders,
    lock_reservations,
    save_reservations,
)
from inventory.reservations import Origin, Reservation
from inventory.stock import lock_levels, write_levels


@dataclass(frozen=True)
class Leaving:
    """Units of a product that are to leave."""

    product_id: UUID
    quantity: Decimal


@dataclass(frozen=True)
class ShipReservation:
    """What of a direct reservation leaves: all that is left when there are no lines."""

    id: UUID
    lines: tuple[Leaving, ...] = ()
    request_id: str = ""

    @classmethod
    def from_wire(cls, request: ShipReservationRequest) -> "ShipReservation":
        """Read the request."""
        lines = tuple(
            Leaving(ids.parse(line.product_id, f"lines/{place}/product_id"), Decimal(line.quantity))
            for place, line in enumerate(request.lines)
        )
        return cls(ids.parse(request.id, "id"), lines, caller.current().request_id)


@dataclass(frozen=True)
class ShippedOrder:
    """What of an order leaves."""

    order_id: UUID
    shipment_id: str
    lines: tuple[Leaving, ...]
    request_id: str = ""


@dataclass(frozen=True)
class Shipment:
    """Goods that have left."""

    reservation: Reservation
    shipment_id: str
    movements: list[Movement]

    def shipped(self, company: Company) -> StockShipped:
        """The event that they left: positive quantities and costs."""
        cost = -sum(movement.value_minor for movement in self.movements)
        return StockShipped(
            reservation_id=str(self.reservation.id),
            order_id=str(self.reservation.order_id or ""),
            shipment_id=self.shipment_id,
            lines=[movement.costed(company, sign=-1) for movement in self.movements],
            cost=company.money(cost).to_wire(),
            origin=self.reservation.origin,
        )


async def ship(
    tx: Transaction, commands: Sequence[ShipReservation]
) -> list[Reservation | DomainError]:
    """Take goods of direct reservations out, one after another, each with its own outcome."""
    company = await get_company(tx)
    wanted = {command.id for command in commands}
    levels, reservations = await _lock(tx, await find_reservations(tx, wanted))
    outcomes: list[Reservation | DomainError] = []
    shipments: list[Shipment] = []
    for command in commands:
        try:
            shipment = _ship_direct(levels, reservations, command)
        except DomainError as error:
            outcomes.append(error)
            continue
        outbox.publish(tx, shipment.shipped(company), request_id=command.request_id)
        outcomes.append(shipment.reservation)
        shipments.append(shipment)
    await _write(tx, levels, reservations, shipments)
    return outcomes


async def ship_orders(tx: Transaction, orders: Sequence[ShippedOrder]) -> None:
    """Take goods of orders out; a shipment whose goods are not held is refused by an event."""
    company = await get_company(tx)
    found = await find_reservations_of_orders(tx, [order.order_id for order in orders])
    levels, locked = await _lock(tx, found)
    of_orders = {one.order_id: one for one in locked.values()}
    shipments: list[Shipment] = []
    for order in orders:
        try:
            shipment = _ship_order(levels, of_orders.get(order.order_id), order)
        except DomainError as error:
            refused = ShipmentRefused(
                order_id=str(order.order_id), shipment_id=order.shipment_id, reason=str(error)
            )
            outbox.publish(tx, refused, request_id=order.request_id)
            continue
        outbox.publish(tx, shipment.shipped(company), request_id=order.request_id)
        shipments.append(shipment)
    await _write(tx, levels, locked, shipments)


async def _lock(
    tx: Transaction, found: Collection[Reservation]
) -> tuple[Levels, dict[UUID, Reservation]]:
    levels = await lock_levels(tx, {key for one in found for key in one.keys})
    return levels, await lock_reservations(tx, levels, [one.id for one in found])


async def _write(
    tx: Transaction,
    levels: Levels,
    reservations: Mapping[UUID, Reservation],
    shipments: Sequence[Shipment],
) -> None:
    changed = {shipment.reservation.id for shipment in shipments}
    await save_reservations(tx, [reservations[one] for one in changed])
    await insert_movements(tx, [move for shipment in shipments for move in shipment.movements])
    await write_levels(tx, levels)


def _ship_direct(
    levels: Levels, reservations: Mapping[UUID, Reservation], command: ShipReservation
) -> Shipment:
    reservation = reservations.get(command.id)
    if reservation is None:
        raise NotFound("reservation", command.id)
    if reservation.origin is Origin.ORDER:
        raise ReservationBelongsToOrder(reservation.id, reservation.order_id)
    return _take_out(levels, reservation, command.lines, "")


def _ship_order(levels: Levels, reservation: Reservation | None, order: ShippedOrder) -> Shipment:
    if reservation is None:
        raise NotFound("reservation of order", order.order_id)
    return _take_out(levels, reservation, order.lines, order.shipment_id)


def _take_out(
    levels: Levels, reservation: Reservation, lines: Sequence[Leaving], shipment_id: str
) -> Shipment:
    now = datetime.now(UTC)
    place = reservation.warehouse_id
    units = totals(
        [Units(Key(line.product_id, place), line.quantity) for line in lines] or reservation.held
    )
    reservation.take_out(units, now)
    source = Source("shipment", "reservation", reservation.id)
    movements = [
        Movement.of(source, key, -quantity, -levels[key].ship(quantity), now)
        for key, quantity in units.items()
    ]
    return Shipment(reservation.snapshot(), shipment_id, movements)
