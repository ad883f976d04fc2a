"""Goods of an order that leave together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from common.bulk import insert_rows, update_rows
from common.database import Transaction
from common.money import format_quantity
from common.wire import enum_value, timestamp
from erp.sales.v1 import sales_pb2 as pb
from sales import tables
from sales.lifecycle import SHIPMENT


@dataclass
class Shipment:
    """One shipment of an order."""

    order_id: UUID
    id: UUID
    number: str
    state: str
    created_at: datetime
    # Units by order line.
    units: dict[UUID, Decimal]

    @property
    def pending(self) -> bool:
        """Whether we do not know yet that the goods left."""
        return self.state == "pending"

    def move(self, state: str) -> None:
        """Let it leave, or be refused."""
        self.state = SHIPMENT.move(self.state, state)

    def to_wire(self, products: Mapping[UUID, UUID]) -> pb.Shipment:
        """The shipment as it travels; `products` are those of the order's lines, by line."""
        return pb.Shipment(
            id=str(self.id),
            number=self.number,
            state=enum_value(pb.ShipmentState, self.state),
            lines=[
                pb.ShipmentLine(
                    order_line_id=str(line_id),
                    product_id=str(products[line_id]),
                    quantity=format_quantity(quantity),
                )
                for line_id, quantity in self.units.items()
            ],
            create_time=timestamp(self.created_at),
        )


_OF_ORDERS = (
    select(
        *tables.shipments.c["order_id", "id", "number", "state", "created_at"],
        *tables.shipment_lines.c["order_line_id", "quantity"],
    )
    .join_from(
        tables.shipments,
        tables.shipment_lines,
        (tables.shipment_lines.c.order_id == tables.shipments.c.order_id)
        & (tables.shipment_lines.c.shipment_id == tables.shipments.c.id),
    )
    .where(
        tables.shipments.c.order_id
        == any_(bindparam("order_ids", type_=ARRAY(tables.shipments.c.order_id.type)))
    )
    .order_by(tables.shipments.c.id, tables.shipment_lines.c.order_line_id)
)


async def list_shipments(tx: Transaction, order_ids: Sequence[UUID]) -> dict[UUID, list[Shipment]]:
    """The shipments of orders by order, oldest first."""
    found: dict[UUID, Shipment] = {}
    for row in await tx.rows(_OF_ORDERS, {"order_ids": order_ids}):
        shipment = found.get(row.id)
        if shipment is None:
            shipment = Shipment(row.order_id, row.id, row.number, row.state, row.created_at, {})
            found[row.id] = shipment
        shipment.units[row.order_line_id] = row.quantity
    by_order: dict[UUID, list[Shipment]] = {}
    for shipment in found.values():
        by_order.setdefault(shipment.order_id, []).append(shipment)
    return by_order


async def insert_shipments(tx: Transaction, new: Sequence[Shipment]) -> None:
    """Store new shipments."""
    rows = [vars(shipment) for shipment in new]
    heads = [{name: row[name] for name in row if name != "units"} for row in rows]
    await insert_rows(tx, tables.shipments, heads)
    lines = [
        {
            "order_id": shipment.order_id,
            "shipment_id": shipment.id,
            "order_line_id": line_id,
            "quantity": quantity,
        }
        for shipment in new
        for line_id, quantity in shipment.units.items()
    ]
    await insert_rows(tx, tables.shipment_lines, lines)


async def write_states(tx: Transaction, changed: Iterable[Shipment]) -> None:
    """Store what became of shipments."""
    rows = [
        {"order_id": shipment.order_id, "id": shipment.id, "state": shipment.state}
        for shipment in changed
    ]
    await update_rows(tx, tables.shipments, ("order_id", "id"), rows)
