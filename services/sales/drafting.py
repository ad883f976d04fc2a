"""Making orders: what is asked for is looked up, priced and stored, and confirmed when asked."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from common import caller, ids
from common.database import Transaction
from common.errors import DomainError, InvalidRequest, NotFound, NotPermitted
from common.money import Money
from common.wire import enum_word
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as rpc
from sales import confirming
from sales.customers import Customer, find_customers
from sales.errors import CurrencyMismatch, ProductArchived
from sales.goods import Billing, Goods, Hold, OtherServices, Product, add_up
from sales.orders import Order, OrderLine, insert_orders
from sales.pricing import TOO_MANY_UNITS, price_line, total

MAY_CONFIRM = "sales.orders.confirm"
_NONE = Decimal(0)


@dataclass(frozen=True)
class NewLine:
    """A product to order."""

    product_id: UUID
    quantity: Decimal
    # None: the product's list price.
    unit_price: Money | None
    # None: the company's default rate.
    tax_rate: Decimal | None

    @classmethod
    def from_wire(cls, line: rpc.NewOrderLine, field: str) -> Self:
        """Read a line; `field` is its place in the request.

        Raises:
            InvalidRequest: the price is in no currency, or too exact for it.
        """
        price = None
        if line.HasField("unit_price"):
            price = Money.from_wire(line.unit_price, f"{field}/unit_price")
        return cls(
            ids.parse(line.product_id, f"{field}/product_id"),
            Decimal(line.quantity),
            price,
            Decimal(line.tax_rate) if line.HasField("tax_rate") else None,
        )


@dataclass(frozen=True)
class CreateOrder:
    """Makes an order, and confirms it in the same transaction when asked to."""

    # Made beforehand, so that goods can be held for it before it exists.
    order_id: UUID
    customer_id: UUID
    warehouse_id: UUID
    reference: str
    backorder: str
    confirm: bool
    # None: never.
    expires_at: datetime | None
    lines: tuple[NewLine, ...]
    request_id: str
    # Whether its goods are held, which an order that refuses to wait needs to be confirmed.
    held: bool = False
    # What the lines come to; known once the goods have been looked up.
    draft: Order | None = None

    @classmethod
    def from_wire(cls, request: rpc.CreateOrderRequest) -> Self:
        """Read the request.

        Raises:
            InvalidRequest: a price is in no currency, or too exact for it, or its time is over.
            NotPermitted: the caller may make orders but not confirm them.
        """
        me = caller.current()
        if request.confirm and not me.may(MAY_CONFIRM):
            raise NotPermitted(MAY_CONFIRM)
        return cls(
            order_id=ids.new(),
            customer_id=ids.parse(request.customer_id, "customer_id"),
            warehouse_id=ids.parse(request.warehouse_id, "warehouse_id"),
            reference=request.reference,
            backorder=enum_word(pb.BackorderPolicy, request.backorder) or "allow",
            confirm=request.confirm,
            expires_at=_future(request),
            lines=tuple(
                NewLine.from_wire(line, f"lines/{place}")
                for place, line in enumerate(request.lines)
            ),
            request_id=me.request_id,
        )


def _future(request: rpc.CreateOrderRequest) -> datetime | None:
    if not request.HasField("expire_time"):
        return None
    moment = request.expire_time.ToDatetime(UTC)
    if moment <= datetime.now(UTC):
        raise InvalidRequest.of("/expire_time", "must be in the future")
    return moment


async def prepare(
    services: OtherServices, commands: Sequence[CreateOrder]
) -> list[CreateOrder | DomainError]:
    """Look up what the commands name, all at once, and price them.

    A command turns into its error when it names what does not exist or cannot be sold.
    """
    product_ids = {line.product_id for command in commands for line in command.lines}
    warehouse_ids = {command.warehouse_id for command in commands}
    goods, billing = await asyncio.gather(
        services.resolve_goods(product_ids, warehouse_ids), services.get_billing()
    )
    return [_price(command, goods, billing) for command in commands]


def _price(command: CreateOrder, goods: Goods, billing: Billing) -> CreateOrder | DomainError:
    try:
        return replace(command, draft=draft(command, goods, billing))
    except DomainError as error:
        return error


def draft(command: CreateOrder, goods: Goods, billing: Billing) -> Order:
    """The order that a command asks for, priced.

    Raises:
        NotFound: there is no such product or warehouse.
        ProductArchived: a product cannot be sold any more.
        CurrencyMismatch: a price is not in the currency of the books.
        InvalidRequest: it comes to more than we can keep.
    """
    if command.warehouse_id not in goods.warehouses:
        raise NotFound("warehouse", command.warehouse_id)
    lines = [
        _line(command.order_id, line, f"/lines/{place}", goods, billing)
        for place, line in enumerate(command.lines)
    ]
    _demand_countable(lines)
    return _order(command, lines, billing.currency_code)


def _line(order_id: UUID, line: NewLine, pointer: str, goods: Goods, billing: Billing) -> OrderLine:
    product = goods.get_product(line.product_id)
    if product.archived:
        raise ProductArchived(product.sku)
    unit_minor = _unit_minor(line, product, pointer, billing.currency_code)
    tax_rate = billing.tax_rate if line.tax_rate is None else line.tax_rate
    price = price_line(line.quantity, unit_minor, tax_rate, pointer)
    return OrderLine(
        order_id=order_id,
        id=ids.new(),
        product_id=product.id,
        sku=product.sku,
        name=product.name,
        quantity=line.quantity,
        shipped=_NONE,
        shortage=_NONE,
        unit_price_minor=unit_minor,
        tax_rate=tax_rate,
        net_minor=price.net_minor,
        tax_minor=price.tax_minor,
        gross_minor=price.gross_minor,
    )


def _unit_minor(line: NewLine, product: Product, pointer: str, currency: str) -> int:
    price = line.unit_price or product.list_price
    if price.currency != currency:
        field = "unit_price" if line.unit_price else "product_id"
        raise CurrencyMismatch(f"{pointer}/{field}", currency, price.currency)
    return price.minor


def _demand_countable(lines: Sequence[OrderLine]) -> None:
    units = add_up((line.product_id, line.quantity) for line in lines)
    for place, line in enumerate(lines):
        if units[line.product_id] >= TOO_MANY_UNITS:
            rule = f"must not add up to {TOO_MANY_UNITS} units of one product"
            raise InvalidRequest.of(f"/lines/{place}/quantity", rule)


def _order(command: CreateOrder, lines: list[OrderLine], currency: str) -> Order:
    now = datetime.now(UTC)
    price = total(lines)
    return Order(
        id=command.order_id,
        number=None,
        customer_id=command.customer_id,
        warehouse_id=command.warehouse_id,
        reference=command.reference,
        backorder=command.backorder,
        state="draft",
        reservation_state="none",
        invoice_state="none",
        shipment_state="none",
        awaiting=[],
        currency_code=currency,
        net_minor=price.net_minor,
        tax_minor=price.tax_minor,
        gross_minor=price.gross_minor,
        invoice_id=None,
        cancel_reason="",
        confirmed_at=None,
        expires_at=command.expires_at,
        paid=False,
        version=1,
        created_at=now,
        updated_at=now,
        lines=lines,
    )


async def create_orders(
    tx: Transaction, commands: Sequence[CreateOrder]
) -> list[Order | Hold | DomainError]:
    """Store prepared orders, and confirm those that are to be confirmed.

    An order that refuses to wait for goods is not stored before they are held: the answer then
    says what to hold.
    """
    buyers = await find_customers(tx, {command.customer_id for command in commands})
    outcomes = [_decide(command, buyers) for command in commands]
    made = [outcome for outcome in outcomes if isinstance(outcome, Order)]
    request_ids = {command.order_id: command.request_id for command in commands if command.confirm}
    confirmed = [order for order in made if order.id in request_ids]
    await confirming.number_orders(tx, confirmed)
    await insert_orders(tx, made)
    confirming.announce(tx, confirmed, request_ids)
    return outcomes


def _decide(command: CreateOrder, buyers: Mapping[UUID, Customer]) -> Order | Hold | DomainError:
    assert command.draft is not None
    # A copy: when the transaction has to be run again, it starts from the draft again.
    order = replace(command.draft)
    try:
        _demand_buyer(order, buyers)
    except DomainError as error:
        return error
    if command.confirm:
        if order.backorder == "forbid" and not command.held:
            return confirming.hold_for(order)
        confirming.confirm(order)
    return order


def _demand_buyer(order: Order, buyers: Mapping[UUID, Customer]) -> None:
    buyer = buyers.get(order.customer_id)
    if buyer is None:
        raise NotFound("customer", order.customer_id)
    if buyer.currency_code != order.currency_code:
        raise CurrencyMismatch("/customer_id", order.currency_code, buyer.currency_code)
