"""The stored reservations: found, locked, inserted, and written back."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, select, text

from common.database import TooBusy, Transaction
from common.errors import NotFound
from common.listing import Listing
from common.pagination import Page
from common.wire import enum_word
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.levels import Key, Levels
from inventory.reservations import Line, Origin, Reservation, State
from inventory.tables import reservations

_LIST = Listing(api.ListReservationsRequest, reservations.c, "id")
_SELECT = """
    SELECT reservation.id, reservation.origin, reservation.order_id, reservation.reference,
        reservation.warehouse_id, reservation.state, reservation.expires_at, reservation.version,
        reservation.created_at, reservation.updated_at,
        line.product_id, line.warehouse_id AS line_warehouse_id, line.quantity, line.shipped,
        line.shortage
    FROM reservations AS reservation
        JOIN reservation_lines AS line ON line.reservation_id = reservation.id
    WHERE {condition}
    ORDER BY reservation.id, line.position
"""
_BY_ID = "reservation.id = ANY(CAST(:ids AS uuid[]))"
_OF_ORDERS = (
    "reservation.origin = 'order' AND reservation.order_id = ANY(CAST(:order_ids AS uuid[]))"
)
_NAMED = "reservation.reference = ANY(CAST(:names AS text[]))"


def selecting(condition: str, ending: str = "") -> TextClause:
    """The statement that reads whole reservations, by id and line."""
    return text(_SELECT.format(condition=condition) + ending)


_FIND = selecting(_BY_ID)
_FIND_OF_ORDERS = selecting(_OF_ORDERS)
_FIND_NAMED = selecting(_NAMED)
_LOCK = selecting(_BY_ID, "FOR NO KEY UPDATE OF reservation")

# One statement for both tables: rows are inserted in the order of their unique names.
_INSERT = text("""
    WITH made AS (
        INSERT INTO reservations (id, origin, order_id, reference, warehouse_id, state,
            expires_at, version, created_at, updated_at)
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:origins AS text[]),
            CAST(:order_ids AS uuid[]), CAST(:names AS text[]), CAST(:places AS uuid[]),
            CAST(:states AS text[]), CAST(:expires_at AS timestamptz[]),
            CAST(:versions AS bigint[]), CAST(:created_at AS timestamptz[]),
            CAST(:updated_at AS timestamptz[]))
    )
    INSERT INTO reservation_lines (reservation_id, position, product_id, warehouse_id, quantity,
        shipped, shortage)
    SELECT * FROM unnest(CAST(:reservation_ids AS uuid[]), CAST(:positions AS int[]),
        CAST(:product_ids AS uuid[]), CAST(:warehouse_ids AS uuid[]),
        CAST(:quantities AS numeric[]), CAST(:shipped AS numeric[]), CAST(:shortages AS numeric[]))
""")
_SAVE = text("""
    WITH changed AS (
        UPDATE reservations AS reservation SET state = new.state, expires_at = new.expires_at,
            warehouse_id = new.place, version = new.version, updated_at = new.updated_at
        FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]),
            CAST(:expires_at AS timestamptz[]), CAST(:places AS uuid[]),
            CAST(:versions AS bigint[]), CAST(:updated_at AS timestamptz[])
        ) AS new (id, state, expires_at, place, version, updated_at)
        WHERE reservation.id = new.id
    )
    UPDATE reservation_lines AS line SET shipped = new.shipped, shortage = new.shortage
    FROM unnest(CAST(:reservation_ids AS uuid[]), CAST(:positions AS int[]),
        CAST(:shipped AS numeric[]), CAST(:shortages AS numeric[])
    ) AS new (reservation_id, position, shipped, shortage)
    WHERE line.reservation_id = new.reservation_id AND line.position = new.position
        AND (line.shipped, line.shortage) <> (new.shipped, new.shortage)
""")
_DELETE_LINES = text(
    "DELETE FROM reservation_lines WHERE reservation_id = ANY(CAST(:ids AS uuid[]))"
)
_INSERT_LINES = text("""
    INSERT INTO reservation_lines (reservation_id, position, product_id, warehouse_id, quantity)
    SELECT * FROM unnest(CAST(:reservation_ids AS uuid[]), CAST(:positions AS int[]),
        CAST(:product_ids AS uuid[]), CAST(:warehouse_ids AS uuid[]),
        CAST(:quantities AS numeric[]))
