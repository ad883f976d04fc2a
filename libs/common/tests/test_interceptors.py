import asyncio
import io
import json
from dataclasses import dataclass, replace

import grpc
import grpc.aio
import pytest
import structlog
from grpc import StatusCode
from prometheus_client import REGISTRY

from common import caller, deadline, ids, logging, tracing
from common.caller import Caller, acting_as
from common.errors import (
    BrokenRule,
    InvalidField,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from common.interceptors import Interceptor
from common.rpc_testing import MINTERS, channel_to, serving
from common.server import Service
from common.settings import Settings
from common.status import status_of
from erp.events.v1 import events_pb2, events_pb2_grpc
from erp.inventory.v1 import inventory_pb2, inventory_service_pb2_grpc
from erp.inventory.v1 import inventory_service_pb2 as pb

INVENTORY = pb.DESCRIPTOR.services_by_name["InventoryService"]
PUBLISHER = events_pb2.DESCRIPTOR.services_by_name["EventPublisher"]
LOG = events_pb2.DESCRIPTOR.services_by_name["EventLog"]
CONTRACTS = (INVENTORY, PUBLISHER, LOG)
ALICE = Caller(ids.new(), "user:alice", frozenset({"inventory.*", "events.*"}))


@dataclass(eq=False)
class OnlyOneLeft(BrokenRule):
    detail = "Only {available} of {sku} left."

    sku: str
    available: int


class Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    """Does what a test tells it to."""

    def __init__(self):
        self.seen = []
        self.error = None
        self.entered = asyncio.Event()
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.finished = asyncio.Event()
        self.client_gone = asyncio.Event()

    async def GetProduct(self, request, context):
        self.seen.append((caller.current(), deadline.current_deadline(), tracing.current()))
        context.add_done_callback(lambda _: self.client_gone.set())
        self.entered.set()
        await self.may_finish.wait()
        if self.error is not None:
            raise self.error
        self.finished.set()
        return inventory_pb2.Product(id=request.id)

    async def ReserveStock(self, request, context):
        return inventory_pb2.Reservation()


class Publisher(events_pb2_grpc.EventPublisherServicer):
    async def Publish(self, request, context):
        return events_pb2.PublishResponse()


class Log(events_pb2_grpc.EventLogServicer):
    async def Heads(self, request, context):
        return events_pb2.HeadsResponse()


@pytest.fixture
def inventory():
    return Inventory()


@pytest.fixture
async def server(inventory):
    services = (
        Service(
            INVENTORY, inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server, inventory
        ),
        Service(PUBLISHER, events_pb2_grpc.add_EventPublisherServicer_to_server, Publisher()),
        Service(LOG, events_pb2_grpc.add_EventLogServicer_to_server, Log()),
    )
    async with serving("inventory", *services) as server:
        yield server


@pytest.fixture
async def plain(server):
    """A stub without our channel: a stranger in the network."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield inventory_service_pb2_grpc.InventoryServiceStub(channel)


@pytest.fixture
async def channel(server):
    async with channel_to(
        f"127.0.0.1:{server.port}", "inventory", INVENTORY, PUBLISHER, LOG
    ) as channel:
        yield channel


@pytest.fixture
def stub(channel):
    return inventory_service_pb2_grpc.InventoryServiceStub(channel)


def product():
    return pb.GetProductRequest(id=str(ids.new()))


def identity(who=ALICE, audience="inventory"):
    return ("authorization", f"Bearer {MINTERS['gateway'].mint(who, audience)}")


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_handler_knows_caller_deadline_and_trace(inventory, plain):
    metadata = (
        identity(),
        ("x-request-id", "r-7"),
        ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),
    )

    await plain.GetProduct(product(), metadata=metadata, timeout=5)

    ((who, until, trace),) = inventory.seen
    assert who == replace(ALICE, actors=("gateway",), request_id="r-7")
    # gRPC rounds up on the wire.
    assert 4 < until - asyncio.get_running_loop().time() < 5.2
    assert (trace.trace_id, trace.flags) == ("a" * 32, "01")
    assert trace.span_id != "b" * 16


async def test_a_call_without_deadline_gets_the_usual_one(inventory, plain):
    await plain.GetProduct(product(), metadata=(identity(),))

    ((_, until, _),) = inventory.seen
    assert 9 < until - asyncio.get_running_loop().time() <= 10


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Basic YWxpY2U6"),),
        (("authorization", "Bearer nonsense"),),
        (identity(audience="sales"),),
        (identity(), ("x-tenant-id", str(ids.new()))),
        (identity(Caller(None, "service:gateway")), ("x-tenant-id", str(ids.new()))),
    ],
)
async def test_nobody_gets_in_without_a_valid_identity(inventory, plain, metadata):
    error = await refusal(plain.GetProduct(product(), metadata=metadata))

    assert error.code() is StatusCode.UNAUTHENTICATED
    assert inventory.seen == []


async def test_who_lacks_the_permission_is_told_which(plain):
    reader = replace(ALICE, permissions=frozenset({"inventory.stock.read"}))

    error = await refusal(plain.GetProduct(product(), metadata=(identity(reader),)))

    assert error.code() is StatusCode.PERMISSION_DENIED
    assert "inventory.products.read" in error.details()


async def test_an_internal_rpc_is_closed_to_what_the_gateway_lets_in(channel):
    publish = events_pb2_grpc.EventPublisherStub(channel).Publish

    with acting_as(ALICE), pytest.raises(Exception, match=r"events\.publish"):
        await publish(events_pb2.PublishRequest())
    with acting_as(caller.service_caller("gateway", ALICE.tenant_id)):
        await publish(events_pb2.PublishRequest())


async def test_every_wrong_field_is_named_by_its_pointer(plain):
    request = pb.ReserveStockRequest(
        warehouse_id=str(ids.new()),
        lines=[
            pb.ReserveStockRequest.DESCRIPTOR.fields_by_name["lines"].message_type._concrete_class(
                product_id=str(ids.new()), quantity="0"
            )
        ],
    )

    error = await refusal(plain.ReserveStock(request, metadata=(identity(),)))

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert "/lines/0/quantity" in str(status_of(error))


async def test_a_broken_rule_travels_with_its_values(inventory, stub):
    inventory.error = OnlyOneLeft("OAK-TÄBLE", 1)

    with acting_as(ALICE), pytest.raises(Exception, match="Only 1 of OAK-TÄBLE left") as caught:
        await stub.GetProduct(product())

    assert caught.value.status is StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "ONLY_ONE_LEFT"
    assert caught.value.domain == "inventory.kv-erp"
    assert caught.value.values() == {"sku": "OAK-TÄBLE", "available": "1"}


async def test_no_error_is_too_long_to_travel(inventory, stub):
    inventory.error = InvalidRequest(
        [InvalidField(f"/lines/{n}/{'ä' * 200}", "ж" * 500) for n in range(400)]
    )

    with acting_as(ALICE), pytest.raises(Exception, match="/lines/0/") as caught:
        await stub.GetProduct(product())

    assert caught.value.status is StatusCode.INVALID_ARGUMENT
    assert 0 < len(caught.value.violations) <= 20


@pytest.mark.parametrize("error", [NotFound("product", "p-1"), Unavailable("The database")])
async def test_what_the_caller_can_do_comes_along(inventory, plain, error):
    inventory.error = error

    caught = await refusal(plain.GetProduct(product(), metadata=(identity(),)))

    kinds = {detail.TypeName() for detail in status_of(caught).details}
    expected = "RetryInfo" if isinstance(error, Unavailable) else "ResourceInfo"
    assert kinds == {"google.rpc.ErrorInfo", f"google.rpc.{expected}"}


async def test_a_fault_of_ours_is_recorded_and_not_told(inventory, plain, lines):
    inventory.error = ZeroDivisionError("secret detail")

    error = await refusal(
        plain.GetProduct(product(), metadata=(identity(), ("x-request-id", "r-9")))
    )

    assert error.code() is StatusCode.INTERNAL
    assert "secret" not in f"{error.details()}{status_of(error)}"
    (fault,) = [line for line in lines() if line["event"] == "rpc broke"]
    assert "ZeroDivisionError: secret detail" in fault["exception"]
    assert fault["request_id"] == "r-9"


async def test_a_client_that_hangs_up_does_not_cancel_the_handler(inventory, plain):
    inventory.may_finish.clear()
    call = plain.GetProduct(product(), metadata=(identity(),))
    await inventory.entered.wait()

    call.cancel()
    await asyncio.wait_for(inventory.client_gone.wait(), 5)
    inventory.may_finish.set()

    await asyncio.wait_for(inventory.finished.wait(), 5)


async def test_a_deadline_that_passes_does_not_cancel_the_handler(inventory, plain):
    inventory.may_finish.clear()

    error = await refusal(plain.GetProduct(product(), metadata=(identity(),), timeout=0.05))
    await asyncio.wait_for(inventory.client_gone.wait(), 5)
    inventory.may_finish.set()

    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(inventory.finished.wait(), 5)


async def test_an_rpc_that_nobody_wrote_is_unimplemented(plain):
    error = await refusal(plain.GetWarehouse(pb.GetWarehouseRequest(), metadata=(identity(),)))

    assert error.code() is StatusCode.UNIMPLEMENTED


async def test_a_service_without_policies_is_not_served():
    interceptor = Interceptor("inventory", {}, None, 10)

    async def found(_details):
        return grpc.unary_unary_rpc_method_handler(Publisher().Publish)

    class Details:
        method = "/erp.events.v1.EventPublisher/Publish"

    assert await interceptor.intercept_service(found, Details) is None


@pytest.fixture
def lines():
    """The log lines of the test, as the collector would see them."""
    logging.configure(Settings(), "inventory")
    written = io.BytesIO()
    structlog.configure(
        logger_factory=structlog.BytesLoggerFactory(written), cache_logger_on_first_use=False
    )
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.reset_defaults()


async def test_every_call_leaves_one_line_with_its_tenant_and_request_and_no_secret(plain, lines):
    metadata = (identity(), ("x-request-id", "r-8"))

    await plain.GetProduct(product(), metadata=metadata)

    (line,) = lines()
    assert line["method"] == "/erp.inventory.v1.InventoryService/GetProduct"
    assert (line["status"], line["request_id"]) == ("OK", "r-8")
    assert line["tenant"] == str(ALICE.tenant_id)
    assert line["duration_ms"] >= 0
    assert metadata[0][1].split()[1] not in json.dumps(line)


async def test_a_service_that_looks_for_news_leaves_no_line_unless_it_is_refused(channel, lines):
    heads = events_pb2_grpc.EventLogStub(channel).Heads

    with acting_as(caller.service_caller("gateway", None)):
        await heads(events_pb2.HeadsRequest())
    assert lines() == []

    with acting_as(ALICE), pytest.raises(Exception, match=r"events\.heads"):
        await heads(events_pb2.HeadsRequest())
    assert [line["status"] for line in lines()] == ["PERMISSION_DENIED"]


async def test_every_call_is_counted(plain):
    labels = {"service": "inventory", "method": "/erp.inventory.v1.InventoryService/GetProduct"}

    def counted():
        return (
            REGISTRY.get_sample_value(
                "kv_erp_rpc_requests_total", {**labels, "code": "UNAUTHENTICATED"}
            )
            or 0,
            REGISTRY.get_sample_value("kv_erp_rpc_duration_seconds_count", labels) or 0,
        )

    before = counted()
    await refusal(plain.GetProduct(product()))

    assert counted() == (before[0] + 1, before[1] + 1)
