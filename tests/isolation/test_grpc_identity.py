"""Inside the mesh nobody is believed without a signed identity."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from erp.accounting.v1 import accounting_service_pb2
from erp.audit.v1 import audit_pb2
from erp.events.v1 import events_pb2
from erp.gateway.v1 import (
    gateway_service_pb2,
    session_service_pb2,
    tenant_service_pb2,
    user_service_pb2,
)
from erp.inventory.v1 import inventory_service_pb2
from erp.sales.v1 import sales_service_pb2
from ops.background import BackgroundStack

OWN = {
    "inventory": inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"],
    "accounting": accounting_service_pb2.DESCRIPTOR.services_by_name["AccountingService"],
    "sales": sales_service_pb2.DESCRIPTOR.services_by_name["SalesService"],
    "gateway": gateway_service_pb2.DESCRIPTOR.services_by_name["GatewayService"],
}
OF_PEOPLE = {
    "gateway": (
        session_service_pb2.DESCRIPTOR.services_by_name["SessionService"],
        user_service_pb2.DESCRIPTOR.services_by_name["UserService"],
        tenant_service_pb2.DESCRIPTOR.services_by_name["TenantService"],
    )
}
SHARED = {
    "inventory": ("EventLog", "Auditor"),
    "accounting": ("EventLog", "Auditor"),
    "sales": ("EventLog", "Auditor"),
    "gateway": ("EventLog", "EventPublisher"),
}


def methods() -> Iterator[tuple[str, str]]:
    for server, service in OWN.items():
        shared = [
            file.DESCRIPTOR.services_by_name[name]
            for file in (events_pb2, audit_pb2)
            for name in SHARED[server]
            if name in file.DESCRIPTOR.services_by_name
        ]
        for descriptor in (service, *OF_PEOPLE.get(server, ()), *shared):
            for method in descriptor.methods:
                yield server, f"/{descriptor.full_name}/{method.name}"


FORGED = (
    "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0."
    "eyJpc3MiOiJnYXRld2F5Iiwic3ViIjoidXNlcjp4IiwicGVybWlzc2lvbnMiOlsiKiJdfQ."
)


@pytest.mark.parametrize(("server", "method"), list(methods()))
@pytest.mark.parametrize("authorization", [None, "Bearer x", f"Bearer {FORGED}"])
async def test_a_direct_call_without_identity_is_refused(
    stack: BackgroundStack, server: str, method: str, authorization: str | None
) -> None:
    metadata: Any = [("authorization", authorization)] if authorization else []

    async with grpc.aio.insecure_channel(stack.state["grpc"][server]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(method)(b"", metadata=metadata)

    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("server", list(OWN))
@pytest.mark.parametrize("name", ["", "liveness", "readiness", None])
async def test_health_answers_to_anybody(
    stack: BackgroundStack, server: str, name: str | None
) -> None:
    service = OWN[server].full_name if name is None else name

    async with grpc.aio.insecure_channel(stack.state["grpc"][server]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
