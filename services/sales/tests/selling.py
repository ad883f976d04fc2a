"""A shop: sales on a real database, with inventory and accounting as far as sales asks them."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.engine import Engine

from common import ids
from common.caller import acting_as, service_caller
from common.database import Database
from common.errors import DomainError
from common.listening import Heard, lanes_of
from common.money import Money
from common.testing import ServiceDatabase, as_user, rows_of
from erp.accounting.v1 import events_pb2 as accounting
from erp.inventory.v1 import events_pb2 as inventory
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as messages
from erp.types.v1 import money_pb2
from sales import listeners
from sales.audit import auditor_of
from sales.goods import Billing, Goods, Hold, OtherServices, Product
from sales.servicer import SalesServicer

LISTENERS = {
    kind: listening.listener
    for lane in lanes_of(listeners)
    for kind, listening in lane.listenings.items()
}


@dataclass
class Neighbours:
    """What inventory and accounting know of one company."""

    products: dict[UUID, Product] = field(default_factory=dict)
    warehouses: set[UUID] = field(default_factory=set)
    billing: Billing = field(default_factory=lambda: Billing(Decimal("0.19"), "EUR"))
    lookups: list[str] = field(default_factory=list)
    held: list[Hold] = field(default_factory=list)
    released: list[UUID] = field(default_factory=list)
    planned: list[events.OrderConfirmed] = field(default_factory=list)
    # Raised instead of holding goods of these orders' lines.
    missing: DomainError | None = None
    missing_products: set[UUID] = field(default_factory=set)

    def services(self) -> OtherServices:
        return OtherServices(self.resolve, self.get_billing, self.hold, self.release, self.plan)

    async def resolve(self, products: Collection[UUID], warehouses: Collection[UUID]) -> Goods:
        self.lookups.append("goods")
        found = {key: self.products[key] for key in products if key in self.products}
        return Goods(found, frozenset(self.warehouses & set(warehouses)))

    async def get_billing(self) -> Billing:
        self.lookups.append("billing")
        return self.billing

    async def hold(self, hold: Hold) -> UUID:
        if self.missing and (self.missing_products & set(hold.units) or not self.missing_products):
            raise self.missing
        self.held.append(hold)
        return ids.new()

    async def plan(self, order: events.OrderConfirmed) -> pb.OrderPlan:
        self.planned.append(order)
        return pb.OrderPlan()

    async def release(self, reservation_id: UUID) -> None:
        self.released.append(reservation_id)


@dataclass
class Shop:
    """One company's sales, used as its people would."""

    tenant: UUID
    database: Database
    urls: ServiceDatabase
    neighbours: Neighbours
    servicer: SalesServicer
    customer: UUID = field(default_factory=ids.new)
    warehouse: UUID = field(default_factory=ids.new)

    async def rpc(self, name: str, request: Any, permissions: Sequence[str] = ()) -> Any:
        with as_user(self.tenant, *permissions):
            return await getattr(self.servicer, name)(request, None)

    async def add_customer(self, **fields: Any) -> pb.Customer:
        request = messages.CreateCustomerRequest(**{"name": "Blue Door Ltd", **fields})
        return await self.rpc("CreateCustomer", request)

    def add_product(
        self, sku: str = "OAK-TABLE", price: str = "120.00", currency: str = "EUR"
    ) -> UUID:
        amount = Money.from_wire(money_pb2.Money(currency_code=currency, amount=price), "price")
        product = Product(ids.new(), sku, sku.title(), amount, archived=False)
        self.neighbours.products[product.id] = product
        return product.id

    def archive(self, product: UUID) -> None:
        known = self.neighbours.products
        known[product] = replace(known[product], archived=True)

    def order(self, *lines: tuple[UUID, str] | messages.NewOrderLine, **fields: Any) -> Any:
        new = [
            line
            if isinstance(line, messages.NewOrderLine)
            else messages.NewOrderLine(product_id=str(line[0]), quantity=line[1])
            for line in lines
        ]
        fields.setdefault("customer_id", str(self.customer))
        fields.setdefault("warehouse_id", str(self.warehouse))
        return messages.CreateOrderRequest(lines=new, **fields)

    async def create(self, *lines: Any, **fields: Any) -> pb.Order:
        return await self.rpc("CreateOrder", self.order(*lines, **fields))

    async def confirm(self, order: pb.Order, version: int = 0) -> pb.Order:
        return await self.rpc(
            "ConfirmOrder", messages.ConfirmOrderRequest(id=order.id, version=version)
        )

    async def ship(self, order: pb.Order, *units: tuple[str, str], version: int = 0) -> pb.Order:
        lines = [
            messages.NewShipmentLine(order_line_id=line, quantity=many) for line, many in units
        ]
        request = messages.ShipOrderRequest(id=order.id, version=version, lines=lines)
        return await self.rpc("ShipOrder", request)

    async def cancel(self, order: pb.Order, version: int = 0, reason: str = "") -> pb.Order:
        request = messages.CancelOrderRequest(id=order.id, version=version, reason=reason)
        return await self.rpc("CancelOrder", request)

    async def get(self, order: pb.Order) -> pb.Order:
        return await self.rpc("GetOrder", messages.GetOrderRequest(id=order.id))

    async def hear(self, *messages: Any) -> None:
        """Something happened elsewhere: each run of one kind is heard together."""
        heard = [Heard(message, "elsewhere", place) for place, message in enumerate(messages, 1)]
        listener = LISTENERS[messages[0].DESCRIPTOR.full_name]
        with acting_as(service_caller("sales", self.tenant)):
            async with self.database.tenant_transaction() as tx:
                await listener(tx, heard)

    async def reserved_order(self, *lines: Any) -> pb.Order:
        """A confirmed order whose goods are held and whose invoice is posted."""
        order = await self.create(*lines, confirm=True)
        await self.hear(reserved(order))
        await self.hear(posted(order))
        return await self.get(order)

    def events(self, *kinds: Any) -> list[Any]:
        """The events of these kinds, in order."""
        wanted = {kind.DESCRIPTOR.full_name: kind for kind in kinds}
        rows = rows_of(
            self.urls.operator,
            "SELECT type, data FROM events WHERE tenant_id = %s ORDER BY sequence",
            self.tenant,
        )
        return [wanted[kind].FromString(data) for kind, data in rows if kind in wanted]

    def request_ids(self, kind: Any) -> list[Any]:
        """The requests that caused the events of this kind, in order."""
        rows = rows_of(
            self.urls.operator,
            "SELECT request_id FROM events WHERE tenant_id = %s AND type = %s ORDER BY sequence",
            self.tenant,
            kind.DESCRIPTOR.full_name,
        )
        return [request_id for (request_id,) in rows]

    async def violations(self) -> list[str]:
        """The promises that do not hold."""
        auditor = auditor_of(self.database)
        with as_user(self.tenant):
            answer = await auditor.CheckInvariants(SimpleNamespace(), None)
        return [f"{item.rule}: {item.detail}" for item in answer.violations]


