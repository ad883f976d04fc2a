"""Servers that stand for other services: real gRPC and identity, answers as a test wants them."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.message import Message

from common.channel import Channel, connect
from common.identity import Minter, Verifier
from common.rpc_policy import read_policies
from common.server import Server, Service
from common.settings import Address, Settings
from erp.sales.v1 import sales_service_pb2_grpc
from gateway.contract import SERVICES

SEED = bytes(32)
Answer = Callable[[Any], Any]


class StandIn:
    """Rpcs that answer what `answers` says, by name, and remember what they were asked."""

    def __init__(self, descriptor: Any) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Message, dict[str, str]]] = []
        for method in descriptor.methods:
            setattr(self, method.name, self._rpc(method.name))

    def _rpc(self, name: str) -> Any:
        async def answer(request: Message, context: Any) -> Any:
            self.asked.append((name, request, dict(context.invocation_metadata())))
            result = self.answers[name](request)
            return await result if inspect.isawaitable(result) else result

        return answer


@asynccontextmanager
async def standing_in_for_sales() -> AsyncIterator[tuple[StandIn, Channel]]:
    """A stand-in for sales and the gateway's channel to it."""
    minter = Minter("gateway", SEED)
    descriptor = SERVICES["sales"][0]
    service = StandIn(descriptor)
    verifier = Verifier({"gateway": [minter.public_key()]}, "sales")
    settings = Settings(grpc_bind=Address("127.0.0.1", 0))
    add = sales_service_pb2_grpc.add_SalesServiceServicer_to_server
    server = Server("sales", settings, [Service(descriptor, add, service)], verifier, {})
    await server.start()
    channel = connect(f"127.0.0.1:{server.port}", "sales", minter, read_policies(descriptor))
    try:
        yield service, channel
    finally:
        await channel.close()
        await server._server.stop(None)
        await server._health.drain()
