"""Sales over gRPC: wire in, wire out."""

from typing import Any
from uuid import UUID

from common import ids
from common.database import Database
from common.group_commit import GroupCommit
from common.pagination import Page
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as messages
from erp.sales.v1 import sales_service_pb2_grpc as rpc
from sales import customers, orders
from sales.batches import BatchCreateOrders
from sales.cancelling import CancelOrder
from sales.confirming import ConfirmOrder
from sales.customers import CreateCustomer, Customer, UpdateCustomer
from sales.drafting import CreateOrder
from sales.order_desk import OrderDesk
from sales.orders import Order, OrderFilter
from sales.shipping import ShipOrder


class SalesServicer(rpc.SalesServiceServicer):
    """Every rule lives in the module of its noun."""

    def __init__(self, database: Database, desk: OrderDesk) -> None:
        self._database = database
        self._desk = desk
        self._creating_customers = GroupCommit[CreateCustomer, Customer](
            database, customers.create_customers
        )
        self._reading = GroupCommit[UUID, Order](database, orders.get_orders, read_only=True)

    async def CreateCustomer(
        self, request: messages.CreateCustomerRequest, context: Any
    ) -> pb.Customer:
        """Adds a customer."""
        command = CreateCustomer.from_wire(request)
        return (await self._creating_customers.run(command)).to_wire()

    async def GetCustomer(self, request: messages.GetCustomerRequest, context: Any) -> pb.Customer:
        """Reads one customer."""
        async with self._database.read_transaction() as tx:
            return (await customers.get_customer(tx, ids.parse(request.id, "id"))).to_wire()

    async def ListCustomers(
        self, request: messages.ListCustomersRequest, context: Any
    ) -> messages.ListCustomersResponse:
        """Lists customers."""
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await customers.list_customers(
                tx, page, email=request.email, query=request.query
            )
        return messages.ListCustomersResponse(
            customers=[customer.to_wire() for customer in found], next_page_token=token
        )

    async def UpdateCustomer(
        self, request: messages.UpdateCustomerRequest, context: Any
    ) -> pb.Customer:
        """Changes a customer."""
        command = UpdateCustomer.from_wire(request)
        changed = await self._database.run(lambda tx: customers.update_customer(tx, command))
        return changed.to_wire()

    async def ResolveCustomers(
        self, request: messages.ResolveCustomersRequest, context: Any
    ) -> messages.ResolveCustomersResponse:
        """Describes customers."""
        wanted = [ids.parse(text, "customer_ids") for text in request.customer_ids]
        async with self._database.read_transaction() as tx:
            found = await customers.find_customers(tx, wanted)
        return messages.ResolveCustomersResponse(
            customers=[customer.to_wire() for customer in found.values()]
        )

    async def CreateOrder(self, request: messages.CreateOrderRequest, context: Any) -> pb.Order:
        """Makes an order."""
        return (await self._desk.create(CreateOrder.from_wire(request))).to_wire()

    async def BatchCreateOrders(
        self, request: messages.BatchCreateOrdersRequest, context: Any
    ) -> messages.BatchCreateOrdersResponse:
        """Makes many orders."""
        return (await self._desk.create_batch(BatchCreateOrders.from_wire(request))).to_wire()

    async def GetOrder(self, request: messages.GetOrderRequest, context: Any) -> pb.Order:
        """Reads one order."""
        return (await self._reading.run(ids.parse(request.id, "id"))).to_wire()

    async def ListOrders(
        self, request: messages.ListOrdersRequest, context: Any
    ) -> messages.ListOrdersResponse:
        """Lists orders."""
        page, wanted = Page.from_wire(request), OrderFilter.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await orders.list_orders(tx, page, wanted)
        return messages.ListOrdersResponse(
            orders=[order.to_wire() for order in found], next_page_token=token
        )

    async def ConfirmOrder(self, request: messages.ConfirmOrderRequest, context: Any) -> pb.Order:
        """Agrees on an order."""
        return (await self._desk.confirm(ConfirmOrder.from_wire(request))).to_wire()

    async def ShipOrder(self, request: messages.ShipOrderRequest, context: Any) -> pb.Order:
        """Sends goods of an order."""
        return (await self._desk.ship(ShipOrder.from_wire(request))).to_wire()

    async def CancelOrder(self, request: messages.CancelOrderRequest, context: Any) -> pb.Order:
        """Calls an order off."""
        return (await self._desk.cancel(CancelOrder.from_wire(request))).to_wire()
