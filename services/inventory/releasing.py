"""How promises end without a shipment: released by the caller, by the order, or by time."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from common import caller, ids, outbox
from common.database import Database, TooBusy, Transaction
from common.errors import DomainError, NotFound
from common.overdue import Overdue
from erp.inventory.v1.events_pb2 import StockReleased
from erp.inventory.v1.inventory_service_pb2 import ReleaseHoldRequest, ReleaseReservationRequest
from inventory.backorders import fill, keys_of_waiting
from inventory.errors import ReservationBelongsToOrder
from inventory.levels import Key, Levels
from inventory.promises import (
    find_reservations,
    find_reservations_of_orders,
    lock_reservations,
    read,
    save_reservations,
    selecting,
)
from inventory.reservations import Origin, Reservation, State
from inventory.stock import key_columns, lock_levels, try_lock_more, write_levels

SYSTEM_REASON = "expired holds"

_HAS_EXPIRED = "reservation.state = 'held' AND reservation.expires_at <= :now"
_EXPIRED = text(f"""
    SELECT tenant_id, id FROM reservations AS reservation WHERE {_HAS_EXPIRED}
    ORDER BY tenant_id, id LIMIT :limit
""")  # noqa: S608 (only parts of ours)
_EXPIRED_ON = selecting(f"""
    {_HAS_EXPIRED} AND EXISTS (
        SELECT FROM reservation_lines AS wanted
        JOIN unnest(CAST(:product_ids AS uuid[]), CAST(:warehouse_ids AS uuid[]))
            AS key (product_id, warehouse_id)
            ON key.product_id = wanted.product_id AND key.warehouse_id = wanted.warehouse_id
        WHERE wanted.reservation_id = reservation.id)
""")


@dataclass(frozen=True)
class ReleaseReservation:
    """A promise to let go of."""

    id: UUID
    # What an order held before its confirmation, which then failed; a lasting promise stays.
    unconfirmed: bool = False
    request_id: str = ""

    @classmethod
    def from_wire(cls, request: ReleaseReservationRequest) -> "ReleaseReservation":
        """Somebody asks for it."""
        return cls(ids.parse(request.id, "id"), request_id=caller.current().request_id)

    @classmethod
    def of_hold(cls, request: ReleaseHoldRequest) -> "ReleaseReservation":
        """An order was not confirmed after all."""
        return cls(ids.parse(request.id, "id"), unconfirmed=True)


async def release(
    tx: Transaction, commands: Sequence[ReleaseReservation]
) -> list[Reservation | DomainError]:
    """Let go of what is held, one command after another, each with its own outcome."""
    wanted = {command.id for command in commands}
    levels, reservations = await _lock(tx, await find_reservations(tx, wanted))
    outcomes: list[Reservation | DomainError] = []
    freed: list[Reservation] = []
    for command in commands:
        try:
            reservation = _demand(reservations, command)
        except DomainError as error:
            outcomes.append(error)
            continue
        if not command.unconfirmed:
            _let_go(levels, reservation, State.RELEASED)
            outbox.publish(tx, reservation.released(), request_id=command.request_id)
            freed.append(reservation)
        elif reservation.held and reservation.expires_at is not None:
            # Nobody was told of this hold, so nobody is told of its end.
            _let_go(levels, reservation, State.RELEASED)
            freed.append(reservation)
        outcomes.append(reservation.snapshot())
    await _settle(tx, levels, freed)
    return outcomes


@dataclass(frozen=True)
class CancelledOrder:
    """An order whose goods are no longer wanted."""

    order_id: UUID
    request_id: str = ""


async def release_orders(tx: Transaction, cancelled: Sequence[CancelledOrder]) -> None:
    """Let go of what orders hold or wait for.

    StockReleased is published for every order, also if it held nothing: sales waits for it.
    """
    found = await find_reservations_of_orders(tx, [order.order_id for order in cancelled])
    levels, locked = await _lock(tx, found)
    of_orders = {one.order_id: one for one in locked.values()}
    freed = []
    for order in cancelled:
        reservation = of_orders.get(order.order_id)
        if reservation and reservation.state in {State.HELD, State.BACKORDERED}:
            _let_go(levels, reservation, State.RELEASED)
            freed.append(reservation)
        outbox.publish(tx, _released(order, reservation), request_id=order.request_id)
    await _settle(tx, levels, freed)


async def expire(tx: Transaction, reservation_ids: Collection[UUID]) -> None:
    """End the holds among these whose time is over."""
    levels, locked = await _lock(tx, await find_reservations(tx, reservation_ids))
    now = datetime.now(UTC)
    over = [one for one in locked.values() if one.held and one.expires_at and one.expires_at <= now]
    _expire(tx, levels, over)
    await _settle(tx, levels, over)


async def expire_on(
    tx: Transaction, levels: Levels, keys: Collection[Key], spared: Collection[UUID]
) -> bool:
    """End the holds on these levels whose time is over, but for the spared ones.

    Returns:
        Whether there were any.

    Raises:
        TooBusy: somebody else has other levels of such a hold just now.
    """
    found = await tx.rows(_EXPIRED_ON, key_columns(keys) | {"now": datetime.now(UTC)})
    over = [one for one in read(found) if one.id not in spared]
    if not over:
        return False
    if not await try_lock_more(tx, levels, _keys_of(over)):
        raise TooBusy
    _expire(tx, levels, over)
    await save_reservations(tx, over)
    await fill(tx, levels, _keys_of(over))
    return True


async def expire_holds(database: Database) -> None:
    """End all holds whose time is over, of all tenants. Any number of workers may do it at once."""
    await Overdue("inventory", SYSTEM_REASON, _EXPIRED, expire).end_all(database)


async def _lock(
    tx: Transaction, found: Iterable[Reservation]
) -> tuple[Levels, dict[UUID, Reservation]]:
    """Lock the levels of reservations and of who waits for these, then the reservations."""
    listed = list(found)
    keys = _keys_of(listed)
    levels = await lock_levels(tx, keys | await keys_of_waiting(tx, keys))
    return levels, await lock_reservations(tx, levels, [one.id for one in listed])


async def _settle(tx: Transaction, levels: Levels, freed: Sequence[Reservation]) -> None:
    # Stored first: who waits is read from the tables, and a cancelled order waits no more.
    await save_reservations(tx, freed)
    await fill(tx, levels, _keys_of(freed))
    await write_levels(tx, levels)


def _demand(reservations: dict[UUID, Reservation], command: ReleaseReservation) -> Reservation:
    reservation = reservations.get(command.id)
    if reservation is None:
        raise NotFound("reservation", command.id)
    if command.unconfirmed:
        return reservation
    if reservation.origin is Origin.ORDER:
        raise ReservationBelongsToOrder(reservation.id, reservation.order_id)
    reservation.demand_held()
    return reservation


def _let_go(levels: Levels, reservation: Reservation, state: State) -> None:
    levels.free(reservation.held)
    reservation.let_go(state, datetime.now(UTC))


def _expire(tx: Transaction, levels: Levels, over: Iterable[Reservation]) -> None:
    for reservation in over:
        # Nobody was told of a hold that an order never made lasting.
        silent = reservation.temporary
        _let_go(levels, reservation, State.EXPIRED)
        if not silent:
            outbox.publish(tx, reservation.released())


def _released(order: CancelledOrder, reservation: Reservation | None) -> StockReleased:
    if reservation is None:
        return StockReleased(order_id=str(order.order_id), origin=Origin.ORDER)
    return reservation.released()


def _keys_of(reservations: Iterable[Reservation]) -> set[Key]:
    return {key for one in reservations for key in one.keys}
