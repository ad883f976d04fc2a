"""Corrections of what is on hand, each with its reason."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import insert, select

from common import caller, ids, numbers, outbox
from common.database import Transaction
from common.errors import InvalidRequest, NotFound
from common.money import Money
from common.wire import timestamp
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1.events_pb2 import StockAdjusted
from erp.inventory.v1.inventory_service_pb2 import AdjustmentLine as AdjustmentLineMessage
from erp.inventory.v1.inventory_service_pb2 import AdjustStockRequest
from inventory.backorders import fill, keys_of_waiting
from inventory.companies import Company, get_company
from inventory.errors import TooMuchValue
from inventory.levels import MOST_VALUE_MINOR, Key, Level, Levels
from inventory.movements import Movement, Source, insert_movements, list_movements_of
from inventory.receipts import cost_of_line
from inventory.stock import create_missing, lock_levels, work_among_others, write_levels
from inventory.tables import adjustments

SERIES = "SA"


class Correction(NamedTuple):
    """Units to add, or to take away when negative."""

    key: Key
    quantity: Decimal
    # Of one added unit; the moving average when None.
    unit_cost: Money | None

    @classmethod
    def from_wire(cls, line: AdjustmentLineMessage, place: UUID, number: int) -> "Correction":
        """Read a line.

        Raises:
            InvalidRequest: it gives a cost to units that it takes away.
        """
        product_id = ids.parse(line.product_id, f"lines/{number}/product_id")
        quantity = Decimal(line.quantity)
        field = f"lines/{number}/unit_cost"
        if not line.HasField("unit_cost"):
            return cls(Key(product_id, place), quantity, None)
        if quantity < 0:
            raise InvalidRequest.of(f"/{field}", "is only for units that are added")
        return cls(Key(product_id, place), quantity, Money.from_wire(line.unit_cost, field))


@dataclass(frozen=True)
class AdjustStock:
    """A correction of what is on hand."""

    warehouse_id: UUID
    reason: str
    lines: tuple[Correction, ...]
    request_id: str = ""

    @classmethod
    def from_wire(cls, request: AdjustStockRequest) -> "AdjustStock":
        """Read the request."""
        place = ids.parse(request.warehouse_id, "warehouse_id")
        lines = tuple(
            Correction.from_wire(line, place, number) for number, line in enumerate(request.lines)
        )
        return cls(place, request.reason, lines, caller.current().request_id)


@dataclass(frozen=True)
class Adjustment:
    """A correction that was made."""

    id: UUID
    number: str
    warehouse_id: UUID
    reason: str
    movements: list[Movement]
    created_at: datetime
    company: Company

    def row(self) -> dict[str, object]:
        """The adjustment as a row of its table."""
        return {
            "id": self.id,
            "number": self.number,
            "warehouse_id": self.warehouse_id,
            "reason": self.reason,
            "created_at": self.created_at,
        }

    def to_wire(self) -> pb.StockAdjustment:
        """The adjustment as it travels."""
        return pb.StockAdjustment(
            id=str(self.id),
            number=self.number,
            warehouse_id=str(self.warehouse_id),
            reason=self.reason,
            movements=[movement.to_wire(self.company) for movement in self.movements],
            create_time=timestamp(self.created_at),
        )

    def adjusted(self) -> StockAdjusted:
        """The event that it was made."""
        cost = sum(movement.value_minor for movement in self.movements)
        return StockAdjusted(
            adjustment_id=str(self.id),
            number=self.number,
            reason=self.reason,
            lines=[movement.costed(self.company) for movement in self.movements],
            cost=self.company.money(cost).to_wire(),
        )


async def adjust(tx: Transaction, command: AdjustStock) -> Adjustment:
    """Correct what is on hand, all lines or none.

    Raises:
        NotFound: there is no such warehouse or product.
        InsufficientStock: more is taken away than is there and not reserved.
        CurrencyMismatch: a cost is in another currency than the company's books.
        TooMuchStock, TooMuchValue: a level would be beyond what can be counted or valued.
    """
    company = await get_company(tx)
    await work_among_others(tx)
    keys = {line.key for line in command.lines}
    await create_missing(tx, keys)
    levels = await lock_levels(tx, keys | await keys_of_waiting(tx, keys))
    return await adjust_locked(tx, levels, company, command)


async def adjust_locked(
    tx: Transaction, levels: Levels, company: Company, command: AdjustStock
) -> Adjustment:
    """Like `adjust`, when the levels are locked already."""
    adjustment = _correct(levels, company, command)
    await fill(tx, levels, {line.key for line in command.lines if line.quantity > 0})
    [number] = await numbers.take(tx, SERIES, 1)
    adjustment = replace(adjustment, number=number)
    await tx.execute(insert(adjustments).values(adjustment.row()))
    await insert_movements(tx, adjustment.movements)
    await write_levels(tx, levels)
    outbox.publish(tx, adjustment.adjusted(), request_id=command.request_id)
    return adjustment


async def get_adjustment(tx: Transaction, adjustment_id: UUID) -> Adjustment:
    """One adjustment.

    Raises:
        NotFound: there is no such adjustment.
    """
    row = await tx.row(select(adjustments).where(adjustments.c.id == adjustment_id))
    if row is None:
        raise NotFound("adjustment", adjustment_id)
    moved = await list_movements_of(tx, adjustment_id)
    company = await get_company(tx)
    return Adjustment(
        row.id, row.number, row.warehouse_id, row.reason, moved, row.created_at, company
    )


def _correct(levels: Levels, company: Company, command: AdjustStock) -> Adjustment:
    adjustment_id, now = ids.new(), datetime.now(UTC)
    source = Source("adjustment", "adjustment", adjustment_id)
    moved: list[Movement] = []
    for number, line in enumerate(command.lines):
        level = levels[line.key]
        unit_cost = line.unit_cost
        unit_minor = company.minor(unit_cost, f"lines/{number}/unit_cost") if unit_cost else None
        value = _apply(level, line.quantity, unit_minor)
        moved.append(Movement.of(source, line.key, line.quantity, value, now))
    if sum(abs(movement.value_minor) for movement in moved) > MOST_VALUE_MINOR:
        raise TooMuchValue("The adjustment", MOST_VALUE_MINOR)
    return Adjustment(adjustment_id, "", command.warehouse_id, command.reason, moved, now, company)


def _apply(level: Level, quantity: Decimal, unit_minor: int | None) -> int:
    """Change a level and say by what value."""
    if quantity < 0:
        return -level.take(-quantity)
    if unit_minor is None:
        value = level.cost_of(quantity)
    else:
        value = cost_of_line(level.sku, unit_minor, quantity)
    level.add(quantity, value)
    return value
