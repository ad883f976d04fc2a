"""One product that everybody wants: reservations over gRPC, against pgbench on one row."""

import asyncio
import base64
import statistics
from dataclasses import dataclass
from uuid import UUID

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks import floor
from benchmarks.load import Load, measure
from benchmarks.shop import connect as rest
from benchmarks.shop import open_shop
from common.caller import Caller, acting_as
from common.channel import connect
from common.identity import Minter
from common.rpc_policy import read_policies
from erp.inventory.v1 import inventory_service_pb2 as wire
from erp.inventory.v1 import inventory_service_pb2_grpc as rpc
from ops.background import BackgroundStack
from ops.credentials import Credentials

CLIENTS = 32
RESERVATIONS = 6_000
ROUNDS = 3


@dataclass(frozen=True)
class HotProduct:
    """What all reached in alternating rounds, and whether the count was exact at the end."""

    one_row: list[float]
    same_sql: list[float]
    # Calls of an rpc that does nothing, to the same process: what gRPC alone can carry here.
    empty: list[float]
    loads: list[Load]
    exact: bool

    def ratio_to(self, floor: list[float]) -> float:
        """Ours to a floor's, by medians."""
        ours = statistics.median(load.per_second for load in self.loads)
        return ours / statistics.median(floor)


async def run(stack: BackgroundStack) -> HotProduct:
    """Alternate between pgbench and ours."""
    shop = await open_shop(stack, products=1)
    request = wire.ReserveStockRequest(
        warehouse_id=shop.warehouse,
        lines=[wire.StockLine(product_id=shop.products[0], quantity="1")],
    )
    policies = read_policies(wire.DESCRIPTOR.services_by_name["InventoryService"])
    channel = connect(
        stack.state["grpc"]["inventory"], "inventory", gateway_minter(stack), policies
    )
    stub = rpc.InventoryServiceStub(channel)

    async def reserve(_client: int) -> None:
        await stub.ReserveStock(request)

    plain = grpc.aio.insecure_channel(stack.state["grpc"]["inventory"])
    health = health_pb2_grpc.HealthStub(plain)

    async def check(_client: int) -> None:
        await health.Check(health_pb2.HealthCheckRequest(service="liveness"))

    one_row, same_sql, empty, loads = [], [], [], []
    operator = stack.state["databases"]["inventory"]
    tenant = UUID(stack.state["tenants"]["acme"]["id"])
    with acting_as(Caller(tenant, "user:benchmark", frozenset({"*"}))):
        await measure(CLIENTS, reserve, 500)
        for _ in range(ROUNDS):
            one_row.append(floor.measure(operator, floor.ONE_ROW, CLIENTS).per_second)
            same_sql.append(floor.measure(operator, floor.RESERVATION, CLIENTS).per_second)
            empty.append((await measure(CLIENTS, check, RESERVATIONS)).per_second)
            loads.append(await measure(CLIENTS, reserve, RESERVATIONS))
    await asyncio.gather(channel.close(), plain.close(None))
    exact = await _reserved(stack, shop.products[0]) == _expected()
    return HotProduct(one_row, same_sql, empty, loads, exact)


def _expected() -> str:
    return str(500 + ROUNDS * RESERVATIONS)


async def _reserved(stack: BackgroundStack, product: str) -> str:
    _, answer = await (await rest(stack)).get(f"/api/v1/stock/levels?product_id={product}")
    return str(answer["stock_levels"][0]["reserved"])


def gateway_minter(stack: BackgroundStack) -> Minter:
    """Signs calls as the gateway does."""
    name, seed = Credentials(stack.directory / "secrets.json").identity_key("gateway").split(":")
    return Minter(name, base64.urlsafe_b64decode(seed))
