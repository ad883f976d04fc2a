import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio
import pytest
from grpc import StatusCode
from grpc._cython import cygrpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.caller import acting_as, service_caller
from common.channel import _options as channel_options
from common.errors import Unavailable
from common.identity import Verifier
from common.process import Stop
from common.rpc_testing import MINTERS, TRUSTED_KEYS, channel_to, free_port, serving
from common.server import Server, Service, serve
from common.server import _options as server_options
from common.settings import Address, Settings, SettingsError
from erp.events.v1 import events_pb2 as pb
from erp.events.v1 import events_pb2_grpc

PUBLISHER = pb.DESCRIPTOR.services_by_name["EventPublisher"]
NAME = PUBLISHER.full_name
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Publisher(events_pb2_grpc.EventPublisherServicer):
    def __init__(self):
        self.entered = asyncio.Event()
        self.may_finish = asyncio.Event()
        self.client_gone = asyncio.Event()
        self.finished = False

    async def Publish(self, request, context):
        context.add_done_callback(lambda _: self.client_gone.set())
        self.entered.set()
        await self.may_finish.wait()
        self.finished = True
        return pb.PublishResponse()


@pytest.fixture
def publisher():
    return Publisher()


@pytest.fixture
def stop():
    return Stop()


def service(servicer):
    return Service(PUBLISHER, events_pb2_grpc.add_EventPublisherServicer_to_server, servicer)


async def until(condition):
    async with asyncio.timeout(5):
        while not await condition():
            await asyncio.sleep(0.01)


class Client:
    """Calls one server: its rpc through our channel, its health as a kubelet does."""

    def __init__(self, channel, plain):
        self.publish = events_pb2_grpc.EventPublisherStub(channel).Publish
        self._health = health_pb2_grpc.HealthStub(plain)

    async def health(self, name=""):
        return (await self._health.Check(health_pb2.HealthCheckRequest(service=name))).status

    async def serves(self):
        try:
            return await self.health() == SERVING
        except grpc.aio.AioRpcError:
            return False

    async def call(self):
        with acting_as(service_caller("gateway", None)):
            return await self.publish(pb.PublishRequest())


@pytest.fixture
async def client_of():
    async with AsyncExitStack() as stack:

        async def client_of(server):
            target = f"127.0.0.1:{server.port}"
            channel = await stack.enter_async_context(channel_to(target, "gateway", PUBLISHER))
            return Client(
                channel, await stack.enter_async_context(grpc.aio.insecure_channel(target))
            )

        yield client_of


async def test_a_service_that_can_serve_says_so_under_all_its_names(publisher, client_of):
    async with serving("gateway", service(publisher)) as server:
        client = await client_of(server)

        for name in ("", "liveness", "readiness", NAME):
            assert await client.health(name) == SERVING


async def test_a_check_that_fails_takes_the_service_out_and_leaves_it_alive(publisher, client_of):
    broken = [True]

    async def database():
        if broken:
            raise ConnectionError("away")

    async with serving("gateway", service(publisher), checks={"database": database}) as server:
        client = await client_of(server)
        assert await client.health("liveness") == SERVING
        for name in ("", "readiness", NAME):
            assert await client.health(name) == NOT_SERVING

        broken.clear()

        async def serves():
            return await client.health() == SERVING

        await until(serves)


async def test_a_check_that_hangs_counts_as_failed_and_is_neither_cancelled_nor_doubled(publisher):
    started, cancelled = [], []

    async def database():
        started.append(True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)

    async with asyncio.timeout(5):
        async with serving("gateway", service(publisher), checks={"database": database}) as server:
            await server._health._refresh()

            assert (len(started), cancelled) == (1, [])
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if "_Watched._run" in repr(task):
            task.cancel()


async def test_a_running_call_is_answered_while_new_ones_are_sent_elsewhere(
    publisher, stop, client_of
):
    server = Server(
        "gateway", Settings(), [service(publisher)], Verifier(TRUSTED_KEYS, "gateway"), {}
    )
    await server.start()
    client = await client_of(server)
    running = asyncio.create_task(client.call())
    await publisher.entered.wait()

    draining = asyncio.create_task(server.drain(stop))
    newcomer = await client_of(server)

    async def refused():
        try:
            await newcomer.health()
        except grpc.aio.AioRpcError as error:
            return error.code() is StatusCode.UNAVAILABLE

    await until(refused)
    assert not draining.done()
    publisher.may_finish.set()
    assert await running == pb.PublishResponse()
    await asyncio.wait_for(draining, 5)


