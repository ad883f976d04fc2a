"""Two gateways behind nginx as it is configured for production."""

import asyncio
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import grpc.aio
import httpx
import nginxes
import psutil
import pytest
from nginxes import Nginx
from shop import eventually

from common.rpc_testing import free_port
from erp.inventory.v1 import inventory_service_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2_grpc
from gateway.http_request import LARGEST_BODY_BYTES
from ops.background import BackgroundStack

HOST = {"Host": "api.example.com"}


@contextmanager
def another_gateway(stack: BackgroundStack, folder: Path) -> Iterator[tuple[int, psutil.Popen]]:
    """One more gateway of the stack: its port and its process."""
    port = free_port()
    (pid,) = stack.pids("gateway")
    environment = psutil.Process(pid).environ() | {
        "KV_ERP_HTTP_BIND": f"127.0.0.1:{port}",
        "KV_ERP_GRPC_BIND": f"127.0.0.1:{free_port()}",
        "KV_ERP_METRICS_BIND": "127.0.0.1:0",
        "KV_ERP_TRUSTED_PROXIES": "1",
    }
    with (folder / f"gateway-{port}.log").open("wb") as log:
        command = [sys.executable, "-m", "gateway", "server"]
        process = psutil.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield port, process
    finally:
        if process.is_running():
            process.terminate()
        process.wait(30)


@asynccontextmanager
async def client_of(nginx: Nginx, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cafile=str(nginx.authority))
    headers = {**HOST, **({"Authorization": f"Bearer {token}"} if token else {})}
    async with httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{nginx.port}",
        headers=headers,
        verify=context,
        timeout=60,
        limits=httpx.Limits(max_connections=16),
        trust_env=False,
    ) as client:
        yield client


class Upstream:
    """A server that notes what it is asked, and may hang up in the middle of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.hangs_up = False
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Upstream"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                first, *lines = head.strip().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines)
                await reader.readexactly(int(headers.get("content-length", 0)))
                self.asked.append((first.rsplit(" ", 1)[0], headers))
                if self.hangs_up:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where nginx's workers may write, whoever they are."""
    tmp_path.chmod(0o755)
    return tmp_path


async def test_a_killed_gateway_fails_no_request_that_may_be_repeated(
    stack: BackgroundStack, folder: Path
) -> None:
    token = stack.state["tenants"]["acme"]["token"]
    nginxes.binary()
    with (
        another_gateway(stack, folder) as (first, _),
        another_gateway(stack, folder) as (second, victim),
        nginxes.running(folder, {"kv_erp_gateway": [first, second]}) as nginx,
    ):
        async with client_of(nginx, token) as client:
            await both_ready(client, nginx, first, second)
            answers = [0]

            async def buy(number: int) -> list[httpx.Response]:
                found = []
                for turn in range(12):
                    key = f"{secrets.token_hex(8)}-{number}-{turn}"
                    body = {"name": f"Nginx {key}", "currency_code": "EUR"}
                    headers = {"Idempotency-Key": key}
                    found.append(await made_once(client, body, headers))
                    found.append(await client.get("/api/v1/customers", params={"page_size": 1}))
                    answers[0] += 2
                    if answers[0] >= 100 and victim.is_running():
                        victim.kill()
                return found

            outcomes = [
                one for each in await asyncio.gather(*(buy(n) for n in range(16))) for one in each
            ]

    failed = [one.text for one in outcomes if one.status_code not in (200, 201)]
    made = [one.json()["id"] for one in outcomes if one.request.method == "POST"]
    assert failed == []
    assert len(made) == len(set(made)) == 16 * 12
    # Both have answered, and some requests were passed on to the one that was left.
    passed = nginx.upstreams()
    assert {f"127.0.0.1:{first}", f"127.0.0.1:{second}"} <= set(passed)
    assert any(", " in one for one in passed)


async def made_once(
    client: httpx.AsyncClient, body: dict[str, str], headers: dict[str, str]
) -> httpx.Response:
    """The answer to a POST; one whose first attempt still runs elsewhere is asked for again."""
    while True:
        answer = await client.post("/api/v1/customers", json=body, headers=headers)
        if answer.status_code != 409 or "retry-after" not in answer.headers:
            return answer
        await asyncio.sleep(float(answer.headers["retry-after"]))


