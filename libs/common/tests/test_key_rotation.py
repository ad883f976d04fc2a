"""A key is changed while it is in use, one server after the other, and no call is refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from common import ids
from common.caller import Caller, acting_as, service_caller
from common.channel import connect
from common.errors import DomainError
from common.identity import Minter, Verifier
from common.process import Stop
from common.rpc_policy import read_policies
from common.rpc_testing import free_port
from common.server import Server, Service
from common.settings import Address, Settings
from erp.events.v1 import events_pb2, events_pb2_grpc

PUBLISHER = events_pb2.DESCRIPTOR.services_by_name["EventPublisher"]
OLD, NEW = Minter("sales", b"o" * 32), Minter("sales", b"n" * 32)


class Publisher(events_pb2_grpc.EventPublisherServicer):
    async def Publish(self, request, context):
        return events_pb2.PublishResponse()


class Node:
    """One of the servers of a service, which is started again to trust other keys."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: Server | None = None

    async def restart(self, *trusted: Minter) -> None:
        await self.stop()
        add = events_pb2_grpc.add_EventPublisherServicer_to_server
        keys = {"sales": [one.public_key() for one in trusted]}
        settings = Settings(grpc_bind=Address("127.0.0.1", self.port))
        service = Service(PUBLISHER, add, Publisher())
        self._server = Server("gateway", settings, [service], Verifier(keys, "gateway"), {})
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            stop = Stop()
            stop.request()
            await self._server.drain(stop)


@asynccontextmanager
async def publishing(nodes: Sequence[Node], minter: Minter) -> AsyncIterator:
    target = "ipv4:" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
    channel = connect(target, "gateway", minter, read_policies(PUBLISHER))
    try:
        yield events_pb2_grpc.EventPublisherStub(channel).Publish
    finally:
        await channel.close()


async def outcomes_at_each(nodes: Sequence[Node], minter: Minter) -> list[str]:
    found = []
    for node in nodes:
        async with publishing([node], minter) as publish:
            try:
                await publish(events_pb2.PublishRequest(), timeout=10)
                found.append("OK")
            except DomainError as error:
                found.append(error.reason)
    return found


@pytest.fixture
async def nodes() -> AsyncIterator[list[Node]]:
    both = [Node(), Node()]
    for node in both:
        await node.restart(OLD)
    yield both
    for node in both:
        await node.stop()


@pytest.fixture(autouse=True)
def sales():
    with acting_as(service_caller("sales", ids.new())):
        yield


async def test_a_key_is_changed_without_a_refused_call(nodes):
    refused, answered = [], 0
    minter = OLD

    async def keep_calling() -> None:
        nonlocal answered
        while True:
            async with publishing(nodes, minter) as publish:
                try:
                    await publish(events_pb2.PublishRequest(), timeout=10)
                    answered += 1
                except DomainError as error:
                    # A server that is being started again may be away: then the other is asked.
                    if error.reason != "UNAVAILABLE":
                        refused.append(error.reason)

    calling = asyncio.create_task(keep_calling())
    at_each_step = []
    for step in ((OLD, NEW), None, (NEW,)):
        if step is None:
            minter = NEW
        else:
            for node in nodes:
                await node.restart(*step)
        before = answered
        async with asyncio.timeout(30):
            while answered < before + 3:
                await asyncio.sleep(0.01)
        at_each_step.append(await outcomes_at_each(nodes, minter))
    calling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calling

    assert refused == []
    assert at_each_step == [["OK", "OK"]] * 3
    assert await outcomes_at_each(nodes, OLD) == ["UNAUTHENTICATED"] * 2


async def test_a_new_key_that_is_used_too_early_is_refused(nodes):
    await nodes[0].restart(OLD, NEW)

    assert await outcomes_at_each(nodes, NEW) == ["OK", "UNAUTHENTICATED"]


async def test_a_service_checks_the_permission_again_whatever_the_gateway_did(nodes):
    edge = Minter("gateway", b"g" * 32)
    keys = {"gateway": [edge.public_key()]}
    add = events_pb2_grpc.add_EventPublisherServicer_to_server
    service = Service(PUBLISHER, add, Publisher())
    server = Server("gateway", Settings(), [service], Verifier(keys, "gateway"), {})
    await server.start()
    node = Node()
    node.port, node._server = server.port, server

    with acting_as(Caller(ids.new(), "user:1", frozenset({"*"}))):
        async with publishing([node], edge) as publish:
            with pytest.raises(DomainError) as refused:
                await publish(events_pb2.PublishRequest(), timeout=10)
    assert refused.value.reason == "NOT_PERMITTED"
    await node.stop()
