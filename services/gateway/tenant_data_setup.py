"""What the system holds of a company, put together: what serves it, and what works on it."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from common.channel import Channel
from common.database import Database
from common.server import Service
from common.tenant_rows_servicer import TenantRowsServicer
from erp.gateway.v1 import tenant_data_service_pb2, tenant_data_service_pb2_grpc
from erp.tenants.v1 import tenant_rows_service_pb2_grpc
from gateway.peers import OWN_NAME
from gateway.removing import TenantRemover
from gateway.tenant_data_servicer import TenantDataServicer
from gateway.tenant_writing import TenantWriter

__all__ = ["handlers_of", "rows_of_all", "tenant_data_service"]

_SERVICE = tenant_data_service_pb2.DESCRIPTOR.services_by_name["TenantDataService"]


def tenant_data_service(database: Database) -> Service:
    """What the gateway offers."""
    register = tenant_data_service_pb2_grpc.add_TenantDataServiceServicer_to_server
    return Service(_SERVICE, register, TenantDataServicer(database))


def rows_of_all(channels: Mapping[str, Channel], database: Database) -> dict[str, Any]:
    """The rows of tenants in each service, by its name."""
    stub: Any = tenant_rows_service_pb2_grpc.TenantRowsStub
    others = {name: stub(channel) for name, channel in channels.items()}
    return {**others, OWN_NAME: TenantRowsServicer(database)}


def handlers_of(channels: Mapping[str, Channel], database: Database) -> list[SimpleNamespace]:
    """The handlers of the gateway's jobs about companies."""
    rows = rows_of_all(channels, database)
    return [TenantRemover(database, rows).handlers, TenantWriter(rows).handlers]
