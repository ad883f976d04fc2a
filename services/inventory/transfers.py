"""Goods on their way between warehouses: they belong to neither, and their cost travels along."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, select, text

from common.bulk import insert_rows, update_rows
from common.database import Transaction
from common.errors import NotFound
from common.listing import Listing
from common.money import format_quantity, share_of
from common.pagination import Page
from common.wire import enum_value, enum_word, timestamp
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.companies import Company, get_company
from inventory.errors import ReceivesMoreThanSent, TransferNotInTransit
from inventory.levels import NOTHING, Key
from inventory.tables import one_of, transfer_lines, transfers

_LIST = Listing(api.ListStockTransfersRequest, transfers.c, "id")
IN_TRANSIT, RECEIVED, CANCELLED = "in_transit", "received", "cancelled"


@dataclass
class TransferLine:
    """A product of a transfer; what is in transit is worth `transit_value_minor` together."""

    product_id: UUID
    quantity: Decimal
    received: Decimal
    returned: Decimal
    transit_value_minor: int

    @property
    def in_transit(self) -> Decimal:
        """Units that are on their way."""
        return self.quantity - self.received - self.returned

    def arrive(self, quantity: Decimal) -> int:
        """Let units arrive, and say what they cost."""
        cost = self._lose(quantity)
        self.received += quantity
        return cost

    def go_back(self) -> tuple[Decimal, int]:
        """Return all that is on its way: how much that is, and what it costs."""
        quantity = self.in_transit
        cost = self._lose(quantity)
        self.returned += quantity
        return quantity, cost

    def _lose(self, quantity: Decimal) -> int:
        if quantity > self.in_transit:
            raise ReceivesMoreThanSent(self.product_id, quantity, self.in_transit)
        cost = share_of(self.transit_value_minor, quantity, self.in_transit)
        self.transit_value_minor -= cost
        return cost


@dataclass
class Transfer:
    """Goods that were sent from one warehouse to another."""

    id: UUID
    number: str
    source_id: UUID
    destination_id: UUID
    reference: str
    state: str
    version: int
    created_at: datetime
    updated_at: datetime
    lines: list[TransferLine]
    company: Company

    @classmethod
    def of(cls, row: Row[Any], lines: Sequence[TransferLine], company: Company) -> Self:
        """Read a row of the table, and those of its lines."""
        return cls(
            id=row.id,
            number=row.number,
            source_id=row.source_warehouse_id,
            destination_id=row.destination_warehouse_id,
            reference=row.reference,
            state=row.state,
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
            lines=list(lines),
            company=company,
        )

    def keys_at(self, warehouse_id: UUID) -> set[Key]:
        """The levels of its products in one of its warehouses."""
        return {Key(line.product_id, warehouse_id) for line in self.lines}

    def demand_in_transit(self) -> None:
        """Let pass what is on its way.

        Raises:
            TransferNotInTransit: nothing of it is.
        """
        if self.state != IN_TRANSIT:
            raise TransferNotInTransit(self.id, self.number, self.state)

    def receive(self, wanted: Mapping[UUID, Decimal]) -> list[tuple[UUID, Decimal, int]]:
        """Let units of products arrive, all that is in transit when none are named.

        Returns:
            Products, units and what these cost.

        Raises:
            TransferNotInTransit: nothing is on its way.
            ReceivesMoreThanSent: less of a product is on its way.
        """
        self.demand_in_transit()
        lines = {line.product_id: line for line in self.lines}
        for product_id, quantity in wanted.items():
            if product_id not in lines:
                raise ReceivesMoreThanSent(product_id, quantity, NOTHING)
        arriving = wanted or {line.product_id: line.in_transit for line in self.lines}
        arrived = [
            (product_id, quantity, lines[product_id].arrive(quantity))
            for product_id, quantity in arriving.items()
            if quantity
        ]
        self._become(IN_TRANSIT if any(line.in_transit for line in self.lines) else RECEIVED)
        return arrived

    def cancel(self) -> list[tuple[UUID, Decimal, int]]:
        """Return all that is on its way: products, units and what these cost.

        Raises:
            TransferNotInTransit: nothing is on its way.
        """
        self.demand_in_transit()
        left = [line for line in self.lines if line.in_transit]
        back = [(line.product_id, *line.go_back()) for line in left]
        self._become(CANCELLED)
        return back

    def _become(self, state: str) -> None:
        self.state = state
        self.version += 1
        self.updated_at = datetime.now(UTC)

    def to_wire(self) -> pb.StockTransfer:
        """The transfer as it travels."""
        return pb.StockTransfer(
            id=str(self.id),
            number=self.number,
            source_warehouse_id=str(self.source_id),
            destination_warehouse_id=str(self.destination_id),
            reference=self.reference,
            state=enum_value(pb.StockTransferState, self.state),
            lines=[_line_to_wire(line, self.company) for line in self.lines],
            version=self.version,
            create_time=timestamp(self.created_at),
            update_time=timestamp(self.updated_at),
        )


async def get_transfer(tx: Transaction, transfer_id: UUID) -> Transfer:
    """One transfer.

    Raises:
        NotFound: there is no such transfer.
    """
    rows = await tx.rows(select(transfers).where(transfers.c.id == transfer_id))
    return await _only(tx, rows, transfer_id)


async def lock_transfer(tx: Transaction, transfer_id: UUID) -> Transfer:
    """Lock a transfer whose levels are locked already, and read it as it is now."""
    rows = await tx.rows(_LOCK, {"id": transfer_id})
    return await _only(tx, rows, transfer_id)


async def list_transfers(tx: Transaction, page: Page, state: int) -> tuple[list[Transfer], str]:
    """A page of transfers, oldest first, and the token of the next page."""
    statement = select(transfers)
    if state:
        word = enum_word(pb.StockTransferState, state)
        statement = statement.where(transfers.c.state == word)
    rows, token = await _LIST.read(tx, statement, page)
    return await _with_lines(tx, rows), token


async def insert_transfer(tx: Transaction, transfer: Transfer) -> None:
    """Store a new transfer."""
    await insert_rows(tx, transfers, [_row(transfer)])
    await insert_rows(tx, transfer_lines, _line_rows(transfer))


async def save_transfer(tx: Transaction, transfer: Transfer) -> None:
    """Store what has changed of a transfer and its lines."""
    changed = ("id", "state", "version", "updated_at")
    row = _row(transfer)
    await update_rows(tx, transfers, ("id",), [{name: row[name] for name in changed}])
    moved = ("transfer_id", "position", "received", "returned", "transit_value_minor")
    lines = [{name: line[name] for name in moved} for line in _line_rows(transfer)]
    await update_rows(tx, transfer_lines, ("transfer_id", "position"), lines)


_LOCK = text("SELECT * FROM transfers WHERE id = :id FOR NO KEY UPDATE")


async def _only(tx: Transaction, rows: Sequence[Row[Any]], transfer_id: UUID) -> Transfer:
    found = await _with_lines(tx, rows)
    if not found:
        raise NotFound("transfer", transfer_id)
    return found[0]


async def _with_lines(tx: Transaction, rows: Sequence[Row[Any]]) -> list[Transfer]:
    company = await get_company(tx)
    lines: dict[UUID, list[TransferLine]] = {row.id: [] for row in rows}
    if rows:
        named = one_of(transfer_lines.c.transfer_id, list(lines))
        ordered = select(transfer_lines).where(named).order_by("transfer_id", "position")
        for line in await tx.rows(ordered):
            names = TransferLine.__dataclass_fields__
            values = (getattr(line, name) for name in names)
            lines[line.transfer_id].append(TransferLine(*values))
    return [Transfer.of(row, lines[row.id], company) for row in rows]


def _row(transfer: Transfer) -> dict[str, object]:
    return {
        "id": transfer.id,
        "number": transfer.number,
        "source_warehouse_id": transfer.source_id,
        "destination_warehouse_id": transfer.destination_id,
        "reference": transfer.reference,
        "state": transfer.state,
        "version": transfer.version,
        "created_at": transfer.created_at,
        "updated_at": transfer.updated_at,
    }


def _line_rows(transfer: Transfer) -> list[dict[str, object]]:
    return [
        {"transfer_id": transfer.id, "position": position, **vars(line)}
        for position, line in enumerate(transfer.lines)
    ]


def _line_to_wire(line: TransferLine, company: Company) -> pb.StockTransferLine:
    return pb.StockTransferLine(
        product_id=str(line.product_id),
        quantity=format_quantity(line.quantity),
        received=format_quantity(line.received),
        returned=format_quantity(line.returned),
        in_transit=format_quantity(line.in_transit),
        in_transit_value=company.money(line.transit_value_minor).to_wire(),
    )
