"""A company's stock as its people and the other services work with it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from common import caller, ids
from common.caller import Caller
from common.database import Database
from common.listening import Heard, lanes_of
from common.locks import Locks
from common.testing import as_user, rows_of
from erp.audit.v1 import audit_pb2
from erp.gateway.v1.events_pb2 import TenantCreated
from erp.inventory.v1 import events_pb2 as events
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from erp.sales.v1 import events_pb2 as sales
from erp.types.v1.money_pb2 import Money
from inventory import backorders, listeners, releasing
from inventory.audit import auditor_of
from inventory.servicer import InventoryServicer

Goods = Mapping[str, str | int]


def euro(amount: str) -> Money:
    return Money(currency_code="EUR", amount=amount)


class Stockroom:
    """One company, one warehouse, and products by their stock keeping unit."""

    def __init__(self, database: Database, operator: str, tenant_id: UUID, locks: Locks) -> None:
        self.database = database
        self.operator = operator
        self.tenant_id = tenant_id
        self.rpc = InventoryServicer(database, lambda: locks)
        self.auditor = auditor_of(database)
        self.warehouse_id = ""
        self.products: dict[str, str] = {}

    def elsewhere(self, database: Database, locks: Locks) -> "Stockroom":
        """The same company, served by another process."""
        other = Stockroom(database, self.operator, self.tenant_id, locks)
        other.warehouse_id, other.products = self.warehouse_id, self.products
        return other

    def me(self) -> AbstractContextManager[Caller]:
        return as_user(self.tenant_id)

    async def open(self, currency: str = "EUR") -> None:
        created = TenantCreated(tenant_id=str(self.tenant_id), name="Acme", currency_code=currency)
        await self.hear(created)
        self.warehouse_id = (await self.add_warehouse("MAIN")).id

    # What people ask for.

    async def add_warehouse(self, code: str) -> pb.Warehouse:
        with self.me():
            request = api.CreateWarehouseRequest(code=code, name=code.title())
            return await self.rpc.CreateWarehouse(request, None)

    async def add_product(self, sku: str, price: Money | None = None) -> pb.Product:
        request = api.CreateProductRequest(
            sku=sku, name=sku.title(), list_price=price or euro("120.00")
        )
        with self.me():
            product = await self.rpc.CreateProduct(request, None)
        self.products[sku] = product.id
        return product

    async def receive(self, sku: str, quantity: object, cost: str = "70.00") -> pb.StockReceipt:
        return await self.receive_all((sku, quantity, euro(cost)))

    async def receive_all(self, *lines: tuple[str, object, Money]) -> pb.StockReceipt:
        for sku, _, _ in lines:
            if sku not in self.products:
                await self.add_product(sku)
        request = api.ReceiveStockRequest(
            warehouse_id=self.warehouse_id,
            lines=[
                api.ReceiptLine(
                    product_id=self.products[sku], quantity=str(quantity), unit_cost=cost
                )
                for sku, quantity, cost in lines
            ],
        )
        with self.me():
            return await self.rpc.ReceiveStock(request, None)

    async def adjust(
        self, sku: str, quantity: object, cost: Money | None = None
    ) -> pb.StockAdjustment:
        line = api.AdjustmentLine(product_id=self.products[sku], quantity=str(quantity))
        if cost:
            line.unit_cost.CopyFrom(cost)
        request = api.AdjustStockRequest(
            warehouse_id=self.warehouse_id, reason="counted", lines=[line]
        )
        with self.me():
            return await self.rpc.AdjustStock(request, None)

    async def reserve(
        self,
        goods: Goods,
        *,
        reference: str | None = None,
        ttl: int | None = None,
        order_id: str | None = None,
    ) -> pb.Reservation:
        return await self.reserve_lines(
            list(goods.items()), reference=reference, ttl=ttl, order_id=order_id
        )

    async def reserve_lines(
        self,
        lines: Sequence[tuple[str, object]],
        *,
        reference: str | None = None,
        ttl: int | None = None,
        order_id: str | None = None,
    ) -> pb.Reservation:
        request = api.ReserveStockRequest(
            warehouse_id=self.warehouse_id,
            lines=self._lines(lines),
            reference=reference,
            ttl_seconds=ttl,
            order_id=order_id,
        )
        with self.me():
            return await self.rpc.ReserveStock(request, None)

    async def release(self, reservation_id: str) -> pb.Reservation:
        with self.me():
            return await self.rpc.ReleaseReservation(
                api.ReleaseReservationRequest(id=reservation_id), None
            )

    async def release_hold(self, reservation_id: str) -> pb.Reservation:
        """An order was not confirmed after all."""
        request = api.ReleaseHoldRequest(id=reservation_id)
        with self.me():
            return await self.rpc.ReleaseHold(request, None)

    async def ship(self, reservation_id: str, goods: Goods | None = None) -> pb.Reservation:
        request = api.ShipReservationRequest(
            id=reservation_id, lines=self._lines(list((goods or {}).items()))
        )
        with self.me():
            return await self.rpc.ShipReservation(request, None)

    async def reservation(self, reservation_id: str) -> pb.Reservation:
        with self.me():
            return await self.rpc.GetReservation(api.GetReservationRequest(id=reservation_id), None)

    async def reservation_of(self, order_id: str) -> pb.Reservation:
        with self.me():
            request = api.ListReservationsRequest(order_id=order_id)
            found = (await self.rpc.ListReservations(request, None)).reservations
        [reservation] = found
        return reservation

    async def stock(self, sku: str) -> pb.StockLevel:
        request = api.ListStockLevelsRequest(
            product_id=self.products[sku], warehouse_id=self.warehouse_id
        )
        with self.me():
            [level] = (await self.rpc.ListStockLevels(request, None)).stock_levels
        return level

    async def level(self, sku: str) -> tuple[str, str]:
        """Units on hand, and units of these that are reserved."""
        stock = await self.stock(sku)
        return stock.on_hand, stock.reserved

    async def value(self, sku: str) -> str:
        return (await self.stock(sku)).value.amount

    # What other services say.

    async def hold_for_order(self, order_id: str, goods: Goods, ttl: int = 60) -> pb.Reservation:
        request = api.ReserveForOrderRequest(
            order_id=order_id,
            warehouse_id=self.warehouse_id,
            lines=self._lines(list(goods.items())),
            ttl_seconds=ttl,
        )
        with self.me():
            return await self.rpc.ReserveForOrder(request, None)

    def confirmed(self, order_id: str, goods: Goods) -> sales.OrderConfirmed:
        return sales.OrderConfirmed(
            order_id=order_id,
            warehouse_id=self.warehouse_id,
            lines=[
                sales.ConfirmedLine(product_id=self.products[sku], sku=sku, quantity=str(quantity))
                for sku, quantity in goods.items()
            ],
        )

    def shipped(self, order_id: str, shipment_id: str, goods: Goods) -> sales.OrderShipped:
        return sales.OrderShipped(
            order_id=order_id,
            shipment_id=shipment_id,
            lines=[
                sales.ShippedLine(product_id=self.products[sku], quantity=str(quantity))
                for sku, quantity in goods.items()
            ],
        )

    async def confirm(self, order_id: str, goods: Goods) -> pb.Reservation:
        """Hear that an order was confirmed, and see what came of it."""
        await self.hear(self.confirmed(order_id, goods))
        return await self.reservation_of(order_id)

    async def cancel(self, *order_ids: str) -> None:
        await self.hear(*(sales.OrderCancelled(order_id=order_id) for order_id in order_ids))

    async def hear(self, *messages: Message) -> None:
        """Apply events in one transaction, runs of one type together, as the worker does."""
        by_type = {
            kind: listening.listener
            for lane in lanes_of(listeners)
            for kind, listening in lane.listenings.items()
        }

        async def apply(tx: Any) -> None:
            for kind, run in groupby(messages, key=lambda one: one.DESCRIPTOR.full_name):
                await by_type[kind](tx, [Heard(message, "request", 1) for message in run])

        with caller.acting_as(caller.service_caller("inventory", self.tenant_id)):
            await self.database.run(apply)

    # What time does.

    def pass_time_of(self, reservation_id: str) -> None:
        """Let a hold's time be over."""
        rows_of(
            self.operator,
            "UPDATE reservations SET expires_at = now() - interval '1 second' "
            "WHERE id = %s RETURNING id",
            reservation_id,
        )

    async def look_at_the_clock(self) -> None:
        await releasing.expire_holds(self.database)

    async def try_untried(self) -> None:
        await backorders.fill_untried(self.database)

    # What can be seen from outside.

    def events(self, kind: type[Message]) -> list[Any]:
        rows = rows_of(
            self.operator,
            "SELECT data FROM events WHERE tenant_id = %s AND type = %s ORDER BY sequence",
            self.tenant_id,
            kind.DESCRIPTOR.full_name,
        )
        return [kind.FromString(bytes(row[0])) for row in rows]

    def somebody_waits(self) -> bool:
        """Whether a transaction waits for a lock just now."""
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return rows_of(self.operator, query) != [(0,)]

    def states_told(self, order_id: str) -> list[str]:
        """The events about an order's reservation, by name."""
        rows = rows_of(
            self.operator,
            "SELECT type, data FROM events WHERE tenant_id = %s ORDER BY sequence",
            self.tenant_id,
        )
        told = []
        for name, data in rows:
            kind = getattr(events, str(name).rpartition(".")[2])
            message = kind.FromString(bytes(data))
            if getattr(message, "order_id", "") == order_id:
                told.append(kind.__name__)
        return told

    async def violations(self) -> list[str]:
        with self.me():
            response = await self.auditor.CheckInvariants(audit_pb2.CheckInvariantsRequest(), None)
        return [f"{one.rule}: {one.detail} {list(one.ids)}" for one in response.violations]

    def _lines(self, lines: Sequence[tuple[str, object]]) -> list[api.StockLine]:
        return [
            api.StockLine(product_id=self.products[sku], quantity=str(quantity))
            for sku, quantity in lines
        ]


def new_id() -> str:
    return str(ids.new())


def state_of(reservation: pb.Reservation) -> str:
    return pb.ReservationState.Name(reservation.state).removeprefix("RESERVATION_STATE_").lower()


def reason_of(outcome: object) -> str:
    return getattr(outcome, "reason", "OK")
