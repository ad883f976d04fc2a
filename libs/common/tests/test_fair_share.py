import asyncio
from contextlib import asynccontextmanager

import pytest
from grpc import StatusCode
from sqlalchemy import text

from common import caller, deadline, ids
from common.caller import Caller, acting_as
from common.database import Database
from common.errors import Unavailable
from common.fair_share import Calls, Places, TooManyCalls
from common.rpc_testing import channel_to, serving
from common.server import Service
from common.settings import Settings
from common.testing import as_user
from erp.inventory.v1 import inventory_pb2, inventory_service_pb2_grpc
from erp.inventory.v1 import inventory_service_pb2 as pb

NOISY, LIGHT, THIRD = ids.new(), ids.new(), ids.new()
INVENTORY = pb.DESCRIPTOR.services_by_name["InventoryService"]


@pytest.fixture
def places():
    return Places(4)


class Work:
    """Pieces of work in places; `order` says who came in."""

    def __init__(self, places):
        self.places = places
        self.order = []
        self.may_end = {}
        self.tasks = []

    async def begin(self, *names):
        """Ask for places in this order; returns when nothing moves any more."""
        for tenant, name in names:
            self.may_end[name] = asyncio.Event()
            self.tasks.append(asyncio.create_task(self._do(tenant, name)))
        await settled()

    async def end(self, name):
        self.may_end[name].set()
        await settled()

    async def _do(self, tenant, name):
        async with self.places.one_for(tenant):
            self.order.append(name)
            await self.may_end[name].wait()


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def work(places):
    work = Work(places)
    yield work
    for event in work.may_end.values():
        event.set()
    await asyncio.gather(*work.tasks)
    assert (places._free, places._held, places._waiting) == (4, {}, {})


async def test_one_tenant_holds_all_places_but_two(work):
    await work.begin((NOISY, "n1"), (NOISY, "n2"), (NOISY, "n3"))
    assert work.order == ["n1", "n2"]

    await work.begin((LIGHT, "l1"), (LIGHT, "l2"))

    assert work.order == ["n1", "n2", "l1", "l2"]


async def test_a_tenant_s_work_gets_its_places_in_order(work):
    await work.begin(*((NOISY, f"n{number}") for number in range(6)))

    for name in ("n1", "n0", "n2"):
        await work.end(name)

    assert work.order == ["n0", "n1", "n2", "n3", "n4"]


async def test_tenants_that_wait_get_places_in_turn(work):
    await work.begin((NOISY, "n1"), (NOISY, "n2"), (LIGHT, "l1"), (LIGHT, "l2"))
    await work.begin((NOISY, "n3"), (NOISY, "n4"), (NOISY, "n5"), (THIRD, "t1"), (LIGHT, "l3"))
    assert work.order == ["n1", "n2", "l1", "l2"]

    for name in ("n1", "l1", "n2", "t1"):
        await work.end(name)

    assert work.order[4:] == ["n3", "t1", "l3", "n4"]


async def test_a_tenant_that_is_not_alone_holds_fewer_places():
    places = Places(8, most_beside_others=2)
    work = Work(places)

    await work.begin(*((NOISY, f"n{number}") for number in range(7)))
    alone = list(work.order)
    await work.begin((LIGHT, "l1"))
    for name in alone[:5]:
        await work.end(name)
    beside_light = len(work.order)
    await work.end(alone[5])

    assert alone == ["n0", "n1", "n2", "n3", "n4", "n5"]
    assert beside_light == len([*alone, "l1", "n6"])
    assert work.order[6] == "l1"
    for event in work.may_end.values():
        event.set()
    await asyncio.gather(*work.tasks)


async def test_a_tenant_that_has_not_asked_for_long_is_not_there():
    places = Places(8, most_beside_others=2)
    work = Work(places)
    await work.begin((LIGHT, "l1"))
    await work.end("l1")
    places._asked[LIGHT] -= 11

    await work.begin(*((NOISY, f"n{number}") for number in range(5)))

    assert len(work.order) == 6
    for event in work.may_end.values():
        event.set()
    await asyncio.gather(*work.tasks)


