"""What changed stock, and why: only ever added to, so that every level can be proved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select

from common import ids
from common.bulk import insert_rows
from common.database import Transaction
from common.listing import Listing
from common.money import format_quantity
from common.pagination import Page
from common.wire import enum_value, timestamp
from erp.inventory.v1 import events_pb2 as events
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.companies import Company
from inventory.levels import Key
from inventory.tables import stock_movements

_LIST = Listing(
    api.ListStockMovementsRequest,
    stock_movements.c,
    "id",
    others={
        "source.kind": stock_movements.c.source_kind,
        "source.id": stock_movements.c.source_id,
    },
)


@dataclass(frozen=True)
class Source:
    """The record that caused a movement."""

    # What moved the goods: "receipt", "adjustment", "shipment", "transfer_out" or "transfer_in".
    movement: str
    # What kind of record says so: "receipt", "adjustment", "reservation" or "transfer".
    kind: str
    id: UUID


@dataclass(frozen=True)
class Movement:
    """One change of what is on hand; quantity and value are negative when taken away."""

    id: UUID
    key: Key
    quantity: Decimal
    value_minor: int
    source: Source
    created_at: datetime

    @classmethod
    def of(
        cls, source: Source, key: Key, quantity: Decimal, value_minor: int, now: datetime
    ) -> "Movement":
        """A movement that happens now."""
        return cls(ids.new(), key, quantity, value_minor, source, now)

    def row(self) -> dict[str, object]:
        """The movement as a row of its table."""
        return {
            "id": self.id,
            "product_id": self.key.product_id,
            "warehouse_id": self.key.warehouse_id,
            "kind": self.source.movement,
            "quantity": self.quantity,
            "value_minor": self.value_minor,
            "source_kind": self.source.kind,
            "source_id": self.source.id,
            "created_at": self.created_at,
        }

    def to_wire(self, company: Company) -> pb.StockMovement:
        """The movement as it travels."""
        return pb.StockMovement(
            id=str(self.id),
            product_id=str(self.key.product_id),
            warehouse_id=str(self.key.warehouse_id),
            kind=enum_value(pb.MovementKind, self.source.movement),
            quantity=format_quantity(self.quantity),
            value=company.money(self.value_minor).to_wire(),
            source=pb.MovementSource(kind=self.source.kind, id=str(self.source.id)),
            create_time=timestamp(self.created_at),
        )

    def costed(self, company: Company, sign: int = 1) -> events.CostedLine:
        """The movement as an event tells it, negated when the sign is -1."""
        return events.CostedLine(
            product_id=str(self.key.product_id),
            warehouse_id=str(self.key.warehouse_id),
            quantity=format_quantity(sign * self.quantity),
            cost=company.money(sign * self.value_minor).to_wire(),
            movement_id=str(self.id),
        )


async def insert_movements(tx: Transaction, movements: Sequence[Movement]) -> None:
    """Record what moved."""
    await insert_rows(tx, stock_movements, [movement.row() for movement in movements])


async def list_movements(
    tx: Transaction, page: Page, *, product_id: UUID | None, warehouse_id: UUID | None
) -> tuple[list[Movement], str]:
    """A page of movements, oldest first, and the token of the next page."""
    statement = select(stock_movements)
    if product_id is not None:
        statement = statement.where(stock_movements.c.product_id == product_id)
    if warehouse_id is not None:
        statement = statement.where(stock_movements.c.warehouse_id == warehouse_id)
    kept, token = await _LIST.read(tx, statement, page)
    return [_movement(row) for row in kept], token


async def list_movements_of(tx: Transaction, source_id: UUID) -> list[Movement]:
    """What one record moved, in the order of its lines."""
    statement = select(stock_movements).where(stock_movements.c.source_id == source_id)
    return [_movement(row) for row in await tx.rows(statement.order_by(stock_movements.c.id))]


def _movement(row: Row[Any]) -> Movement:
    return Movement(
        row.id,
        Key(row.product_id, row.warehouse_id),
        row.quantity,
        row.value_minor,
        Source(row.kind, row.source_kind, row.source_id),
        row.created_at,
    )
