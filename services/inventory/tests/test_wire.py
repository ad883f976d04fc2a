"""The service as it is reached over gRPC."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from common.errors import DomainError, StatusCode
from common.rpc_testing import channel_to, serving
from common.server import Service
from erp.inventory.v1 import inventory_service_pb2 as api
from erp.inventory.v1 import inventory_service_pb2_grpc as rpc
from erp.types.v1.money_pb2 import Money
from inventory.tests.stockroom import Stockroom, euro, new_id

INVENTORY = api.DESCRIPTOR.services_by_name["InventoryService"]


@pytest.fixture
async def target(inventory: Stockroom) -> AsyncIterator[str]:
    service = Service(INVENTORY, rpc.add_InventoryServiceServicer_to_server, inventory.rpc)
    async with serving("inventory", service) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
async def stub(target: str) -> AsyncIterator[Any]:
    async with channel_to(target, "inventory", INVENTORY) as channel:
        yield rpc.InventoryServiceStub(channel)


async def test_a_broken_rule_arrives_with_its_values(inventory: Stockroom, stub: Any) -> None:
    await inventory.receive("OAK-TABLE", 2)
    line = api.StockLine(product_id=inventory.products["OAK-TABLE"], quantity="3")

    with inventory.me(), pytest.raises(DomainError) as refused:
        await stub.ReserveStock(
            api.ReserveStockRequest(warehouse_id=inventory.warehouse_id, lines=[line])
        )

    assert refused.value.status is StatusCode.FAILED_PRECONDITION
    assert refused.value.reason == "INSUFFICIENT_STOCK"
    values = refused.value.values()
    assert (values["sku"], values["requested"], values["available"]) == ("OAK-TABLE", "3", "2")


def _receipt(quantity: str, cost: Money) -> api.ReceiveStockRequest:
    line = api.ReceiptLine(product_id=new_id(), quantity=quantity, unit_cost=cost)
    return api.ReceiveStockRequest(warehouse_id=new_id(), lines=[line])


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("CreateProduct", api.CreateProductRequest(name="Table", list_price=euro("1"))),
        ("CreateProduct", api.CreateProductRequest(sku="T", name="T", list_price=euro("-1"))),
        ("CreateProduct", api.CreateProductRequest(sku="T", name="T", list_price=euro("1.001"))),
        ("ReceiveStock", _receipt("0", euro("1"))),
        ("ReceiveStock", _receipt("-1", euro("1"))),
        ("ReceiveStock", _receipt("1e999", euro("1"))),
        ("ReceiveStock", _receipt("NaN", euro("1"))),
        ("ReceiveStock", _receipt("0.0000001", euro("1"))),
        ("ReceiveStock", _receipt("1", Money(currency_code="XXX", amount="1"))),
        ("GetProduct", api.GetProductRequest(id="none")),
        ("ListProducts", api.ListProductsRequest(page_token="nonsense")),
        ("ListStockLevels", api.ListStockLevelsRequest(page_token="bm9uc2Vuc2U")),
    ],
)
async def test_nonsense_is_refused_by_name(
    inventory: Stockroom, stub: Any, method: str, request_: Any
) -> None:
    with inventory.me(), pytest.raises(DomainError) as refused:
        await getattr(stub, method)(request_)

    assert refused.value.status is StatusCode.INVALID_ARGUMENT
    assert refused.value.violations[0].pointer.startswith("/")


async def test_a_call_without_identity_is_refused(target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rpc.InventoryServiceStub(channel).GetProduct(api.GetProductRequest(id=new_id()))

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
