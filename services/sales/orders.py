"""What customers want, and how far it has come: the record, how it is read and how it is stored."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, Select, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from common import ids
from common.bulk import insert_rows, update_rows
from common.database import Transaction
from common.errors import ConcurrentModification, DomainError, NotFound
from common.listing import Listing
from common.money import Money, format_quantity
from common.pagination import Page
from common.wire import enum_value, enum_word, timestamp
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as rpc
from sales import tables
from sales.lifecycle import FOLLOW_UPS, SHIPPING
from sales.shipments import Shipment, list_shipments


@dataclass
class OrderLine:
    """A product in an order."""

    order_id: UUID
    id: UUID
    product_id: UUID
    sku: str
    name: str
    quantity: Decimal
    shipped: Decimal
    shortage: Decimal
    unit_price_minor: int
    tax_rate: Decimal
    net_minor: int
    tax_minor: int
    gross_minor: int

    @property
    def open(self) -> Decimal:
        """Units that have not left yet."""
        return self.quantity - self.shipped

    def to_wire(self, currency: str) -> pb.OrderLine:
        """The line as it travels."""
        return pb.OrderLine(
            id=str(self.id),
            product_id=str(self.product_id),
            sku=self.sku,
            name=self.name,
            quantity=format_quantity(self.quantity),
            shipped=format_quantity(self.shipped),
            shortage=format_quantity(self.shortage),
            unit_price=Money(currency, self.unit_price_minor).to_wire(),
            tax_rate=format_quantity(self.tax_rate),
            net=Money(currency, self.net_minor).to_wire(),
            tax=Money(currency, self.tax_minor).to_wire(),
            gross=Money(currency, self.gross_minor).to_wire(),
        )


@dataclass
class Order:
    """What a customer wants; but for lines and shipments its fields are the table's columns."""

    id: UUID
    number: str | None
    customer_id: UUID
    warehouse_id: UUID
    reference: str
    backorder: str
    state: str
    reservation_state: str
    invoice_state: str
    shipment_state: str
    awaiting: list[str]
    currency_code: str
    net_minor: int
    tax_minor: int
    gross_minor: int
    invoice_id: UUID | None
    cancel_reason: str
    confirmed_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    # Whether nothing is due on its invoice any more.
    paid: bool
    lines: list[OrderLine] = field(default_factory=list)
    shipments: list[Shipment] = field(default_factory=list)
    # What other services would do, when its confirmation is only rehearsed.
    plan: pb.OrderPlan | None = None

    @property
    def settled(self) -> bool:
        """Whether no other service has work left for it."""
        return not self.awaiting

    def is_over(self, now: datetime) -> bool:
        """Whether its time has come before anything of it was shipped or all of it was paid."""
        open_still = self.state == "draft" or (
            self.state == "confirmed" and self.shipment_state == "none" and not self.paid
        )
        return open_still and self.expires_at is not None and self.expires_at <= now

    def wait_for(self, *follow_ups: str) -> None:
        """Note what other services now have to do."""
        wanted = {*self.awaiting, *follow_ups}
        self.awaiting = [name for name in FOLLOW_UPS if name in wanted]

    def wait_no_more_for(self, follow_up: str) -> None:
        """Note that another service has done its part."""
        self.awaiting = [name for name in self.awaiting if name != follow_up]

    def see_what_has_left(self) -> None:
        """Let the shipping state follow from the lines."""
        if all(not line.shipped for line in self.lines):
            state = "none"
        else:
            state = "partial" if any(line.open for line in self.lines) else "shipped"
        self.shipment_state = SHIPPING.move(self.shipment_state, state)

    def raise_version(self) -> None:
        """Mark it as changed."""
        self.version += 1
        self.updated_at = datetime.now(UTC)

    def demand_version(self, version: int) -> None:
        """Check the version that a command names; 0 is any.

        Raises:
            ConcurrentModification: it is another one by now.
        """
        if version not in (0, self.version):
            raise ConcurrentModification("order", self.id)

    def to_wire(self) -> pb.Order:
        """The order as it travels."""
        products = {line.id: line.product_id for line in self.lines}
        return pb.Order(
            id=str(self.id),
            number=self.number or "",
            customer_id=str(self.customer_id),
            warehouse_id=str(self.warehouse_id),
            reference=self.reference,
            state=enum_value(pb.OrderState, self.state),
            reservation_state=enum_value(pb.OrderReservationState, self.reservation_state),
            invoice_state=enum_value(pb.OrderInvoiceState, self.invoice_state),
            shipment_state=enum_value(pb.OrderShipmentState, self.shipment_state),
            backorder=enum_value(pb.BackorderPolicy, self.backorder),
            lines=[line.to_wire(self.currency_code) for line in self.lines],
            shipments=[shipment.to_wire(products) for shipment in self.shipments],
            net=Money(self.currency_code, self.net_minor).to_wire(),
            tax=Money(self.currency_code, self.tax_minor).to_wire(),
            gross=Money(self.currency_code, self.gross_minor).to_wire(),
            invoice_id=str(self.invoice_id or ""),
            cancel_reason=self.cancel_reason,
            awaiting=self.awaiting,
            version=self.version,
            create_time=timestamp(self.created_at),
            update_time=timestamp(self.updated_at),
            confirm_time=timestamp(self.confirmed_at),
            plan=self.plan,
            expire_time=timestamp(self.expires_at),
        )


