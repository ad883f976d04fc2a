"""Agreeing on orders: they get their numbers, and other services are told to do their part."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from common import caller, ids, numbers, outbox
from common.database import Transaction
from common.errors import DomainError, NotFound
from common.money import Money, format_quantity
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_service_pb2 as rpc
from sales.errors import OrderExpired, OrderNotDraft
from sales.goods import Hold, add_up
from sales.lifecycle import INVOICE, ORDER, RESERVATION
from sales.orders import Order, lock_orders, read_lines, write_orders

SERIES = "SO"


@dataclass(frozen=True)
class ConfirmOrder:
    """Agrees on a draft."""

    order_id: UUID
    # 0 is any.
    version: int
    request_id: str
    # Whether its goods are held, which an order that refuses to wait needs.
    held: bool = False

    @classmethod
    def from_wire(cls, request: rpc.ConfirmOrderRequest) -> Self:
        """Read the request."""
        return cls(ids.parse(request.id, "id"), request.version, caller.current().request_id)


async def confirm_orders(
    tx: Transaction, commands: Sequence[ConfirmOrder]
) -> list[Order | Hold | DomainError]:
    """Confirm orders in the order in which they are named.

    An order that refuses to wait for goods is left as it is until they are held: the answer then
    says what to hold.
    """
    locked = await lock_orders(tx, [command.order_id for command in commands])
    drafts = [order for order in locked.values() if order.state == "draft"]
    await read_lines(tx, drafts)
    outcomes = [_decide(command, locked) for command in commands]
    confirmed = [outcome for outcome in outcomes if isinstance(outcome, Order)]
    await number_orders(tx, confirmed)
    await write_orders(tx, confirmed)
    announce(tx, confirmed, _request_ids(commands, outcomes))
    return outcomes


def _decide(command: ConfirmOrder, locked: Mapping[UUID, Order]) -> Order | Hold | DomainError:
    try:
        order = locked.get(command.order_id)
        if order is None:
            raise NotFound("order", command.order_id)
        demand_draft(order)
        demand_in_time(order)
        order.demand_version(command.version)
        if order.backorder == "forbid" and not command.held:
            return hold_for(order)
        confirm(order)
        order.raise_version()
    except DomainError as error:
        return error
    return order


def _request_ids(
    commands: Iterable[ConfirmOrder], outcomes: Iterable[Order | Hold | DomainError]
) -> dict[UUID, str]:
    decided = zip(commands, outcomes, strict=True)
    return {
        command.order_id: command.request_id
        for command, outcome in decided
        if isinstance(outcome, Order)
    }


def demand_draft(order: Order) -> None:
    """Check that the order can be confirmed.

    Raises:
        OrderNotDraft: it was confirmed or cancelled before.
    """
    if not ORDER.allows(order.state, "confirmed"):
        raise OrderNotDraft(order.state)


def demand_in_time(order: Order) -> None:
    """Check that the order's time is not over, though nobody may have looked at the clock yet.

    Raises:
        OrderExpired: it is.
    """
    if order.expires_at and order.is_over(datetime.now(UTC)):
        raise OrderExpired(f"{order.expires_at:%Y-%m-%dT%H:%M:%SZ}")


def confirm(order: Order) -> None:
    """Agree on a draft; its number is still to come."""
    order.state = ORDER.move(order.state, "confirmed")
    order.reservation_state = RESERVATION.move(order.reservation_state, "pending")
    order.invoice_state = INVOICE.move(order.invoice_state, "pending")
    order.wait_for("reservation", "invoice")
    order.confirmed_at = datetime.now(UTC)


def hold_for(order: Order) -> Hold:
    """What is to be held before the order can be confirmed."""
    units = add_up((line.product_id, line.quantity) for line in order.lines)
    return Hold(order.id, order.warehouse_id, units)


async def number_orders(tx: Transaction, confirmed: Sequence[Order]) -> None:
    """Give confirmed orders their numbers."""
    taken = await numbers.take(tx, SERIES, len(confirmed))
    for order, number in zip(confirmed, taken, strict=True):
        order.number = number


def announce(tx: Transaction, confirmed: Iterable[Order], request_ids: Mapping[UUID, str]) -> None:
    """Tell inventory and accounting to do their part."""
    for order in confirmed:
        outbox.publish(tx, _event(order), request_id=request_ids[order.id])


def _event(order: Order) -> events.OrderConfirmed:
    currency = order.currency_code
    return events.OrderConfirmed(
        order_id=str(order.id),
        number=order.number or "",
        customer_id=str(order.customer_id),
        warehouse_id=str(order.warehouse_id),
        lines=[
            events.ConfirmedLine(
                order_line_id=str(line.id),
                product_id=str(line.product_id),
                sku=line.sku,
                quantity=format_quantity(line.quantity),
                net=Money(currency, line.net_minor).to_wire(),
                tax_rate=format_quantity(line.tax_rate),
                tax=Money(currency, line.tax_minor).to_wire(),
            )
            for line in order.lines
        ],
        net=Money(currency, order.net_minor).to_wire(),
        tax=Money(currency, order.tax_minor).to_wire(),
        gross=Money(currency, order.gross_minor).to_wire(),
    )
