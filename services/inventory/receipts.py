"""Goods that come in: counted, valued, and given to the orders that wait for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from common import caller, ids, numbers, outbox
from common.bulk import insert_rows
from common.database import Transaction
from common.errors import DomainError, NotFound
from common.money import Money, times
from common.wire import timestamp
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1.events_pb2 import StockReceived
from erp.inventory.v1.inventory_service_pb2 import ReceiveStockRequest
from inventory.backorders import fill, keys_of_waiting
from inventory.companies import Company, get_company
from inventory.errors import ProductArchived, TooMuchValue
from inventory.levels import MOST_VALUE_MINOR, Key, Levels
from inventory.movements import Movement, Source, insert_movements, list_movements_of
from inventory.stock import create_missing, lock_levels, work_among_others, write_levels
from inventory.tables import receipts

SERIES = "RC"


class Incoming(NamedTuple):
    """A product that comes in."""

    key: Key
    quantity: Decimal
    unit_cost: Money


@dataclass(frozen=True)
class ReceiveStock:
    """Goods that come in together."""

    warehouse_id: UUID
    reference: str
    lines: tuple[Incoming, ...]
    request_id: str = ""

    @classmethod
    def from_wire(cls, request: ReceiveStockRequest) -> "ReceiveStock":
        """Read the request."""
        place = ids.parse(request.warehouse_id, "warehouse_id")
        lines = tuple(
            Incoming(
                Key(ids.parse(line.product_id, f"lines/{number}/product_id"), place),
                Decimal(line.quantity),
                Money.from_wire(line.unit_cost, f"lines/{number}/unit_cost"),
            )
            for number, line in enumerate(request.lines)
        )
        return cls(place, request.reference, lines, caller.current().request_id)


@dataclass(frozen=True)
class Receipt:
    """Goods that came in together."""

    id: UUID
    number: str
    warehouse_id: UUID
    reference: str
    movements: list[Movement]
    created_at: datetime
    company: Company

    def row(self) -> dict[str, object]:
        """The receipt as a row of its table."""
        return {
            "id": self.id,
            "number": self.number,
            "warehouse_id": self.warehouse_id,
            "reference": self.reference,
            "created_at": self.created_at,
        }

    def to_wire(self) -> pb.StockReceipt:
        """The receipt as it travels."""
        return pb.StockReceipt(
            id=str(self.id),
            number=self.number,
            warehouse_id=str(self.warehouse_id),
            reference=self.reference,
            movements=[movement.to_wire(self.company) for movement in self.movements],
            create_time=timestamp(self.created_at),
        )

    def received(self) -> StockReceived:
        """The event that they came in."""
        cost = sum(movement.value_minor for movement in self.movements)
        return StockReceived(
            receipt_id=str(self.id),
            number=self.number,
            lines=[movement.costed(self.company) for movement in self.movements],
            cost=self.company.money(cost).to_wire(),
        )


async def receive(tx: Transaction, commands: Sequence[ReceiveStock]) -> list[Receipt | DomainError]:
    """Take goods in, one command after another, each with its own outcome."""
    company = await get_company(tx)
    await work_among_others(tx)
    keys = {line.key for command in commands for line in command.lines}
    await create_missing(tx, keys)
    levels = await lock_levels(tx, keys | await keys_of_waiting(tx, keys))
    outcomes = [_outcome(levels, company, command) for command in commands]

    await fill(tx, levels, _risen(outcomes))
    numbered = await _number(tx, outcomes)
    made = [one for one in numbered if isinstance(one, Receipt)]
    await insert_rows(tx, receipts, [receipt.row() for receipt in made])
    await insert_movements(tx, [move for receipt in made for move in receipt.movements])
    await write_levels(tx, levels)
    for receipt, command in zip(numbered, commands, strict=True):
        if isinstance(receipt, Receipt):
            outbox.publish(tx, receipt.received(), request_id=command.request_id)
    return numbered


async def get_receipt(tx: Transaction, receipt_id: UUID) -> Receipt:
    """One receipt.

    Raises:
        NotFound: there is no such receipt.
    """
    row = await tx.row(select(receipts).where(receipts.c.id == receipt_id))
    if row is None:
        raise NotFound("receipt", receipt_id)
    moved = await list_movements_of(tx, receipt_id)
    company = await get_company(tx)
    return Receipt(
        row.id, row.number, row.warehouse_id, row.reference, moved, row.created_at, company
    )


def _outcome(levels: Levels, company: Company, command: ReceiveStock) -> Receipt | DomainError:
    try:
        with levels.all_or_nothing([line.key for line in command.lines]):
            return _take_in(levels, company, command)
    except DomainError as error:
        return error


def _take_in(levels: Levels, company: Company, command: ReceiveStock) -> Receipt:
    receipt_id, now = ids.new(), datetime.now(UTC)
    source = Source("receipt", "receipt", receipt_id)
    moved: list[Movement] = []
    for number, (key, quantity, unit_cost) in enumerate(command.lines):
        level = levels[key]
        if level.archived:
            raise ProductArchived(level.sku, key.product_id)
        unit_minor = company.minor(unit_cost, f"lines/{number}/unit_cost")
        cost = cost_of_line(level.sku, unit_minor, quantity)
        level.add(quantity, cost)
        moved.append(Movement.of(source, key, quantity, cost, now))
    if sum(movement.value_minor for movement in moved) > MOST_VALUE_MINOR:
        raise TooMuchValue("The receipt", MOST_VALUE_MINOR)
    return Receipt(receipt_id, "", command.warehouse_id, command.reference, moved, now, company)


def cost_of_line(sku: str, unit_minor: int, quantity: Decimal) -> int:
    """What units cost together, in minor units, rounded half up.

    Raises:
        TooMuchValue: more than the books can hold.
    """
    if unit_minor * quantity > MOST_VALUE_MINOR:
        raise TooMuchValue(sku, MOST_VALUE_MINOR)
    return times(unit_minor, quantity)


def _risen(outcomes: Sequence[Receipt | DomainError]) -> set[Key]:
    return {
        movement.key
        for outcome in outcomes
        if isinstance(outcome, Receipt)
        for movement in outcome.movements
    }


async def _number(
    tx: Transaction, outcomes: Sequence[Receipt | DomainError]
) -> list[Receipt | DomainError]:
    accepted = sum(isinstance(outcome, Receipt) for outcome in outcomes)
    taken = iter(await numbers.take(tx, SERIES, accepted))
    return [
        replace(outcome, number=next(taken)) if isinstance(outcome, Receipt) else outcome
        for outcome in outcomes
    ]
