"""Promises on stock: what one says, how it ends, and how it is stored."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from common.money import format_quantity
from common.wire import enum_value, timestamp
from erp.inventory.v1 import events_pb2 as events
from erp.inventory.v1 import inventory_pb2 as pb
from inventory.errors import ReservationNotHeld, ShipsMoreThanHeld
from inventory.levels import NOTHING, Key, Units, totals


class State(StrEnum):
    """Whether the goods of a reservation are held."""

    HELD = "held"
    BACKORDERED = "backordered"
    RELEASED = "released"
    EXPIRED = "expired"
    SHIPPED = "shipped"


class Origin(StrEnum):
    """Who made a reservation: a confirmed order, or somebody who asked for it."""

    DIRECT = "direct"
    ORDER = "order"


@dataclass
class Line:
    """A product and how much of it."""

    key: Key
    quantity: Decimal
    shipped: Decimal = NOTHING
    # Units that were missing when it was last tried. Above 0 exactly while the line keeps its
    # reservation waiting: this is how goods that come in find those who wait for them.
    shortage: Decimal = NOTHING

    @property
    def left(self) -> Decimal:
        """Units that have not left the warehouse."""
        return self.quantity - self.shipped


@dataclass
class Reservation:
    """A promise on stock: all of its lines are held, or none."""

    id: UUID
    origin: Origin
    order_id: UUID | None
    reference: str | None
    warehouse_id: UUID
    state: State
    expires_at: datetime | None
    lines: list[Line]
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def keys(self) -> set[Key]:
        """The levels that it concerns."""
        return {line.key for line in self.lines}

    @property
    def wanted(self) -> list[Units]:
        """What it asks for, line by line."""
        return [Units(line.key, line.quantity) for line in self.lines]

    @property
    def held(self) -> list[Units]:
        """What it holds now, line by line."""
        if self.state is not State.HELD:
            return []
        return [Units(line.key, line.left) for line in self.lines if line.left]

    @property
    def temporary(self) -> bool:
        """Whether it only holds until an order is confirmed."""
        return self.origin is Origin.ORDER and self.expires_at is not None

    def snapshot(self) -> "Reservation":
        """A copy as it is now."""
        return replace(self, lines=[replace(line) for line in self.lines])

    def demand_held(self) -> None:
        """Check that it holds something.

        Raises:
            ReservationNotHeld: it does not.
        """
        if self.state is not State.HELD:
            raise ReservationNotHeld(self.id, self.state)

    def hold(self, expires_at: datetime | None, now: datetime) -> None:
        """All lines are held from now on."""
        self._become(State.HELD, now)
        self.expires_at = expires_at
        for line in self.lines:
            line.shortage = NOTHING

    def wait(self, shortages: Iterable[Decimal], now: datetime) -> None:
        """Nothing is held; so much is missing of each line."""
        self._become(State.BACKORDERED, now)
        self.expires_at = None
        for line, shortage in zip(self.lines, shortages, strict=True):
            line.shortage = shortage

    def let_go(self, state: State, now: datetime) -> None:
        """Nothing is held any more and nothing is waited for."""
        self._become(state, now)
        for line in self.lines:
            line.shortage = NOTHING

    def take_out(self, units: dict[Key, Decimal], now: datetime) -> None:
        """So much of what is held leaves the warehouse.

        Raises:
            ReservationNotHeld: nothing is held.
            ShipsMoreThanHeld: less is held of a product.
        """
        self.demand_held()
        left = totals(self.held)
        for key, quantity in units.items():
            if quantity > left.get(key, NOTHING):
                raise ShipsMoreThanHeld(key.product_id, quantity, left.get(key, NOTHING))
        open_units = dict(units)
        for line in self.lines:
            leaving = min(open_units.get(line.key, NOTHING), line.left)
            line.shipped += leaving
            open_units[line.key] = open_units.get(line.key, NOTHING) - leaving
        self._become(State.HELD if self.held else State.SHIPPED, now)

    def _become(self, state: State, now: datetime) -> None:
        self.state = state
        self.version += 1
        self.updated_at = now

    def to_wire(self) -> pb.Reservation:
        """The reservation as it travels."""
        return pb.Reservation(
            id=str(self.id),
            order_id=str(self.order_id or ""),
            reference=self.reference or "",
            warehouse_id=str(self.warehouse_id),
            state=enum_value(pb.ReservationState, self.state),
            expire_time=timestamp(self.expires_at),
            lines=map(_line_to_wire, self.lines),
            version=self.version,
            create_time=timestamp(self.created_at),
            update_time=timestamp(self.updated_at),
        )

    def reserved(self) -> events.StockReserved:
        """The event that all of it is held."""
        return events.StockReserved(
            reservation_id=str(self.id),
            order_id=str(self.order_id or ""),
            reference=self.reference or "",
            lines=map(_promised, self.lines),
            expire_time=timestamp(self.expires_at),
            origin=self.origin,
        )

    def backordered(self) -> events.StockBackordered:
        """The event that it waits."""
        return events.StockBackordered(
            reservation_id=str(self.id),
            order_id=str(self.order_id or ""),
            lines=map(_promised, self.lines),
            origin=self.origin,
        )

    def released(self) -> events.StockReleased:
        """The event that it holds nothing any more."""
        return events.StockReleased(
            reservation_id=str(self.id),
            order_id=str(self.order_id or ""),
            expired=self.state is State.EXPIRED,
            origin=self.origin,
        )


def _line_to_wire(line: Line) -> pb.ReservationLine:
    return pb.ReservationLine(
        product_id=str(line.key.product_id),
        warehouse_id=str(line.key.warehouse_id),
        quantity=format_quantity(line.quantity),
        shipped=format_quantity(line.shipped),
        shortage=format_quantity(line.shortage),
    )


def _promised(line: Line) -> events.PromisedLine:
    return events.PromisedLine(
        product_id=str(line.key.product_id),
        warehouse_id=str(line.key.warehouse_id),
        quantity=format_quantity(line.quantity),
        shortage=format_quantity(line.shortage),
    )
