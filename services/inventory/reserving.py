"""Holding stock: for whoever asks, and for orders, all lines or none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from common import caller, ids, outbox
from common.database import TooBusy, Transaction, translating
from common.errors import DomainError
from common.listening import Heard
from erp.inventory.v1.inventory_service_pb2 import (
    ReserveForOrderRequest,
    ReserveStockRequest,
    StockLine,
)
from erp.sales.v1.events_pb2 import ConfirmedLine, OrderConfirmed
from inventory.errors import InsufficientStock, ProductArchived
from inventory.levels import Key, Levels, Units
from inventory.promises import (
    find_named_reservations,
    find_reservations_of_orders,
    insert_reservations,
    lock_reservations,
    replace_lines,
    save_reservations,
)
from inventory.releasing import expire_on
from inventory.reservations import Line, Origin, Reservation, State
from inventory.stock import create_missing, lock_levels, write_levels


class Name(NamedTuple):
    """What makes two commands ask for the same reservation."""

    reference: str | None
    order_id: UUID | None


@dataclass(frozen=True)
class ReserveStock:
    """Stock to hold."""

    warehouse_id: UUID
    wanted: tuple[Units, ...]
    origin: Origin = Origin.DIRECT
    order_id: UUID | None = None
    reference: str | None = None
    # How long to hold it; until it is released when None.
    ttl_seconds: int | None = None
    # What is not there is waited for, instead of being an error.
    waits: bool = False
    request_id: str = ""

    @classmethod
    def from_wire(cls, request: ReserveStockRequest) -> "ReserveStock":
        """Somebody asks for it."""
        place = ids.parse(request.warehouse_id, "warehouse_id")
        return cls(
            place,
            _units(request.lines, place),
            order_id=ids.parse_optional(request.order_id, "order_id"),
            reference=request.reference if request.HasField("reference") else None,
            ttl_seconds=request.ttl_seconds if request.HasField("ttl_seconds") else None,
            request_id=caller.current().request_id,
        )

    @classmethod
    def before_confirmation(cls, request: ReserveForOrderRequest) -> "ReserveStock":
        """An order that refuses backorders is about to be confirmed."""
        place = ids.parse(request.warehouse_id, "warehouse_id")
        return cls(
            place,
            _units(request.lines, place),
            Origin.ORDER,
            ids.parse(request.order_id, "order_id"),
            ttl_seconds=request.ttl_seconds,
            request_id=caller.current().request_id,
        )

    @classmethod
    def on_confirmation(cls, heard: Heard[OrderConfirmed]) -> "ReserveStock":
        """An order was confirmed."""
        order = heard.message
        place = UUID(order.warehouse_id)
        return cls(
            place,
            _units(order.lines, place),
            Origin.ORDER,
            UUID(order.order_id),
            waits=True,
            request_id=heard.request_id,
        )

    @property
    def keys(self) -> set[Key]:
        """The levels that it concerns."""
        return {key for key, _ in self.wanted}

    @property
    def name(self) -> Name | None:
        """What it has in common with a repetition of itself; None when it cannot be repeated."""
        if self.origin is Origin.ORDER:
            return Name(None, self.order_id)
        return Name(self.reference, None) if self.reference is not None else None


def _units(lines: Iterable[StockLine | ConfirmedLine], place: UUID) -> tuple[Units, ...]:
    return tuple(
        Units(
            Key(ids.parse(line.product_id, f"lines/{number}/product_id"), place),
            Decimal(line.quantity),
        )
        for number, line in enumerate(lines)
    )


async def reserve(
    tx: Transaction, commands: Sequence[ReserveStock]
) -> list[Reservation | DomainError]:
    """Hold stock for each command, all of its lines or none, in the order in which they came.

    Before anybody goes without, holds whose time is over are ended: expiry never blocks a sale.
    A reservation with the same reference, or of the same order, is the same reservation.
    """
    known = await _find_known(tx, commands)
    plan = _Plan(await _lock(tx, commands, known), known)
    await plan.refresh(tx)
    attempt = plan.trial()
    attempt.run(commands)
    if attempt.lacking and await expire_on(tx, plan.levels, attempt.lacking, plan.orders()):
        await plan.refresh(tx)
        attempt = plan
        attempt.run(commands)
    await attempt.write(tx)
    return attempt.outcomes


async def _find_known(tx: Transaction, commands: Sequence[ReserveStock]) -> dict[Name, Reservation]:
    names = {command.name for command in commands if command.name}
    orders = [name.order_id for name in names if name.order_id]
    found = await find_reservations_of_orders(tx, orders)
    found += await find_named_reservations(tx, [name.reference for name in names if name.reference])
    return {_name_of(one): one for one in found}


async def _lock(
    tx: Transaction, commands: Sequence[ReserveStock], known: dict[Name, Reservation]
) -> Levels:
    keys = {key for command in commands for key in command.keys}
    # Whoever waits needs a level to be locked by: goods that come in must see him or be seen.
    if waiting := {key for command in commands if command.waits for key in command.keys}:
        await create_missing(tx, waiting)
    return await lock_levels(tx, keys.union(*(_to_lock(one) for one in known.values())))


def _to_lock(known: Reservation) -> set[Key]:
    return known.keys if known.origin is Origin.ORDER else set()


def _name_of(reservation: Reservation) -> Name:
    if reservation.origin is Origin.ORDER:
        return Name(None, reservation.order_id)
    return Name(reservation.reference, None)


@dataclass
class _Plan:
    """What a group of commands makes of the levels and the reservations that are there."""

    levels: Levels
    known: dict[Name, Reservation]
    outcomes: list[Reservation | DomainError] = field(default_factory=list)
    made: dict[UUID, Reservation] = field(default_factory=dict)
    changed: dict[UUID, Reservation] = field(default_factory=dict)
    # Those of the changed ones that have other lines than before.
    rewritten: dict[UUID, Reservation] = field(default_factory=dict)
    # Each reservation to tell of, as it is then, with the request that caused it.
    told: list[tuple[Reservation, str]] = field(default_factory=list)
    # Levels on which somebody found too little.
    lacking: set[Key] = field(default_factory=set)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def orders(self) -> dict[UUID, Reservation]:
        """The known reservations that orders made: those that may change."""
        return {one.id: one for one in self.known.values() if one.origin is Origin.ORDER}

    async def refresh(self, tx: Transaction) -> None:
        """Lock what may change, and see it as it is now."""
        locked = await lock_reservations(tx, self.levels, self.orders())
        self.known |= {_name_of(one): one for one in locked.values()}

    def trial(self) -> "_Plan":
        """A copy to try things on."""
        return _Plan(
            self.levels.trial(), {name: one.snapshot() for name, one in self.known.items()}
        )

    def run(self, commands: Sequence[ReserveStock]) -> None:
        """Decide the commands, one after another."""
        for command in commands:
            try:
                self.outcomes.append(self._decide(command).snapshot())
            except DomainError as error:
                self.outcomes.append(error)

    async def write(self, tx: Transaction) -> None:
        """Store what was decided, and tell of it."""
        # Another process has just made one of these; seen from the start, it is the known one.
        again = {"reservations_reference_key": TooBusy(), "reservations_order_key": TooBusy()}
        with translating(again):
            await insert_reservations(tx, list(self.made.values()))
        await replace_lines(
            tx, [self.changed[key] for key in self.rewritten if key in self.changed]
        )
        await save_reservations(tx, self.changed.values())
        await write_levels(tx, self.levels)
        for reservation, request_id in self.told:
            event = reservation.reserved() if reservation.held else reservation.backordered()
            outbox.publish(tx, event, request_id=request_id)

    def _decide(self, command: ReserveStock) -> Reservation:
        known = self.known.get(command.name) if command.name else None
        if known is None:
            return self._make(command)
        if known.origin is Origin.DIRECT or _is_settled(known, command):
            return known
        return self._renew(known, command)

    def _make(self, command: ReserveStock) -> Reservation:
        reservation = Reservation(
            id=ids.new(),
            origin=command.origin,
            order_id=command.order_id,
            reference=command.reference,
            warehouse_id=command.warehouse_id,
            state=State.RELEASED,
            expires_at=None,
            lines=_lines(command),
            version=0,
            created_at=self.now,
            updated_at=self.now,
        )
        self._hold(reservation, command)
        self.made[reservation.id] = reservation
        return self._remember(reservation, command)

    def _renew(self, known: Reservation, command: ReserveStock) -> Reservation:
        """Hold anew for an order; if that fails, what it holds stays as it is."""
        renewed = known.snapshot()
        if known.held and known.wanted == list(command.wanted):
            renewed.hold(self._end_of(command), self.now)
            self._tell(renewed, command)
        else:
            renewed.warehouse_id, renewed.lines = command.warehouse_id, _lines(command)
            with self.levels.all_or_nothing(known.keys | command.keys):
                self.levels.free(known.held)
                self._hold(renewed, command)
        if known.wanted != renewed.wanted:
            self.rewritten[known.id] = renewed
        (self.made if known.id in self.made else self.changed)[known.id] = renewed
        return self._remember(renewed, command)

    def _remember(self, reservation: Reservation, command: ReserveStock) -> Reservation:
        if command.name:
            self.known[command.name] = reservation
        return reservation

    def _hold(self, reservation: Reservation, command: ReserveStock) -> None:
        if not command.waits:
            self._hold_or_refuse(command)
            reservation.hold(self._end_of(command), self.now)
        elif any(shortages := self.levels.shortages(command.wanted)):
            self.lacking |= command.keys
            reservation.wait(shortages, self.now)
        else:
            self.levels.hold(command.wanted)
            reservation.hold(None, self.now)
        self._tell(reservation, command)

    def _hold_or_refuse(self, command: ReserveStock) -> None:
        for key, _ in command.wanted:
            if (level := self.levels[key]).archived:
                raise ProductArchived(level.sku, key.product_id)
        try:
            self.levels.hold(command.wanted)
        except InsufficientStock:
            self.lacking |= command.keys
            raise

    def _tell(self, reservation: Reservation, command: ReserveStock) -> None:
        # A hold before the confirmation is nobody's business until the order makes it lasting.
        if not reservation.temporary:
            self.told.append((reservation.snapshot(), command.request_id))

    def _end_of(self, command: ReserveStock) -> datetime | None:
        if command.ttl_seconds is None:
            return None
        return self.now + timedelta(seconds=command.ttl_seconds)


def _lines(command: ReserveStock) -> list[Line]:
    return [Line(key, quantity) for key, quantity in command.wanted]


def _is_settled(known: Reservation, command: ReserveStock) -> bool:
    """Whether an order's reservation is past what the command asks for."""
    if known.state is State.SHIPPED:
        return True
    lasting = known.state in {State.HELD, State.BACKORDERED} and not known.temporary
    return lasting and not command.waits
