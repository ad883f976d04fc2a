import asyncio
import os
import socket
from dataclasses import replace
from functools import partial
from itertools import count

import grpc
import grpc.aio
import psutil
import pytest
from grpc import StatusCode

from common import caller, deadline, ids, tracing
from common.caller import Caller, acting_as
from common.channel import connect
from common.deadline import DeadlineExceeded
from common.errors import NotFound, OutcomeUnknown, Unauthenticated, Unavailable
from common.rpc_policy import read_policies
from common.rpc_testing import MINTERS, channel_to, free_port, serving
from common.server import Service
from common.settings import Address, Settings
from common.status import RemoteError, to_status
from erp.inventory.v1 import inventory_pb2, inventory_service_pb2_grpc
from erp.inventory.v1 import inventory_service_pb2 as pb

INVENTORY = pb.DESCRIPTOR.services_by_name["InventoryService"]
ALICE = Caller(ids.new(), "user:alice", frozenset({"inventory.*"}), request_id="r-1")
READ, WRITE = "GetProduct", "ArchiveProduct"


class Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    def __init__(self):
        self.calls = []
        self.errors = []
        self.on_call = lambda context: None
        self.on_first_call = lambda: None

    async def GetProduct(self, request, context):
        return await self._answer(context)

    async def ArchiveProduct(self, request, context):
        return await self._answer(context)

    async def _answer(self, context):
        metadata = dict(context.invocation_metadata())
        self.calls.append((caller.current(), deadline.remaining(99), metadata))
        self.on_call(context)
        if len(self.calls) == 1:
            self.on_first_call()
        if self.errors:
            raise self.errors.pop(0)
        context.set_trailing_metadata((("consistency-token", "t-1"),))
        return inventory_pb2.Product()


def service(servicer):
    return Service(
        INVENTORY, inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server, servicer
    )


@pytest.fixture
def inventory():
    return Inventory()


@pytest.fixture
async def stub(inventory):
    async with (
        serving("inventory", service(inventory)) as server,
        channel_to(f"127.0.0.1:{server.port}", "inventory", INVENTORY) as channel,
    ):
        yield inventory_service_pb2_grpc.InventoryServiceStub(channel)


def request(method):
    kind = pb.GetProductRequest if method == READ else pb.ArchiveProductRequest
    return kind(id=str(ids.new()), **({} if method == READ else {"version": 1}))


async def test_a_call_carries_the_caller_and_the_trace(stub, inventory):
    with acting_as(ALICE):
        trace = tracing.follow(None)
        await stub.GetProduct(request(READ), metadata=(("idempotency-key", "k-1"),))

    ((who, _, metadata),) = inventory.calls
    assert who == replace(ALICE, actors=("gateway",))
    assert metadata["idempotency-key"] == "k-1"
    assert metadata["x-tenant-id"] == str(ALICE.tenant_id)
    assert metadata["traceparent"] == trace.header


async def test_without_a_caller_there_is_no_call(stub, inventory):
    with pytest.raises(Unauthenticated):
        await stub.GetProduct(request(READ))

    assert inventory.calls == []


async def test_a_hop_takes_a_little_off_the_deadline(stub, inventory):
    with acting_as(ALICE), deadline.within(3):
        await stub.GetProduct(request(READ))

    ((_, left, _),) = inventory.calls
    # gRPC rounds up to 10 ms on the wire.
    assert 1 < left < 3


async def test_when_time_is_up_nobody_is_called(stub, inventory):
    with acting_as(ALICE), deadline.within(0.01), pytest.raises(DeadlineExceeded):
        await stub.GetProduct(request(READ))

    assert inventory.calls == []


async def test_trailing_metadata_is_to_be_had(stub):
    with acting_as(ALICE):
        _, trailers = await stub.GetProduct.with_trailers(request(READ))

    assert trailers["consistency-token"] == "t-1"


async def test_the_other_service_s_error_arrives_as_it_was_raised_and_can_be_passed_on(
    stub, inventory
):
    inventory.errors = [NotFound("product", "p-1")]

    with acting_as(ALICE), pytest.raises(RemoteError) as caught:
        await stub.GetProduct(request(READ))

    error = caught.value
    assert (error.status, error.reason) == (StatusCode.NOT_FOUND, "NOT_FOUND")
    assert error.values() == {"kind": "product", "id": "p-1"}
    assert str(error) == "There is no product p-1."
    assert to_status(error, "sales") == to_status(NotFound("product", "p-1"), "inventory")


async def test_a_read_is_repeated_when_the_service_is_away_for_a_moment(stub, inventory):
    inventory.errors = [Unavailable("The database"), Unavailable("The database")]

    with acting_as(ALICE):
        await stub.GetProduct(request(READ))

    assert len(inventory.calls) == 3