""")


async def get_reservation(tx: Transaction, reservation_id: UUID) -> Reservation:
    """One reservation.

    Raises:
        NotFound: there is no such reservation.
    """
    found = await find_reservations(tx, [reservation_id])
    if not found:
        raise NotFound("reservation", reservation_id)
    return found[0]


async def find_reservations(tx: Transaction, ids: Collection[UUID]) -> list[Reservation]:
    """Those of the reservations that exist, oldest first."""
    return read(await tx.rows(_FIND, {"ids": list(ids)})) if ids else []


async def find_reservations_of_orders(
    tx: Transaction, order_ids: Collection[UUID]
) -> list[Reservation]:
    """The reservations that the orders themselves made."""
    if not order_ids:
        return []
    return read(await tx.rows(_FIND_OF_ORDERS, {"order_ids": list(order_ids)}))


async def find_named_reservations(
    tx: Transaction, references: Collection[str]
) -> list[Reservation]:
    """The reservations that bear these references."""
    return read(await tx.rows(_FIND_NAMED, {"names": list(references)})) if references else []


async def lock_reservations(
    tx: Transaction, levels: Levels, ids: Collection[UUID]
) -> dict[UUID, Reservation]:
    """Lock reservations whose levels are locked already, and read them as they are now.

    Raises:
        TooBusy: one of them concerns other levels by now.
    """
    found = read(await tx.rows(_LOCK, {"ids": list(ids)})) if ids else []
    if not all(levels.covers(reservation.keys) for reservation in found):
        raise TooBusy
    return {reservation.id: reservation for reservation in found}


async def insert_reservations(tx: Transaction, made: Sequence[Reservation]) -> None:
    """Store new reservations."""
    if not made:
        return
    ordered = sorted(made, key=lambda one: (one.origin, str(one.order_id), one.reference or ""))
    columns = _columns(ordered) | {
        "origins": [one.origin for one in ordered],
        "order_ids": [one.order_id for one in ordered],
        "names": [one.reference for one in ordered],
        "created_at": [one.created_at for one in ordered],
    }
    await tx.execute(_INSERT, columns)


async def save_reservations(tx: Transaction, changed: Iterable[Reservation]) -> None:
    """Store what has changed of reservations and their lines."""
    listed = list(changed)
    if listed:
        await tx.execute(_SAVE, _columns(listed))


async def replace_lines(tx: Transaction, replaced: Sequence[Reservation]) -> None:
    """Store other lines than before."""
    if replaced:
        await tx.execute(_DELETE_LINES, {"ids": [one.id for one in replaced]})
        await tx.execute(_INSERT_LINES, _line_columns(replaced))


async def list_reservations(
    tx: Transaction, page: Page, *, order_id: UUID | None, reference: str | None, state: int
) -> tuple[list[Reservation], str]:
    """A page of reservations, oldest first, and the token of the next page."""
    statement = select(reservations.c.id)
    if order_id is not None:
        statement = statement.where(reservations.c.order_id == order_id)
    if reference is not None:
        statement = statement.where(reservations.c.reference == reference)
    if state:
        word = enum_word(pb.ReservationState, state)
        statement = statement.where(reservations.c.state == word)
    kept, token = await _LIST.read(tx, statement, page)
    found = {one.id: one for one in await find_reservations(tx, [row.id for row in kept])}
    return [found[row.id] for row in kept], token


def read(rows: Iterable[Row[Any]]) -> list[Reservation]:
    """The reservations in the rows of their lines."""
    found: dict[UUID, Reservation] = {}
    for row in rows:
        reservation = found.get(row.id)
        if reservation is None:
            reservation = found[row.id] = _reservation(row)
        key = Key(row.product_id, row.line_warehouse_id)
        reservation.lines.append(Line(key, row.quantity, row.shipped, row.shortage))
    return list(found.values())


def _reservation(row: Row[Any]) -> Reservation:
    return Reservation(
        id=row.id,
        origin=Origin(row.origin),
        order_id=row.order_id,
        reference=row.reference,
        warehouse_id=row.warehouse_id,
        state=State(row.state),
        expires_at=row.expires_at,
        lines=[],
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _columns(listed: Sequence[Reservation]) -> dict[str, Any]:
    return _line_columns(listed) | {
        "ids": [one.id for one in listed],
        "places": [one.warehouse_id for one in listed],
        "states": [one.state for one in listed],
        "expires_at": [one.expires_at for one in listed],
        "versions": [one.version for one in listed],
        "updated_at": [one.updated_at for one in listed],
    }


def _line_columns(listed: Sequence[Reservation]) -> dict[str, Any]:
    lines = [(one.id, place, line) for one in listed for place, line in enumerate(one.lines)]
    return {
        "reservation_ids": [reservation_id for reservation_id, _, _ in lines],
        "positions": [place for _, place, _ in lines],
        "product_ids": [line.key.product_id for _, _, line in lines],
        "warehouse_ids": [line.key.warehouse_id for _, _, line in lines],
        "quantities": [line.quantity for _, _, line in lines],
        "shipped": [line.shipped for _, _, line in lines],
        "shortages": [line.shortage for _, _, line in lines],
    }