@dataclass(frozen=True)
class OrderFilter:
    """Which orders a list is about; None is all."""

    customer_id: UUID | None = None
    state: str | None = None
    reference: str | None = None

    @classmethod
    def from_wire(cls, request: rpc.ListOrdersRequest) -> Self:
        """Read the request."""
        return cls(
            ids.parse_optional(request.customer_id, "customer_id"),
            enum_word(pb.OrderState, request.state) or None,
            request.reference or None,
        )

    def of(self, statement: Select[Any]) -> Select[Any]:
        """The statement for these orders only."""
        for name, value in vars(self).items():
            if value is not None:
                statement = statement.where(tables.orders.c[name] == value)
        return statement


_LIST = Listing(rpc.ListOrdersRequest, tables.orders.c, "id")
_COLUMNS = [column for column in tables.orders.c if column.name != "tenant_id"]
_LINE_COLUMNS = [column for column in tables.order_lines.c if column.name != "tenant_id"]
_IDS = bindparam("ids", type_=ARRAY(tables.orders.c.id.type))
_LOCK = (
    select(*_COLUMNS)
    .where(tables.orders.c.id == any_(_IDS))
    .order_by(tables.orders.c.id)
    # Lines and shipments refer to the order meanwhile: its key stays as it is.
    .with_for_update(key_share=True)
)
_BY_ID = select(*_COLUMNS).where(tables.orders.c.id == any_(_IDS))
_LINES = (
    select(*_LINE_COLUMNS)
    .where(tables.order_lines.c.order_id == any_(_IDS))
    .order_by(tables.order_lines.c.order_id, tables.order_lines.c.id)
)
# What a change of an order can change; the rest is as it was created.
_CHANGING = (
    "number state reservation_state invoice_state shipment_state awaiting invoice_id "
    "cancel_reason confirmed_at paid version updated_at"
).split()


async def get_orders(tx: Transaction, order_ids: Sequence[UUID]) -> list[Order | DomainError]:
    """The orders with these ids, with their lines and shipments; NotFound where there is none."""
    rows = await tx.rows(_BY_ID, {"ids": list(set(order_ids))})
    found = {row.id: _order(row) for row in rows}
    await read_parts(tx, found.values())
    return [found.get(order_id) or NotFound("order", order_id) for order_id in order_ids]


async def list_orders(tx: Transaction, page: Page, wanted: OrderFilter) -> tuple[list[Order], str]:
    """A page of orders with their lines and shipments, oldest first, and the next page's token."""
    rows, token = await _LIST.read(tx, wanted.of(select(*_COLUMNS)), page)
    found = [_order(row) for row in rows]
    await read_parts(tx, found)
    return found, token


async def lock_orders(tx: Transaction, order_ids: Collection[UUID]) -> dict[UUID, Order]:
    """Those of the orders that exist, by id, locked in id order; without lines and shipments."""
    rows = await tx.rows(_LOCK, {"ids": sorted(set(order_ids))})
    return {row.id: _order(row) for row in rows}


async def read_parts(tx: Transaction, of: Collection[Order]) -> None:
    """Read the lines and shipments of orders."""
    await read_lines(tx, of)
    await read_shipments(tx, of)


async def read_lines(tx: Transaction, of: Collection[Order]) -> None:
    """Read the lines of orders, in the order in which they were given."""
    by_id = {order.id: order for order in of}
    if by_id:
        for row in await tx.rows(_LINES, {"ids": list(by_id)}):
            by_id[row.order_id].lines.append(OrderLine(**row._asdict()))


async def read_shipments(tx: Transaction, of: Collection[Order]) -> None:
    """Read the shipments of orders, oldest first."""
    by_id = {order.id: order for order in of if order.number}
    if by_id:
        for order_id, shipped in (await list_shipments(tx, list(by_id))).items():
            by_id[order_id].shipments = shipped


async def insert_orders(tx: Transaction, new: Sequence[Order]) -> None:
    """Store new orders with their lines."""
    await insert_rows(tx, tables.orders, [_columns(order) for order in new])
    lines = [vars(line) for order in new for line in order.lines]
    await insert_rows(tx, tables.order_lines, lines)


async def write_orders(tx: Transaction, changed: Iterable[Order]) -> None:
    """Store what changed about orders that are locked."""
    rows = [
        {"id": order.id, **{name: getattr(order, name) for name in _CHANGING}} for order in changed
    ]
    await update_rows(tx, tables.orders, ("id",), rows)


async def write_lines(tx: Transaction, changed: Iterable[OrderLine]) -> None:
    """Store how much of lines has left and how much is missing."""
    rows = [
        {name: getattr(line, name) for name in ("order_id", "id", "shipped", "shortage")}
        for line in changed
    ]
    await update_rows(tx, tables.order_lines, ("order_id", "id"), rows)


def _order(row: Row[Any]) -> Order:
    # A list's rows hold more than the order itself.
    return Order(**{column.name: row[place] for place, column in enumerate(_COLUMNS)})


def _columns(order: Order) -> dict[str, Any]:
    return {column.name: getattr(order, column.name) for column in _COLUMNS}
