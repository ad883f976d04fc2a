"""What the gateway adds to a call: `python -m benchmarks.edge`.

Rates are those of several clients on the same cores as the system, over REST and by gRPC in turn.
The CPU is counted by the kernel for one process, with the limits on, less what the process uses
while nobody asks; the bare handler makes the same call. One request after another shows it at its
dearest, since the process falls asleep and wakes for each; several at once share that.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from benchmarks.cpu import cost_ms, idle_ms
from benchmarks.figures import Figure, at_least, at_most, rounds, seen
from benchmarks.hot_product import gateway_minter
from benchmarks.http_client import Connection
from benchmarks.load import Work, measure
from benchmarks.shop import open_shop
from common.caller import Caller, acting_as
from common.channel import connect
from common.rpc_policy import read_policies
from erp.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from erp.sales.v1 import sales_service_pb2, sales_service_pb2_grpc
from ops.background import BackgroundStack, running
from ops.credentials import Credentials

CLIENTS = 8
READS, ROUNDS = 800, 3
# A tenant on the plan `default` has 600 requests a minute, and each of these is counted.
COUNTED, COUNTED_ROUNDS = 45, 6


@dataclass(frozen=True)
class Cpu:
    """CPU of one process for a read of an order in ms, by round: the gateway, a bare handler."""

    gateway: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def added(self) -> float:
        """What the gateway uses beyond a bare handler."""
        return statistics.median(self.gateway) - statistics.median(self.bare)


@dataclass(frozen=True)
class Edge:
    """By round."""

    # Reads of one product a second, which the gateway keeps: over REST, and by a gRPC client.
    kept: list[float]
    kept_direct: list[float]
    # Reads of one order a second, for which it asks the service each time; likewise.
    asked: list[float]
    asked_direct: list[float]
    # One request after another, and several at once.
    one: Cpu
    many: Cpu
    # Calls that inventory got for as many reads answered by 304.
    calls_for_304: int

    @property
    def kept_ratio(self) -> float:
        """Reads over REST to those by gRPC, of what the gateway keeps."""
        return statistics.median(self.kept) / statistics.median(self.kept_direct)

    @property
    def asked_ratio(self) -> float:
        """Reads over REST to those by gRPC, of what the service is asked for."""
        return statistics.median(self.asked) / statistics.median(self.asked_direct)


def run(stack: BackgroundStack) -> Edge:
    """Measure in rounds that alternate."""
    limited = _order(stack, "initech")
    with _bare(stack) as bare:
        return asyncio.run(_alternate(stack, bare, limited))


@dataclass(frozen=True)
class _Bare:
    """A running bare handler."""

    pid: int
    url: str


async def _alternate(stack: BackgroundStack, bare: _Bare, limited: str) -> Edge:
    product, order = (await open_shop(stack, products=1)).products[0], _order(stack, "acme")
    by_grpc = [await _get_product(stack, product), await _get_order(stack, order)]
    by_rest = [
        await _rest(stack, f"/api/v1/{path}") for path in (f"products/{product}", f"orders/{order}")
    ]
    found = Edge([], [], [], [], Cpu(), Cpu(), await _calls_for_304(stack, product))
    over_rest, direct = (found.kept, found.asked), (found.kept_direct, found.asked_direct)
    for _ in range(ROUNDS):
        for work, rates in zip((*by_grpc, *by_rest), (*direct, *over_rest), strict=True):
            with acting_as(_caller(stack)):
                rates.append((await measure(CLIENTS, work, READS)).per_second)
    await _count_cpu(stack, bare, limited, found)
    return found


async def _count_cpu(stack: BackgroundStack, bare: _Bare, order: str, found: Edge) -> None:
    token = stack.state["tenants"]["initech"]["token"]
    pid = stack.pids("gateway")[0]
    idle, bare_idle = await asyncio.gather(idle_ms(pid), idle_ms(bare.pid))
    # Not before: the gateway hangs up on who sends nothing for ten seconds.
    gateway = await _connected(stack.state["gateway"], token, f"/api/v1/orders/{order}")
    handler = await _connected(bare.url, "nobody", f"/{order}")
    for _ in range(COUNTED_ROUNDS):
        for cpu, clients in ((found.one, 1), (found.many, CLIENTS)):
            cpu.gateway.append(await cost_ms(pid, clients, gateway, COUNTED, idle))
            cpu.bare.append(await cost_ms(bare.pid, clients, handler, COUNTED, bare_idle))


async def _get(connection: Connection, path: str) -> None:
    status, answer = await connection.get(path)
    assert status == 200, answer


async def _get_product(stack: BackgroundStack, product: str) -> Work:
    channel = _channel(stack, "inventory", inventory_service_pb2, "InventoryService")
    stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
    request = inventory_service_pb2.GetProductRequest(id=product)
    return lambda _client: stub.GetProduct(request)


async def _get_order(stack: BackgroundStack, order: str) -> Work:
    channel = _channel(stack, "sales", sales_service_pb2, "SalesService")
    stub = sales_service_pb2_grpc.SalesServiceStub(channel)
    request = sales_service_pb2.GetOrderRequest(id=order)
    return lambda _client: stub.GetOrder(request)


def _channel(stack: BackgroundStack, service: str, contract: Any, name: str) -> Any:
    policies = read_policies(contract.DESCRIPTOR.services_by_name[name])
    return connect(stack.state["grpc"][service], service, gateway_minter(stack), policies)


async def _rest(stack: BackgroundStack, path: str) -> Work:
    state = stack.state
    return await _connected(state["gateway"], state["tenants"]["acme"]["token"], path)


async def _connected(url: str, token: str, path: str) -> Work:
    connections = [await Connection.open(url, token) for _ in range(CLIENTS)]
    return lambda client: _get(connections[client], path)


async def _calls_for_304(stack: BackgroundStack, product: str) -> int:
    token = stack.state["tenants"]["acme"]["token"]
    async with httpx.AsyncClient(
        base_url=stack.state["gateway"], headers={"Authorization": f"Bearer {token}"}
    ) as client:
        path = f"/api/v1/products/{product}"
        etag = (await client.get(path)).headers["etag"]
        before = await _get_product_calls(stack, client)
        for _ in range(COUNTED):
            answer = await client.get(path, headers={"If-None-Match": etag})
            assert answer.status_code == 304
        return await _get_product_calls(stack, client) - before


async def _get_product_calls(stack: BackgroundStack, client: httpx.AsyncClient) -> int:
    page = (await client.get(stack.state["metrics"]["inventory"])).text
    lines = (
        line for line in page.splitlines() if line.startswith("kv_erp_rpc_duration_seconds_count")
    )
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if 'GetProduct"' in line)


def _caller(stack: BackgroundStack) -> Caller:
    tenant = UUID(stack.state["tenants"]["acme"]["id"])
    return Caller(tenant, "user:benchmark", frozenset({"*"}))


def _order(stack: BackgroundStack, tenant: str) -> str:
    """An order of three lines."""
    state = stack.state
    headers = {"Authorization": f"Bearer {state['tenants'][tenant]['token']}"}
    with httpx.Client(base_url=f"{state['gateway']}/api/v1", headers=headers) as client:

        def made(path: str, body: dict[str, object]) -> str:
            return str(client.post(path, json=body).raise_for_status().json()["id"])

        customer = made("/customers", {"name": "Blue Door Ltd"})
        warehouse = made("/warehouses", {"code": "EDGE", "name": "Main"})
        price = {"currency_code": "EUR", "amount": "120.00"}
        body = {"name": "Oak table", "list_price": price}
        products = [made("/products", {**body, "sku": f"EDGE-{number}"}) for number in range(3)]
        lines = [{"product_id": product, "quantity": "1"} for product in products]
        return made("/orders", {"customer_id": customer, "warehouse_id": warehouse, "lines": lines})


@contextmanager
def _bare(stack: BackgroundStack) -> Iterator[_Bare]:
    identity = Credentials(stack.directory / "secrets.json").identity_key("gateway")
    state = stack.state
    command = [sys.executable, "-m", "benchmarks.bare_edge", state["grpc"]["sales"], identity]
    command.append(state["tenants"]["initech"]["id"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield _Bare(process.pid, f"http://127.0.0.1:{process.stdout.readline().strip()}")
        finally:
            process.terminate()


def measured() -> Edge:
    """Measure on a stack of our own."""
    # The limits count, and none is reached.
    environment = {**os.environ, "API_RATE_LIMIT": "100000"}
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch) / "dev", environment) as stack,
    ):
        return run(stack)


def figures() -> list[Figure]:
    """What was measured, beside what was promised."""
    found = measured()
    return [
        at_least("a product that the gateway keeps, to a direct gRPC read", found.kept_ratio, 0.6),
        seen("over REST, reads a second by round", rounds(found.kept)),
        seen("by gRPC", rounds(found.kept_direct)),
        seen("an order that the service is asked for, likewise", f"{found.asked_ratio:.2f}"),
        seen("over REST, reads a second by round", rounds(found.asked)),
        seen("by gRPC", rounds(found.asked_direct)),
        *_cpu("one after another", found.one),
        *_cpu(f"{CLIENTS} at once", found.many),
        at_most(f"calls of the service for {COUNTED} answers 304", found.calls_for_304, 0),
    ]


def _cpu(how: str, cpu: Cpu) -> list[Figure]:
    return [
        at_most(f"CPU of a read beyond a bare handler, {how}", cpu.added, 0.35, " ms"),
        seen("gateway, by round", _times(cpu.gateway)),
        seen("bare handler", _times(cpu.bare)),
    ]


def _times(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values) + " ms"


if __name__ == "__main__":
    print(*(figure.row() for figure in figures()), sep="\n")
