import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodOptions
from google.protobuf.descriptor_pool import DescriptorPool

from common.caller import Caller
from common.rpc_policy import Access, Idempotency, PolicyError, Route, Settlement, read_policies
from erp.events.v1 import events_pb2
from erp.inventory.v1 import inventory_service_pb2
from erp.options.v1 import options_pb2
from erp.sales.v1 import sales_service_pb2

INVENTORY = inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"]
SALES = sales_service_pb2.DESCRIPTOR.services_by_name["SalesService"]
EVENT_LOG = events_pb2.DESCRIPTOR.services_by_name["EventLog"]


def service_with(options):
    """A service with one rpc, `Do`, that has these options."""
    file = FileDescriptorProto(name="test.proto", package="test")
    file.message_type.add(name="Thing")
    method = file.service.add(name="Things").method.add(name="Do")
    method.input_type = method.output_type = ".test.Thing"
    method.options.CopyFrom(options)
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("test.Things")


def options(*, permission="things.do", internal=False, path="", read="", access=0):
    options = MethodOptions()
    rpc = options.Extensions[options_pb2.rpc]
    rpc.access = access
    rpc.permission, rpc.internal = permission, internal
    if read:
        rpc.settlement.read = read
    if path:
        options.Extensions[annotations_pb2.http].post = path
    return options


def test_an_rpc_tells_its_route_permission_and_promises():
    policies = read_policies(INVENTORY, EVENT_LOG)

    get = policies["/erp.inventory.v1.InventoryService/GetProduct"]
    assert get.route == Route("GET", "/api/v1/products/{id}", "")
    assert get.permission == "inventory.products.read"
    assert (get.idempotency, get.repeatable) == (Idempotency.NO_SIDE_EFFECTS, True)
    assert (get.internal, get.rate_cost, get.cache_seconds) == (False, 1, 60.0)
    assert get.outdated_by == {"erp.inventory.v1.ProductChanged"}
    assert get.request is inventory_service_pb2.GetProductRequest

    archive = policies["/erp.inventory.v1.InventoryService/ArchiveProduct"]
    assert archive.route == Route("POST", "/api/v1/products/{id}:archive", "*")
    assert not archive.repeatable

    read = policies["/erp.events.v1.EventLog/Read"]
    assert (read.internal, read.route) == (True, None)


def test_a_command_with_follow_up_work_says_how_to_learn_of_its_end():
    confirm = read_policies(SALES)["/erp.sales.v1.SalesService/ConfirmOrder"]

    assert confirm.settlement == Settlement(
        confirm.settlement.event, "/erp.sales.v1.SalesService/GetOrder"
    )


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (options(permission="", internal=True), "test.Things.Do names no permission"),
        (options(), "test.Things.Do has neither a route"),
        (options(internal=True, path="/things"), "test.Things.Do is internal and has a route"),
        (options(path="/things", access=Access.ONESELF), "names a permission and does not ask"),
        (options(permission="", internal=True, access=1), "is internal and open to others"),
        (options(path="/things", read="Get"), "test.Things.Do settles by reading 'Get'"),
    ],
)
def test_an_rpc_that_says_too_little_stops_the_process(bad, why):
    with pytest.raises(PolicyError, match=why):
        read_policies(service_with(bad))


@pytest.mark.parametrize("access", [Access.ANYBODY, Access.ONESELF])
def test_an_rpc_can_be_open_to_who_holds_nothing(access):
    policies = read_policies(service_with(options(permission="", path="/things", access=access)))

    (policy,) = policies.values()
    assert policy.access is access
    assert policy.lets_in(Caller(None, "anonymous"))


def test_an_rpc_that_says_enough_is_served():
    assert list(read_policies(service_with(options(path="/things")))) == ["/test.Things/Do"]
