"""Asks services and the gateway whether they can do their work."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import grpc
import httpx
import psycopg
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from ops.errors import StackFailure

READY_SECONDS = 90.0
POLL_SECONDS = 0.05
ASK_SECONDS = 2.0


async def wait_until(ready: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask again and again until the answer is yes; a StackFailure after READY_SECONDS."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            # Another process decides, and it sets no event of ours.
            while not await ready():  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise StackFailure(f"{what} was not ready within {READY_SECONDS:.0f} seconds.") from error


async def wait_for_grpc(address: str, what: str) -> None:
    """Wait until grpc.health.v1 at `address` says that `readiness` is SERVING."""
    async with grpc.aio.insecure_channel(address) as channel:
        health = HealthStub(channel)

        async def is_serving() -> bool:
            try:
                request = HealthCheckRequest(service="readiness")
                answer = await health.Check(request, timeout=ASK_SECONDS, wait_for_ready=True)
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == HealthCheckResponse.SERVING)

        await wait_until(is_serving, what)


async def wait_for_http(url: str, what: str) -> None:
    """Wait until GET `url` answers 200."""
    async with httpx.AsyncClient(timeout=ASK_SECONDS, trust_env=False) as client:

        async def is_ok() -> bool:
            try:
                return (await client.get(url)).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        await wait_until(is_ok, what)


async def wait_for_companies(url: str, tenant_ids: Collection[str], what: str) -> None:
    """Wait until a service has made room for these tenants, which it does by itself."""
    count = b"SELECT count(*) FROM companies WHERE tenant_id = ANY(%s::uuid[])"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

        async def knows_all() -> bool:
            found = await (await connection.execute(count, [list(tenant_ids)])).fetchone()
            return found is not None and found[0] == len(tenant_ids)

        await wait_until(knows_all, what)
