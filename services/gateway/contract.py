"""The services whose rpcs the gateway offers as REST: the only list of them in the gateway."""

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor

from erp.accounting.v1 import accounting_service_pb2, report_file_service_pb2
from erp.gateway.v1 import (
    audit_service_pb2,
    event_service_pb2,
    gateway_service_pb2,
    job_service_pb2,
    session_service_pb2,
    tenant_data_service_pb2,
    tenant_service_pb2,
    user_service_pb2,
    webhook_service_pb2,
)
from erp.inventory.v1 import inventory_service_pb2, product_file_service_pb2
from erp.sales.v1 import customer_file_service_pb2, sales_service_pb2

_FILES: dict[str, tuple[FileDescriptor, ...]] = {
    "inventory": (inventory_service_pb2.DESCRIPTOR, product_file_service_pb2.DESCRIPTOR),
    "accounting": (accounting_service_pb2.DESCRIPTOR, report_file_service_pb2.DESCRIPTOR),
    "sales": (sales_service_pb2.DESCRIPTOR, customer_file_service_pb2.DESCRIPTOR),
    "gateway": (
        gateway_service_pb2.DESCRIPTOR,
        session_service_pb2.DESCRIPTOR,
        user_service_pb2.DESCRIPTOR,
        tenant_service_pb2.DESCRIPTOR,
        tenant_data_service_pb2.DESCRIPTOR,
        event_service_pb2.DESCRIPTOR,
        job_service_pb2.DESCRIPTOR,
        webhook_service_pb2.DESCRIPTOR,
        audit_service_pb2.DESCRIPTOR,
    ),
}

# The gRPC services of each, in the order in which the documentation shows them.
SERVICES: dict[str, tuple[ServiceDescriptor, ...]] = {
    name: tuple(service for file in files for service in file.services_by_name.values())
    for name, files in _FILES.items()
}


def all_services() -> list[ServiceDescriptor]:
    """The gRPC services of all."""
    return [descriptor for descriptors in SERVICES.values() for descriptor in descriptors]


def service_of(method: MethodDescriptor) -> str:
    """The service that serves an rpc: "sales" for erp.sales.v1.SalesService.CreateOrder."""
    return str(method.full_name.split(".")[1])
