"""Calling orders off, as long as none of their goods have left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from common import caller, ids, outbox
from common.database import Transaction
from common.errors import DomainError, NotFound
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_service_pb2 as rpc
from sales.errors import OrderAlreadyShipped, OrderNotCancellable
from sales.lifecycle import ORDER
from sales.orders import Order, lock_orders, read_parts, write_orders


@dataclass(frozen=True)
class CancelOrder:
    """Calls an order off."""

    order_id: UUID
    # 0 is any.
    version: int
    reason: str
    request_id: str

    @classmethod
    def from_wire(cls, request: rpc.CancelOrderRequest) -> Self:
        """Read the request."""
        order_id = ids.parse(request.id, "id")
        return cls(order_id, request.version, request.reason, caller.current().request_id)


async def cancel_orders(
    tx: Transaction, commands: Sequence[CancelOrder]
) -> list[Order | DomainError]:
    """Cancel orders; for those that had been confirmed, what was done for them is to be undone."""
    locked = await lock_orders(tx, [command.order_id for command in commands])
    await read_parts(tx, locked.values())
    outcomes = [_decide(tx, command, locked) for command in commands]
    await write_orders(tx, [outcome for outcome in outcomes if isinstance(outcome, Order)])
    return outcomes


def _decide(
    tx: Transaction, command: CancelOrder, locked: Mapping[UUID, Order]
) -> Order | DomainError:
    try:
        order = locked.get(command.order_id)
        if order is None:
            raise NotFound("order", command.order_id)
        demand_cancellable(order)
        order.demand_version(command.version)
    except DomainError as error:
        return error
    cancel(order, command.reason)
    order.raise_version()
    if order.number:
        announce(tx, order, command.request_id)
    return order


def announce(tx: Transaction, order: Order, request_id: str) -> None:
    """Tell inventory and accounting to undo their part."""
    event = events.OrderCancelled(order_id=str(order.id), reason=order.cancel_reason)
    outbox.publish(tx, event, request_id=request_id)


def demand_cancellable(order: Order) -> None:
    """Check that the order can be called off.

    Raises:
        OrderNotCancellable: it was called off before.
        OrderAlreadyShipped: some of it has left.
    """
    if not ORDER.allows(order.state, "cancelled"):
        raise OrderNotCancellable(order.state)
    if order.shipment_state != "none":
        raise OrderAlreadyShipped(order.number or "")


def cancel(order: Order, reason: str) -> None:
    """Call it off; a confirmed one waits for its goods to be released and its invoice credited."""
    confirmed = order.state == "confirmed"
    order.state = ORDER.move(order.state, "cancelled")
    order.cancel_reason = reason
    if confirmed:
        order.wait_for("release", "credit")