async def test_who_gives_up_leaves_the_place_to_the_next(work):
    await work.begin(*((NOISY, f"n{number}") for number in range(5)))
    given_up = work.tasks.pop(2)
    given_up.cancel()
    await settled()

    await work.end("n0")

    assert given_up.cancelled()
    assert work.order == ["n0", "n1", "n3"]


async def test_a_place_that_comes_too_late_is_passed_on(work, places):
    await work.begin(*((NOISY, f"n{number}") for number in range(4)))
    late = work.tasks.pop(2)

    # Its place is given, and before it can go on it is cancelled.
    places._take_back(NOISY)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    await settled()
    places._give(NOISY)

    assert late.cancelled()
    assert work.order == ["n0", "n1", "n3"]


async def test_nobody_waits_longer_than_the_deadline(work):
    await work.begin((NOISY, "n1"), (NOISY, "n2"))

    with deadline.within(0.02), pytest.raises(Unavailable):
        async with work.places.one_for(NOISY):
            pytest.fail("there was no place")


async def test_a_noisy_tenant_leaves_connections_to_others(scratch):
    database = Database(scratch.app, pool_size=3)
    started, may_end = asyncio.Event(), asyncio.Event()

    async def hog():
        with as_user(NOISY):
            async with database.tenant_transaction():
                started.set()
                await may_end.wait()

    noise = [asyncio.create_task(hog()) for _ in range(20)]
    await started.wait()
    with as_user(LIGHT), deadline.within(5):
        async with database.read_transaction() as tx:
            seen = await tx.scalar(text("SELECT 1"))
    may_end.set()
    await asyncio.gather(*noise)
    await database.close()

    assert seen == 1


class Inventory(inventory_service_pb2_grpc.InventoryServiceServicer):
    """Answers when it may."""

    def __init__(self):
        self.may_finish = asyncio.Event()
        self.entered = asyncio.Semaphore(0)

    async def entered_by(self, calls):
        """Return when so many more calls are being worked on."""
        for _ in range(calls):
            await asyncio.wait_for(self.entered.acquire(), 5)

    async def GetProduct(self, request, context):
        self.entered.release()
        await self.may_finish.wait()
        return inventory_pb2.Product(id=request.id)


@asynccontextmanager
async def inventory_of_two_calls(inventory):
    add = inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server
    settings = Settings(tenant_calls=2)
    async with (
        serving("inventory", Service(INVENTORY, add, inventory), settings=settings) as server,
        channel_to(f"127.0.0.1:{server.port}", "inventory", INVENTORY) as channel,
    ):
        yield inventory_service_pb2_grpc.InventoryServiceStub(channel)


def user(tenant):
    return Caller(tenant, "user:alice", frozenset({"*"}))


async def test_a_tenant_has_so_many_calls_at_a_time_and_others_their_own():
    inventory = Inventory()
    async with inventory_of_two_calls(inventory) as stub:

        def call(who):
            with acting_as(who):
                return asyncio.create_task(ask(stub))

        running = [call(user(NOISY)), call(user(NOISY))]
        await inventory.entered_by(2)
        with pytest.raises(Exception, match="2 requests of yours") as refused:
            await call(user(NOISY))
        running += [call(user(LIGHT)), call(caller.service_caller("gateway", NOISY))]
        await inventory.entered_by(2)
        inventory.may_finish.set()
        await asyncio.gather(*running)
        await call(user(NOISY))

    assert refused.value.status is StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.reason == "TOO_MANY_CALLS"
    assert refused.value.retry_after_seconds == 0.2


async def ask(stub):
    return await stub.GetProduct(pb.GetProductRequest(id=str(ids.new())))


def test_calls_that_fail_are_over_too_and_no_tenant_is_remembered():
    calls = Calls("test", 1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), calls.one_of(user(NOISY)):
            raise ZeroDivisionError
    with calls.one_of(user(NOISY)), pytest.raises(TooManyCalls), calls.one_of(user(NOISY)):
        pass

    assert calls._running == {}
