"""What the inventory does when something happens elsewhere."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from uuid import UUID

from common.database import Transaction
from common.errors import DomainError
from common.listening import Heard, listens_to
from erp.gateway.v1.events_pb2 import TenantCreated
from erp.sales.v1.events_pb2 import OrderCancelled, OrderConfirmed, OrderShipped, ShippedLine
from inventory.companies import open_companies
from inventory.releasing import CancelledOrder, release_orders
from inventory.reserving import ReserveStock, reserve
from inventory.shipping import Leaving, ShippedOrder, ship_orders
from inventory.stock import work_alone
from inventory.warehouses import CreateWarehouse, create_warehouse


@listens_to(TenantCreated, queue="high")
async def make_room(tx: Transaction, created: Sequence[Heard[TenantCreated]]) -> None:
    """A new company keeps stock, in a first warehouse if it was created with one."""
    for company in await open_companies(tx, [heard.message for heard in created]):
        if company.warehouse_code:
            first = CreateWarehouse(company.warehouse_code, company.warehouse_name)
            await create_warehouse(tx, first)


@listens_to(OrderConfirmed, queue="high")
async def hold_goods(tx: Transaction, confirmed: Sequence[Heard[OrderConfirmed]]) -> None:
    """A confirmed order gets its goods, or waits for them."""
    await work_alone(tx)
    outcomes = await reserve(tx, [ReserveStock.on_confirmation(heard) for heard in confirmed])
    for outcome in outcomes:
        if isinstance(outcome, DomainError):
            raise outcome


@listens_to(OrderShipped, queue="high")
async def take_out_goods(tx: Transaction, shipped: Sequence[Heard[OrderShipped]]) -> None:
    """The goods of an order leave the warehouse."""
    await work_alone(tx)
    orders = [
        ShippedOrder(
            UUID(heard.message.order_id),
            heard.message.shipment_id,
            _leaving(heard.message.lines),
            heard.request_id,
        )
        for heard in shipped
    ]
    await ship_orders(tx, orders)


@listens_to(OrderCancelled, queue="high")
async def let_go_of_goods(tx: Transaction, cancelled: Sequence[Heard[OrderCancelled]]) -> None:
    """The goods of a cancelled order are free again."""
    await work_alone(tx)
    orders = [CancelledOrder(UUID(one.message.order_id), one.request_id) for one in cancelled]
    await release_orders(tx, orders)


def _leaving(lines: Iterable[ShippedLine]) -> tuple[Leaving, ...]:
    return tuple(Leaving(UUID(line.product_id), Decimal(line.quantity)) for line in lines)
