"""Sending goods to another warehouse, taking them in there, and calling them back.

Levels are locked before the transfer that concerns them, in (product, warehouse) order, so that
transfers in both directions at once wait for each other and never deadlock.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from common import caller, ids, numbers, outbox
from common.database import Transaction
from common.errors import InvalidRequest, NotFound
from erp.inventory.v1 import events_pb2 as events
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.backorders import fill, keys_of_waiting
from inventory.companies import Company, get_company
from inventory.levels import NOTHING, Key, Levels, Units, totals
from inventory.movements import Movement, Source, insert_movements
from inventory.stock import create_missing, lock_levels, work_among_others, write_levels
from inventory.transfers import (
    IN_TRANSIT,
    Transfer,
    TransferLine,
    get_transfer,
    insert_transfer,
    lock_transfer,
    save_transfer,
)
from inventory.warehouses import find_warehouses

SERIES = "ST"


@dataclass(frozen=True)
class TransferStock:
    """Goods to send to another warehouse, by product."""

    source_id: UUID
    destination_id: UUID
    reference: str
    lines: tuple[Units, ...]
    request_id: str = ""

    @classmethod
    def from_wire(cls, request: api.TransferStockRequest) -> Self:
        """Read the request.

        Raises:
            InvalidRequest: the goods are to go where they are.
        """
        source = ids.parse(request.source_warehouse_id, "source_warehouse_id")
        destination = ids.parse(request.destination_warehouse_id, "destination_warehouse_id")
        if source == destination:
            raise InvalidRequest.of("/destination_warehouse_id", "must be another warehouse")
        lines = tuple(
            Units(Key(product_id, source), quantity)
            for product_id, quantity in _named(request.lines)
        )
        me = caller.current().request_id
        return cls(source, destination, request.reference, lines, me)


@dataclass(frozen=True)
class ReceiveTransfer:
    """What of a transfer arrived: all that is in transit when there are no lines."""

    id: UUID
    lines: tuple[tuple[UUID, Decimal], ...] = ()

    @classmethod
    def from_wire(cls, request: api.ReceiveStockTransferRequest) -> Self:
        """Read the request."""
        return cls(ids.parse(request.id, "id"), tuple(_named(request.lines)))

    def wanted(self) -> dict[UUID, Decimal]:
        """The units of each product together."""
        wanted: dict[UUID, Decimal] = {}
        for product_id, quantity in self.lines:
            wanted[product_id] = wanted.get(product_id, NOTHING) + quantity
        return wanted


async def send(tx: Transaction, command: TransferStock) -> Transfer:
    """Take goods out of one warehouse; from then on they are in transit to the other.

    Raises:
        NotFound: there is no such warehouse or product.
        InsufficientStock: more is sent than is there and not reserved.
    """
    company = await get_company(tx)
    wanted = totals(command.lines)
    if not await find_warehouses(tx, [command.destination_id]):
        raise NotFound("warehouse", command.destination_id)
    levels = await lock_levels(tx, wanted.keys())
    transfer, moved = _take_out(levels, company, command, wanted)

    [transfer.number] = await numbers.take(tx, SERIES, 1)
    await insert_transfer(tx, transfer)
    await insert_movements(tx, moved)
    await write_levels(tx, levels)
    outbox.publish(tx, _sent(transfer, moved), request_id=command.request_id)
    return transfer


async def receive(tx: Transaction, command: ReceiveTransfer) -> Transfer:
    """Take goods of a transfer in, whole or in part, and give them to the orders that wait.

    Raises:
        NotFound: there is no such transfer.
        TransferNotInTransit: nothing of it is on its way.
        ReceivesMoreThanSent: less of a product is on its way.
        TooMuchStock, TooMuchValue: a level would be beyond what can be counted or valued.
    """
    sent = await get_transfer(tx, command.id)
    transfer, levels = await _lock(tx, sent, sent.destination_id)
    moved = _put(levels, transfer, sent.destination_id, transfer.receive(command.wanted()))

    await _write(tx, transfer, levels, moved)
    event = events.StockTransferReceived(
        stock_transfer_id=str(transfer.id),
        lines=[movement.costed(transfer.company) for movement in moved],
        complete=transfer.state != IN_TRANSIT,
    )
    outbox.publish(tx, event)
    return transfer


async def cancel(tx: Transaction, transfer_id: UUID) -> Transfer:
    """Put what of a transfer has not arrived back to where it came from.

    Raises:
        NotFound: there is no such transfer.
        TransferNotInTransit: nothing of it is on its way.
        TooMuchStock, TooMuchValue: a level would be beyond what can be counted or valued.
    """
    sent = await get_transfer(tx, transfer_id)
    transfer, levels = await _lock(tx, sent, sent.source_id)
    moved = _put(levels, transfer, sent.source_id, transfer.cancel())

    await _write(tx, transfer, levels, moved)
    event = events.StockTransferCancelled(
        stock_transfer_id=str(transfer.id),
        lines=[movement.costed(transfer.company) for movement in moved],
    )
    outbox.publish(tx, event)
    return transfer


def _named(lines: Collection[api.StockLine]) -> list[tuple[UUID, Decimal]]:
    return [
        (ids.parse(line.product_id, f"lines/{place}/product_id"), Decimal(line.quantity))
        for place, line in enumerate(lines)
    ]


def _take_out(
    levels: Levels, company: Company, command: TransferStock, wanted: dict[Key, Decimal]
) -> tuple[Transfer, list[Movement]]:
    now = datetime.now(UTC)
    transfer = Transfer(
        id=ids.new(),
        number="",
        source_id=command.source_id,
        destination_id=command.destination_id,
        reference=command.reference,
        state=IN_TRANSIT,
        version=1,
        created_at=now,
        updated_at=now,
        lines=[],
        company=company,
    )
    source = Source("transfer_out", "transfer", transfer.id)
    moved = []
    for key, quantity in wanted.items():
        cost = levels[key].take(quantity)
        transfer.lines.append(TransferLine(key.product_id, quantity, NOTHING, NOTHING, cost))
        moved.append(Movement.of(source, key, -quantity, -cost, now))
    return transfer, moved


async def _lock(tx: Transaction, sent: Transfer, place: UUID) -> tuple[Transfer, Levels]:
    """Lock the levels of a transfer in one of its warehouses, and of who waits there; then it."""
    keys = sent.keys_at(place)
    await work_among_others(tx)
    await create_missing(tx, keys)
    levels = await lock_levels(tx, keys | await keys_of_waiting(tx, keys))
    return await lock_transfer(tx, sent.id), levels


def _put(
    levels: Levels, transfer: Transfer, place: UUID, goods: Sequence[tuple[UUID, Decimal, int]]
) -> list[Movement]:
    source = Source("transfer_in", "transfer", transfer.id)
    moved = []
    for product_id, quantity, cost in goods:
        key = Key(product_id, place)
        levels[key].add(quantity, cost)
        moved.append(Movement.of(source, key, quantity, cost, transfer.updated_at))
    return moved


async def _write(
    tx: Transaction, transfer: Transfer, levels: Levels, moved: Sequence[Movement]
) -> None:
    await fill(tx, levels, {movement.key for movement in moved})
    await save_transfer(tx, transfer)
    await insert_movements(tx, moved)
    await write_levels(tx, levels)


def _sent(transfer: Transfer, moved: Sequence[Movement]) -> events.StockTransferSent:
    return events.StockTransferSent(
        stock_transfer_id=str(transfer.id),
        number=transfer.number,
        source_warehouse_id=str(transfer.source_id),
        destination_warehouse_id=str(transfer.destination_id),
        lines=[movement.costed(transfer.company, sign=-1) for movement in moved],
    )
