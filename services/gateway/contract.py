"""The services whose rpcs the gateway offers as REST: the only list of them in the gateway."""

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from erp.accounting.v1 import accounting_service_pb2
from erp.gateway.v1 import gateway_service_pb2
from erp.inventory.v1 import inventory_service_pb2
from erp.sales.v1 import sales_service_pb2

SERVICES: dict[str, ServiceDescriptor] = {
    "inventory": inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"],
    "accounting": accounting_service_pb2.DESCRIPTOR.services_by_name["AccountingService"],
    "sales": sales_service_pb2.DESCRIPTOR.services_by_name["SalesService"],
    "gateway": gateway_service_pb2.DESCRIPTOR.services_by_name["GatewayService"],
}


def service_of(method: MethodDescriptor) -> str:
    """The service that serves an rpc: "sales" for erp.sales.v1.SalesService.CreateOrder."""
    return str(method.full_name.split(".")[1])
