"""What would become of an order's goods, seen by reserving them in a rehearsal."""

from common.database import Transaction
from common.errors import DomainError
from common.listening import Heard
from erp.events.v1.events_pb2 import Event
from erp.sales.v1.events_pb2 import OrderConfirmed
from inventory.reservations import Reservation
from inventory.reserving import ReserveStock, reserve
from inventory.stock import work_alone


async def plan_reservation(tx: Transaction, event: Event) -> Reservation:
    """The reservation that an order would get if this were heard of its confirmation now.

    Raises:
        DomainError: it would get none.
    """
    order = OrderConfirmed.FromString(event.data)
    await work_alone(tx)
    [outcome] = await reserve(tx, [ReserveStock.on_confirmation(Heard(order, "", 0))])
    if isinstance(outcome, DomainError):
        raise outcome
    return outcome