async def both_ready(client: httpx.AsyncClient, nginx: Nginx, *ports: int) -> None:
    """Wait until both gateways are ready, and have answered through nginx."""

    async def ready(port: int) -> bool:
        url = f"http://127.0.0.1:{port}/api/health/ready"
        return (await client.get(url)).status_code == 200

    async def both() -> bool:
        await asyncio.gather(*(client.get("/api/health/ready") for _ in range(8)))
        return {f"127.0.0.1:{port}" for port in ports} <= set(nginx.upstreams())

    for port in ports:
        await eventually(partial(ready, port), "a gateway is ready", seconds=180)
    await eventually(both, "both gateways answer through nginx")


@pytest.mark.parametrize(
    ("method", "headers", "times"),
    [
        ("GET", {}, 2),
        ("POST", {"Idempotency-Key": "k-1"}, 2),
        ("PATCH", {"Idempotency-Key": "k-2"}, 2),
        ("POST", {}, 1),
        ("PATCH", {}, 1),
    ],
)
async def test_only_what_may_be_repeated_is_asked_twice(
    folder: Path, method: str, headers: dict[str, str], times: int
) -> None:
    nginxes.binary()
    async with Upstream().serving() as one, Upstream().serving() as two:
        one.hangs_up = two.hangs_up = True
        with nginxes.running(folder, {"kv_erp_gateway": [one.port, two.port]}) as nginx:
            async with client_of(nginx) as client:
                answer = await client.request(method, "/api/v1/orders", headers=headers)

    assert [what for what, _ in one.asked + two.asked] == [f"{method} /api/v1/orders"] * times
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"


async def test_a_command_is_passed_on_from_a_gateway_that_is_not_there(folder: Path) -> None:
    nginxes.binary()
    async with Upstream().serving() as one:
        ports = [free_port(), one.port]
        with nginxes.running(folder, {"kv_erp_gateway": ports}) as nginx:
            async with client_of(nginx) as client:
                answers = [await client.post("/api/v1/orders", json={}) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(one.asked) == 4


async def test_gateways_are_told_who_asks(folder: Path) -> None:
    nginxes.binary()
    async with Upstream().serving() as one:
        with nginxes.running(folder, {"kv_erp_gateway": [one.port]}) as nginx:
            async with client_of(nginx) as client:
                await client.get(
                    "/api/v1/orders?filter=a%2Fb", headers={"X-Forwarded-For": "203.0.113.9"}
                )
                outside = await client.get("/metrics")

    ((what, headers),) = one.asked
    assert what == "GET /api/v1/orders?filter=a%2Fb"
    assert headers["host"] == "api.example.com"
    assert headers["x-forwarded-proto"] == "https"
    # Nothing is left of what the client said of itself.
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert outside.status_code == 404


async def test_a_body_may_be_as_large_as_the_gateway_takes(folder: Path) -> None:
    nginxes.binary()
    async with Upstream().serving() as one:
        with nginxes.running(folder, {"kv_erp_gateway": [one.port]}) as nginx:
            async with client_of(nginx) as client:
                path = "/api/v1/imports"
                fits = await client.post(path, content=b"x" * LARGEST_BODY_BYTES)
                exceeds = await client.post(path, content=b"x" * (LARGEST_BODY_BYTES + 1))

    assert fits.status_code == 200
    assert exceeds.status_code == 413
    assert exceeds.json()["title"] == "Content Too Large"


async def test_events_pass_as_they_happen(stack: BackgroundStack, folder: Path) -> None:
    nginxes.binary()
    token = stack.state["tenants"]["acme"]["token"]
    port = int(stack.state["gateway"].rpartition(":")[2])
    with nginxes.running(folder, {"kv_erp_gateway": [port]}) as nginx:
        async with client_of(nginx, token) as client:
            stream = {"Accept": "text/event-stream"}
            async with client.stream("GET", "/api/v1/events", headers=stream) as events:
                body = {"name": "Blue Door Ltd", "currency_code": "EUR"}
                made = (await client.post("/api/v1/customers", json=body)).json()["id"]

                async with asyncio.timeout(20):
                    async for line in events.aiter_lines():
                        if made in line:
                            break

    assert events.status_code == 200


async def test_grpc_is_passed_to_the_service_of_its_package(
    stack: BackgroundStack, folder: Path
) -> None:
    nginxes.binary()
    port = int(stack.state["grpc"]["inventory"].rpartition(":")[2])
    with nginxes.running(folder, {"kv_erp_inventory": [port]}) as nginx:
        credentials = grpc.ssl_channel_credentials(nginx.authority.read_bytes())
        name = "grpc.internal.example.com"
        options = [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
        async with grpc.aio.secure_channel(
            f"127.0.0.1:{nginx.port}", credentials, options=options
        ) as channel:
            stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetProduct(pb.GetProductRequest(), timeout=20)

    # By the service itself: nginx would have answered with UNIMPLEMENTED or UNAVAILABLE.
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
