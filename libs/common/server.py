"""The gRPC server of a service, from its first call to the last one's end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import grpc.aio
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2_grpc

from common.certificates import certificates_of
from common.channel import KEEPALIVE_SECONDS, MESSAGE_BYTES
from common.health import Check, Health
from common.identity import Verifier
from common.interceptors import Interceptor
from common.probed_port import ProbedPort
from common.process import Stop
from common.repetitions import Repetitions
from common.rpc_policy import read_policies
from common.settings import Settings, SettingsError

__all__ = ["Server", "Service", "serve"]

log = structlog.get_logger()

# Connections are renewed so that clients find new processes; running calls may finish.
_CONNECTION_AGE_SECONDS = 300
_CONNECTION_GRACE_SECONDS = 60
# What it takes at most to answer calls that have run out of time.
_ANSWERING_SECONDS = 1.0


class Service(NamedTuple):
    """A gRPC service and who implements it."""

    descriptor: ServiceDescriptor
    # The generated add_…Servicer_to_server.
    register: Callable[[Any, Any], None]
    servicer: Any


async def serve(
    name: str,
    settings: Settings,
    stop: Stop,
    services: Sequence[Service],
    verifier: Verifier,
    checks: Mapping[str, Check] | None = None,
    repetitions: Repetitions | None = None,
    closing: Sequence[Callable[[], Awaitable[object]]] = (),
) -> None:
    """Serve until told to stop, then finish what is running, then close what was opened.

    Args:
        name: the service, as in "inventory".
        settings: where to listen, how long to wait.
        stop: tells when.
        services: what to serve, besides health.
        verifier: believes the callers.
        checks: what must work for the process to be ready, by name.
        repetitions: recognises calls that come again.
        closing: called in order once nothing runs any more.
    """
    server = Server(name, settings, services, verifier, checks or {}, repetitions)
    try:
        await server.start()
        await stop.wait()
        await server.drain(stop)
    finally:
        for close in closing:
            await close()


class Server:
    """A gRPC server with identity, validation, health and a graceful end."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        services: Sequence[Service],
        verifier: Verifier,
        checks: Mapping[str, Check],
        repetitions: Repetitions | None = None,
    ) -> None:
        policies = read_policies(*(service.descriptor for service in services))
        if repetitions is not None:
            repetitions.demand_seal(policies.values())
        self.port = 0
        self._name = name
        self._settings = settings
        timeout, most_calls = settings.request_timeout_seconds, settings.tenant_calls
        self._interceptor = Interceptor(name, policies, verifier, timeout, most_calls, repetitions)
        self._health = Health([service.descriptor.full_name for service in services], checks)
        self._server = grpc.aio.server(interceptors=[self._interceptor], options=_options(settings))
        for service in services:
            service.register(service.servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._server)
        self._probed = ProbedPort(settings, self._health)

    async def start(self) -> None:
        """Listen; the port is in `port`.

        Raises:
            SettingsError: the address is taken.
        """
        certificates, where = certificates_of(self._settings), str(self._settings.grpc_bind)
        try:
            if certificates:
                self.port = self._server.add_secure_port(where, certificates.for_server())
            else:
                self.port = self._server.add_insecure_port(where)
        except RuntimeError:
            raise SettingsError(f"KV_ERP_GRPC_BIND: cannot listen on {where}.") from None
        await self._health.start()
        await self._server.start()
        await self._probed.start()
        log.info("serving", service=self._name, host=self._settings.grpc_bind.host, port=self.port)

    async def drain(self, stop: Stop) -> None:
        """Say "not serving", take no new calls, finish the running ones; haste cuts it short.

        Those that the grace is too short for are answered UNAVAILABLE, and end by themselves.
        """
        grace = self._settings.shutdown_grace_seconds
        log.info("draining", service=self._name)
        await self._health.drain()
        await _unless_hastened(stop, asyncio.sleep(self._settings.drain_wait_seconds))
        stopping = asyncio.create_task(self._server.stop(grace + _ANSWERING_SECONDS))
        await _unless_hastened(stop, asyncio.wait({stopping}, timeout=grace))
        self._interceptor.let_go()
        await asyncio.wait({stopping}, timeout=_ANSWERING_SECONDS)
        await self._server.stop(None)
        await self._probed.stop()
        # Handlers whose clients are gone may still hold transactions.
        finished = await self._interceptor.finished(
            1.0 if stop.hastened.is_set() else max(grace, 1.0)
        )
        log.info("drained", service=self._name, finished=finished)


async def _unless_hastened(stop: Stop, work: Any) -> None:
    haste = asyncio.ensure_future(stop.hastened.wait())
    await asyncio.wait({asyncio.ensure_future(work), haste}, return_when=asyncio.FIRST_COMPLETED)
    haste.cancel()


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", int(settings.shared_port)),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_connection_age_ms", _CONNECTION_AGE_SECONDS * 1000),
        ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Half of what our channels do, for their clocks and ours; else three are too many.
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 500),
    ]
