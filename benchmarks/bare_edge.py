"""The least that a gateway can be: an ASGI handler that makes one call and writes its answer.

`python -m benchmarks.bare_edge TARGET IDENTITY TENANT` serves GET /{order id}; prints its port.
"""

import asyncio
import base64
import socket
import sys
from typing import Any
from uuid import UUID

import orjson
import uvicorn

from common.caller import Caller, acting_as
from common.channel import connect
from common.identity import Minter
from common.rpc_policy import read_policies
from erp.sales.v1 import sales_service_pb2 as wire
from erp.sales.v1 import sales_service_pb2_grpc as rpc
from gateway.json_output import writer_for

SALES = wire.DESCRIPTOR.services_by_name["SalesService"]


async def serve(target: str, identity: str, tenant: str) -> None:
    """Answer until the process is told to stop."""
    name, seed = identity.split(":")
    minter = Minter(name, base64.urlsafe_b64decode(seed))
    stub = rpc.SalesServiceStub(connect(target, "sales", minter, read_policies(SALES)))
    write = writer_for(SALES.methods_by_name["GetOrder"].output_type)
    caller = Caller(UUID(tenant), "user:benchmark", frozenset({"*"}))

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        with acting_as(caller):
            order = await stub.GetOrder(wire.GetOrderRequest(id=scope["path"][1:]))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(write(order))})

    # The protocol is named, since asyncio switches Nagle's algorithm off only where it sees it.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        print(listening.getsockname()[1], flush=True)
        options = uvicorn.Config(app, lifespan="off", log_level="warning", loop="uvloop")
        await uvicorn.Server(options).serve([listening])


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