def reserved(order: pb.Order, **fields: Any) -> inventory.StockReserved:
    fields = {"origin": "order", "order_id": order.id, **fields}
    return inventory.StockReserved(reservation_id=str(ids.new()), **fields)


def released(order: pb.Order, **fields: Any) -> inventory.StockReleased:
    fields = {"origin": "order", "order_id": order.id, **fields}
    return inventory.StockReleased(reservation_id=str(ids.new()), **fields)


def posted(order: pb.Order) -> accounting.InvoicePosted:
    return accounting.InvoicePosted(invoice_id=str(ids.new()), order_id=order.id)


def credited(order: pb.Order) -> accounting.InvoiceCredited:
    return accounting.InvoiceCredited(invoice_id=str(ids.new()), order_id=order.id)


def cost_posted(order: pb.Order, shipment_id: str) -> accounting.CostOfSalesPosted:
    return accounting.CostOfSalesPosted(order_id=order.id, shipment_id=shipment_id)


def settled_orders(shop: Shop) -> list[str]:
    return [item.order_id for item in shop.events(events.OrderSettled)]


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """The statements that reach the database meanwhile, without BEGIN and COMMIT."""
    statements: list[str] = []

    def note(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        # A gateway of tests before may still be looking at its own.
        if connection.engine.url.database == "sales":
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def outcomes_of(*calls: Any) -> list[Any]:
    """What becomes of calls made at the same time: an answer or a reason each."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, DomainError):
            raise answer
    return [answer.reason if isinstance(answer, DomainError) else answer for answer in answers]
