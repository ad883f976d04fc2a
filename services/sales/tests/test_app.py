"""What sales asks of other services, over real connections."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from common import caller, ids
from common.caller import Caller
from common.errors import BrokenRule, DomainError, Unavailable
from common.identity import encode_key
from common.rpc_testing import MINTERS, TRUSTED_KEYS, serving
from common.runtime import Runtime
from common.server import Service
from common.settings import Secret, Settings
from common.testing import ServiceDatabase, TestServers
from erp.accounting.v1 import accounting_service_pb2, accounting_service_pb2_grpc
from erp.inventory.v1 import inventory_pb2, inventory_service_pb2, inventory_service_pb2_grpc
from erp.sales.v1 import sales_pb2 as pb
from erp.types.v1 import money_pb2
from sales import app
from sales.order_desk import OrderDesk
from sales.servicer import SalesServicer
from sales.tests.selling import Shop, outcomes_of

REGISTER_INVENTORY = inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server
REGISTER_ACCOUNTING = accounting_service_pb2_grpc.add_AccountingServiceServicer_to_server


@dataclass(eq=False)
class InsufficientStock(BrokenRule):
    """Inventory's answer when goods are missing."""

    detail = "Only {available} of {sku} left, {requested} requested."

    sku: str
    requested: str
    available: str


@dataclass
class Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    """Knows one table and one warehouse, and has a single table left."""

    product: str
    warehouse: str
    callers: list[Caller] = field(default_factory=list)
    holds: list[Any] = field(default_factory=list)

    async def ResolveGoods(self, request: Any, context: Any) -> Any:
        self.callers.append(caller.current())
        price = money_pb2.Money(currency_code="EUR", amount="120.00")
        product = inventory_pb2.Product(
            id=self.product,
            sku="OAK-TABLE",
            name="Oak table",
            list_price=price,
            state=inventory_pb2.PRODUCT_STATE_ACTIVE,
        )
        return inventory_service_pb2.ResolveGoodsResponse(
            products=[product] if self.product in request.product_ids else [],
            warehouses=[inventory_pb2.Warehouse(id=self.warehouse)],
        )

    async def ReserveForOrder(self, request: Any, context: Any) -> Any:
        self.callers.append(caller.current())
        if request.lines[0].quantity != "1":
            raise InsufficientStock("OAK-TABLE", request.lines[0].quantity, "1")
        self.holds.append(request)
        return inventory_pb2.Reservation(id=str(ids.new()))


class Accounting(accounting_service_pb2_grpc.AccountingServiceServicer):
    """Knows the company's currency and tax."""

    async def GetBillingDefaults(self, request: Any, context: Any) -> Any:
        return accounting_service_pb2.BillingDefaults(tax_rate="0.07", currency_code="EUR")


@asynccontextmanager
async def connected(
    urls: ServiceDatabase, redis: str, inventory_port: int, accounting_port: int
) -> AsyncIterator[Runtime]:
    trusted = ",".join(f"{name}:{encode_key(keys[0])}" for name, keys in TRUSTED_KEYS.items())
    seed = base64.urlsafe_b64encode(b"sales".ljust(32)).decode()
    settings = Settings(
        database_url=Secret(urls.app),
        system_database_url=Secret(urls.system),
        redis_url=Secret(redis),
        identity_key=Secret(f"{MINTERS['sales'].name}:{seed}"),
        identity_trusted_keys=trusted,
        inventory_target=f"127.0.0.1:{inventory_port}",
        accounting_target=f"127.0.0.1:{accounting_port}",
        gateway_target="127.0.0.1:1",
    )
    runtime = Runtime("sales", settings)
    async with runtime._ringing():
        yield runtime


@pytest.fixture
async def inventory(shop: Shop) -> Inventory:
    return Inventory(str(shop.add_product()), str(shop.warehouse))


@pytest.fixture
async def wired(
    shop: Shop, urls: ServiceDatabase, servers: TestServers, inventory: Inventory
) -> AsyncIterator[Shop]:
    """The shop, wired as its process wires it to an inventory and an accounting."""
    descriptors = inventory_service_pb2.DESCRIPTOR.services_by_name
    stock = Service(descriptors["InventoryService"], REGISTER_INVENTORY, inventory)
    descriptors = accounting_service_pb2.DESCRIPTOR.services_by_name
    books = Service(descriptors["AccountingService"], REGISTER_ACCOUNTING, Accounting())
    async with (
        serving("inventory", stock) as near,
        serving("accounting", books) as far,
        connected(urls, servers.valkey.url, near.port, far.port) as runtime,
    ):
        desk = OrderDesk(runtime.database, app.others(runtime))
        shop.servicer = SalesServicer(runtime.database, desk)
        yield shop


async def test_an_order_is_priced_by_what_the_others_know(
    wired: Shop, inventory: Inventory
) -> None:
    order = await wired.rpc(
        "CreateOrder", wired.order((UUID(inventory.product), "2")), ["sales.orders.write"]
    )

    assert (order.lines[0].sku, order.lines[0].name) == ("OAK-TABLE", "Oak table")
    assert (order.net.amount, order.tax.amount) == ("240.00", "16.80")
    # In sales' own name: who orders need not be allowed to read the inventory.
    assert {asked.subject for asked in inventory.callers} == {"service:sales"}
    assert {asked.tenant_id for asked in inventory.callers} == {wired.tenant}


async def test_missing_goods_are_told_in_inventory_s_own_words(
    wired: Shop, inventory: Inventory
) -> None:
    forbid = {"backorder": pb.BACKORDER_POLICY_FORBID, "confirm": True}

    with pytest.raises(DomainError) as refused:
        await wired.create((UUID(inventory.product), "2"), **forbid)
    order = await wired.create((UUID(inventory.product), "1"), **forbid)

    assert refused.value.reason == "INSUFFICIENT_STOCK"
    assert refused.value.values() == {"sku": "OAK-TABLE", "requested": "2", "available": "1"}
    (hold,) = inventory.holds
    assert (hold.order_id, hold.warehouse_id, hold.ttl_seconds) == (
        order.id,
        order.warehouse_id,
        300,
    )


async def test_nothing_is_ordered_while_inventory_is_away(
    shop: Shop, urls: ServiceDatabase
) -> None:
    table = shop.add_product()

    async with connected(urls, "redis://127.0.0.1:1/0", 1, 1) as runtime:
        desk = OrderDesk(runtime.database, app.others(runtime))
        shop.servicer = SalesServicer(runtime.database, desk)
        outcomes = await outcomes_of(*(shop.create((table, "1")) for _ in range(20)))

    assert outcomes == [Unavailable.reason] * 20
