"""A port with nothing but health, in the clear: what Kubernetes can probe of any process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from common.health import Health
from common.settings import Settings, SettingsError

__all__ = ["ProbedPort", "probed"]


class ProbedPort:
    """Serves grpc.health.v1 on KV_ERP_HEALTH_BIND, nothing where that is not set."""

    def __init__(self, settings: Settings, health: Health) -> None:
        self._bind = settings.health_bind
        self.wanted = self._bind is not None and self._bind.port > 0
        self._server: grpc.aio.Server | None = None
        if not self.wanted:
            return
        shared = [("grpc.so_reuseport", int(settings.shared_port))]
        self._server = grpc.aio.server(options=shared)
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, self._server)

    async def start(self) -> None:
        """Answer probes.

        Raises:
            SettingsError: the address is taken.
        """
        if self._server is None:
            return
        try:
            self._server.add_insecure_port(str(self._bind))
        except RuntimeError:
            raise SettingsError(f"KV_ERP_HEALTH_BIND: cannot listen on {self._bind}.") from None
        await self._server.start()

    async def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            await self._server.stop(None)


@asynccontextmanager
async def probed(settings: Settings, health: Health) -> AsyncIterator[None]:
    """Answer probes of a process without a server of its own while what is inside goes on."""
    port = ProbedPort(settings, health)
    if not port.wanted:
        yield
        return
    await health.start()
    await port.start()
    try:
        yield
    finally:
        await health.drain()
        await port.stop()