async def test_a_read_is_tried_four_times_at_most(stub, inventory):
    inventory.errors = [Unavailable("The database")] * 9

    with acting_as(ALICE), pytest.raises(RemoteError, match="The database is away") as caught:
        await stub.GetProduct(request(READ))

    assert len(inventory.calls) == 4
    assert caught.value.retry_after_seconds == 1.0


async def test_a_command_is_never_repeated_by_the_channel(stub, inventory):
    inventory.errors = [Unavailable("The database")]

    with acting_as(ALICE), pytest.raises(RemoteError):
        await stub.ArchiveProduct(request(WRITE))

    assert len(inventory.calls) == 1


@pytest.mark.parametrize("method", [READ, WRITE])
async def test_nothing_was_done_where_nobody_listens(method):
    async with channel_to(f"127.0.0.1:{free_port()}", "inventory", INVENTORY) as channel:
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)

        with acting_as(ALICE), pytest.raises(Unavailable, match="inventory is away"):
            await getattr(stub, method)(request(method))


def cut_connections_to(port):
    """Break what is connected to a port of this process, as a network does that fails."""
    for connection in psutil.Process().net_connections("tcp"):
        if connection.laddr.port == port and connection.status == psutil.CONN_ESTABLISHED:
            with socket.socket(fileno=os.dup(connection.fd)) as ours:
                ours.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(("method", "tries"), [(READ, 2), (WRITE, 1)])
async def test_a_broken_connection_is_bridged_for_a_read_and_told_for_a_command(
    inventory, method, tries
):
    async with (
        serving("inventory", service(inventory)) as server,
        channel_to(f"127.0.0.1:{server.port}", "inventory", INVENTORY) as channel,
    ):
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        inventory.on_first_call = partial(cut_connections_to, server.port)

        with acting_as(ALICE):
            outcome = await asyncio.gather(
                getattr(stub, method)(request(method)), return_exceptions=True
            )

    assert isinstance(outcome[0], inventory_pb2.Product if method == READ else OutcomeUnknown)
    assert len(inventory.calls) == tries


class Ending(grpc.GenericRpcHandler):
    """Cancels its first call, as a gRPC server does that ends before it has begun it."""

    def __init__(self):
        self.calls = 0

    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request, context):
        self.calls += 1
        if self.calls == 1:
            await context.abort(StatusCode.CANCELLED)
        return b""


@pytest.mark.parametrize(("method", "tries"), [(READ, 2), (WRITE, 1)])
async def test_a_call_that_an_ending_server_cancels_is_made_again_or_told_to_be_lost(method, tries):
    ending, server = Ending(), grpc.aio.server()
    server.add_generic_rpc_handlers((ending,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with channel_to(f"127.0.0.1:{port}", "inventory", INVENTORY) as channel:
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)

        with acting_as(ALICE):
            outcome = await asyncio.gather(
                getattr(stub, method)(request(method)), return_exceptions=True
            )
    await server.stop(None)

    assert isinstance(outcome[0], inventory_pb2.Product if method == READ else OutcomeUnknown)
    assert ending.calls == tries


class Stuck(Inventory):
    """Begins what it is asked and never ends it."""

    def __init__(self):
        super().__init__()
        self.begun = asyncio.Event()

    async def _answer(self, context):
        self.calls.append(context)
        self.begun.set()
        await asyncio.Event().wait()


async def test_a_call_that_its_caller_cancels_is_cancelled_and_not_made_again():
    stuck = Stuck()
    async with (
        serving("inventory", service(stuck)) as server,
        channel_to(f"127.0.0.1:{server.port}", "inventory", INVENTORY) as channel,
    ):
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        with acting_as(ALICE):
            call = asyncio.create_task(stub.GetProduct(request(READ)))
        await stuck.begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert len(stuck.calls) == 1


async def test_a_service_that_comes_back_is_found_again(inventory):
    settings = Settings(grpc_bind=Address("127.0.0.1", free_port()))
    async with channel_to(str(settings.grpc_bind), "inventory", INVENTORY) as channel:
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        with acting_as(ALICE):
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await stub.ArchiveProduct(request(WRITE))
            async with (
                serving("inventory", service(inventory), settings=settings),
                asyncio.timeout(5),
            ):
                for _ in count():
                    try:
                        await stub.ArchiveProduct(request(WRITE))
                    except Unavailable:
                        continue
                    break


async def test_several_connections_share_the_calls(inventory):
    policies = read_policies(INVENTORY)
    peers = set()
    inventory.on_call = lambda context: peers.add(context.peer())
    async with serving("inventory", service(inventory)) as server:
        target = f"127.0.0.1:{server.port}"
        channel = connect(target, "inventory", MINTERS["gateway"], policies, connections=3)
        stub = inventory_service_pb2_grpc.InventoryServiceStub(channel)
        with acting_as(ALICE):
            for _ in range(6):
                await stub.GetProduct(request(READ))
        await channel.close()

    assert len(peers) == 3
