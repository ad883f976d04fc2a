"""Services served in the process of a test, and channels to them."""

import contextlib
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from google.protobuf.descriptor import ServiceDescriptor

from common.channel import Channel, connect
from common.health import Check
from common.identity import Minter, Verifier
from common.process import Stop
from common.rpc_policy import read_policies
from common.server import Server, Service
from common.settings import Settings

__all__ = ["MINTERS", "TRUSTED_KEYS", "channel_to", "free_port", "serving"]

MINTERS = {
    name: Minter(name, name.ljust(32).encode())
    for name in ("gateway", "inventory", "accounting", "sales")
}
_PORTS = range(20_000, 30_000)
TRUSTED_KEYS = {name: [minter.public_key()] for name, minter in MINTERS.items()}


def free_port() -> int:
    """A port on which nobody listens, below those that the system gives to connections."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("None of a hundred ports is free.")


@asynccontextmanager
async def serving(
    name: str,
    *services: Service,
    checks: Mapping[str, Check] | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[Server]:
    """Serve on a free port what a service serves, until the block is left."""
    verifier = Verifier(TRUSTED_KEYS, name)
    server = Server(name, settings or Settings(), services, verifier, checks or {})
    await server.start()
    try:
        yield server
    finally:
        stop = Stop()
        stop.request()
        stop.request()
        await server.drain(stop)


@asynccontextmanager
async def channel_to(
    target: str, service: str, *descriptors: ServiceDescriptor, caller: str = "gateway"
) -> AsyncIterator[Channel]:
    """A channel as the service named `caller` has it."""
    channel = connect(target, service, MINTERS[caller], read_policies(*descriptors))
    try:
        yield channel
    finally:
        await channel.close()