async def test_while_load_balancers_look_away_the_service_is_not_ready_but_alive(
    publisher, stop, client_of
):
    settings = Settings(drain_wait_seconds=60)
    server = Server(
        "gateway", settings, [service(publisher)], Verifier(TRUSTED_KEYS, "gateway"), {}
    )
    await server.start()
    client = await client_of(server)
    draining = asyncio.create_task(server.drain(stop))

    async def not_ready():
        return await client.health() == NOT_SERVING

    await until(not_ready)
    assert await client.health("readiness") == NOT_SERVING
    assert await client.health("liveness") == SERVING
    publisher.may_finish.set()
    await client.call()

    stop.request()
    stop.request()
    await asyncio.wait_for(draining, 5)


async def test_nothing_is_closed_before_the_last_handler_is_done_even_if_its_client_has_gone(
    publisher, stop, client_of
):
    closed = []

    async def close():
        closed.append(publisher.finished)

    bind = Address("127.0.0.1", free_port())
    verifier = Verifier(TRUSTED_KEYS, "gateway")
    serving = serve(
        "gateway",
        Settings(grpc_bind=bind),
        stop,
        [service(publisher)],
        verifier,
        closing=[close],
    )
    serve_task = asyncio.create_task(serving)
    client = await client_of(bind)
    await until(client.serves)
    abandoned = asyncio.create_task(client.call())
    await publisher.entered.wait()
    abandoned.cancel()
    await publisher.client_gone.wait()

    stop.request()
    asyncio.get_running_loop().call_later(0.2, publisher.may_finish.set)
    await asyncio.wait_for(serve_task, 5)

    assert closed == [True]


async def test_a_second_request_to_stop_ends_the_wait_for_running_calls(publisher, stop, client_of):
    server = Server(
        "gateway", Settings(), [service(publisher)], Verifier(TRUSTED_KEYS, "gateway"), {}
    )
    await server.start()
    running = asyncio.create_task((await client_of(server)).call())
    await publisher.entered.wait()
    stop.request()
    draining = asyncio.create_task(server.drain(stop))

    stop.request()

    await asyncio.wait_for(draining, 5)
    with pytest.raises(Unavailable):
        await running
    publisher.may_finish.set()


def test_grpc_knows_every_option_that_we_set():
    """It passes over others without a word: pings were once counted as abuse for that reason."""
    library = Path(cygrpc.__file__).read_bytes()
    options = server_options(Settings()) + channel_options({})

    assert [name for name, _ in options if name.encode() + b"\0" not in library] == []


async def test_a_call_that_outlasts_the_grace_is_told_so_by_the_server(publisher, stop):
    settings = Settings(shutdown_grace_seconds=0.2)
    verifier = Verifier(TRUSTED_KEYS, "gateway")
    server = Server("gateway", settings, [service(publisher)], verifier, {})
    await server.start()
    token = MINTERS["inventory"].mint(service_caller("inventory", None), "gateway")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as plain:
        stub = events_pb2_grpc.EventPublisherStub(plain)
        metadata = [("authorization", f"Bearer {token}")]
        running = asyncio.create_task(_call(stub, metadata))
        await publisher.entered.wait()

        draining = asyncio.create_task(server.drain(stop))
        answer = await asyncio.wait_for(running, 5)
        publisher.may_finish.set()
        await asyncio.wait_for(draining, 5)

    assert answer == (StatusCode.UNAVAILABLE, "gateway is away for the moment. Try again.")
    assert publisher.finished


async def _call(stub, metadata):
    try:
        await stub.Publish(pb.PublishRequest(), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details()


async def test_a_taken_address_is_told_in_a_sentence(publisher):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Address(*taken.getsockname())

        with pytest.raises(SettingsError, match=f"cannot listen on {address}"):
            async with serving("gateway", service(publisher), settings=Settings(grpc_bind=address)):
                pass
