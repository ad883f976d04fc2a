"""The port that Kubernetes probes."""

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.health import Health
from common.probed_port import probed
from common.rpc_testing import free_port, serving
from common.settings import Address, Settings, SettingsError

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def asked(port, name):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(
            health_pb2.HealthCheckRequest(service=name), timeout=5, wait_for_ready=True
        )
    return answer.status


def settings_for(port):
    return Settings(health_bind=Address("127.0.0.1", port))


async def test_a_server_is_probed_on_a_port_of_its_own():
    port = free_port()

    async with serving("sales", settings=settings_for(port)):
        assert await asked(port, "liveness") == SERVING
        assert await asked(port, "readiness") == SERVING


async def test_a_worker_that_cannot_work_lives_and_is_not_ready():
    async def broken():
        raise OSError("no database")

    port = free_port()

    async with probed(settings_for(port), Health([], {"database": broken})):
        assert await asked(port, "liveness") == SERVING
        assert await asked(port, "readiness") == NOT_SERVING


async def test_a_taken_address_is_named():
    port = free_port()

    async with serving("sales", settings=settings_for(port)):
        with pytest.raises(SettingsError, match="KV_ERP_HEALTH_BIND: cannot listen on 127"):
            async with probed(settings_for(port), Health([], {})):
                pass
