"""What the gateway adds to a call: `python -m benchmarks.edge`."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import psutil

from benchmarks.hot_product import gateway_minter
from benchmarks.http_client import Connection
from benchmarks.load import measure
from benchmarks.shop import connect as rest
from benchmarks.shop import open_shop
from common.caller import Caller, acting_as
from common.channel import connect
from common.rpc_policy import read_policies
from erp.inventory.v1 import inventory_service_pb2 as wire
from erp.inventory.v1 import inventory_service_pb2_grpc as rpc
from ops.background import BackgroundStack, running
from ops.credentials import Credentials

CLIENTS = 8
READS, ROUNDS = 2_000, 4
# A tenant on the plan `default` has 600 requests a minute, and each of these is counted.
COUNTED = 150


@dataclass(frozen=True)
class Edge:
    """By round."""

    # Reads of one product a second: over REST, and by a direct gRPC client.
    rest: list[float]
    direct: list[float]
    # CPU of one process for a read of an order, in ms: the gateway, and a bare handler.
    gateway_ms: list[float]
    bare_ms: list[float]
    # Calls that inventory got for as many reads answered by 304.
    calls_for_304: int


async def run(stack: BackgroundStack, bare_url: str, order: str) -> Edge:
    """Measure in rounds that alternate."""
    product = (await open_shop(stack, products=1)).products[0]
    direct, over_rest = await _direct(stack, product), await _rest(stack, product)
    found = Edge([], [], [], [], await _calls_for_304(stack, product))
    for _ in range(ROUNDS):
        with acting_as(_caller(stack)):
            found.direct.append((await measure(CLIENTS, direct, READS)).per_second)
        found.rest.append((await measure(CLIENTS, over_rest, READS)).per_second)
    initech = stack.state["tenants"]["initech"]["token"]
    gateway = await Connection.open(stack.state["gateway"], initech)
    bare = await Connection.open(bare_url, "nobody")
    (bare_pid,) = (
        one.pid for one in psutil.Process().children() if "benchmarks.bare_edge" in one.cmdline()
    )
    for _ in range(ROUNDS - 1):
        path = f"/api/v1/orders/{order}"
        found.gateway_ms.append(await _cpu_ms(stack.pids("gateway")[0], gateway, path))
        found.bare_ms.append(await _cpu_ms(bare_pid, bare, f"/{order}"))
    return found


async def _direct(stack: BackgroundStack, product: str):  # noqa: ANN202 (a Work)
    policies = read_policies(wire.DESCRIPTOR.services_by_name["InventoryService"])
    target, minter = stack.state["grpc"]["inventory"], gateway_minter(stack)
    stub = rpc.InventoryServiceStub(connect(target, "inventory", minter, policies))

    async def work(_client: int) -> None:
        await stub.GetProduct(wire.GetProductRequest(id=product))

    return work


async def _rest(stack: BackgroundStack, product: str):  # noqa: ANN202 (a Work)
    connections = [await rest(stack) for _ in range(CLIENTS)]

    async def work(client: int) -> None:
        status, _ = await connections[client].get(f"/api/v1/products/{product}")
        assert status == 200

    return work


async def _cpu_ms(pid: int, connection: Connection, path: str) -> float:
    process = psutil.Process(pid)
    before = process.cpu_times()
    for _ in range(COUNTED):
        status, answer = await connection.get(path)
        assert status == 200, answer
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / COUNTED * 1000


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


def _order(stack: BackgroundStack) -> str:
    """An order of three lines of the tenant whose requests are counted."""
    state = stack.state
    headers = {"Authorization": f"Bearer {state['tenants']['initech']['token']}"}
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
def _bare(stack: BackgroundStack) -> Iterator[str]:
    identity = Credentials(stack.directory / "secrets.json").identity_key("gateway")
    state = stack.state
    command = [sys.executable, "-m", "benchmarks.bare_edge", state["grpc"]["sales"], identity]
    command.append(state["tenants"]["initech"]["id"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def main() -> None:
    """Measure on a stack of our own, and print."""
    environment = {**os.environ, "API_RATE_LIMIT": "100000"}
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(Path(scratch) / "dev", environment) as stack,
        _bare(stack) as bare_url,
    ):
        found = asyncio.run(run(stack, bare_url, _order(stack)))
    print(found)
    ratio = statistics.median(found.rest) / statistics.median(found.direct)
    added = statistics.median(found.gateway_ms) - statistics.median(found.bare_ms)
    print(f"a product over REST: {ratio:.2f} times the rate of a direct gRPC client")
    print(f"CPU of a request: {added:.2f} ms more than a bare handler")
    print(f"304: {found.calls_for_304} calls of the service for {COUNTED} answers")


if __name__ == "__main__":
    main()
