"""A worker applies every event exactly once, in order, whatever is lost on the way."""

import asyncio
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import orjson
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from common import ids, outbox
from common.database import Database, Transaction
from common.duties import Duty
from common.event_log import EventLogServicer
from common.listening import Heard, lanes_of, listens_to
from common.locks import Locks
from common.testing import ServiceDatabase, TestServers, as_user, rows_of
from common.worker import EventWorker
from erp.events.v1.events_pb2 import HeadsRequest, HeadsResponse, ReadRequest, ReadResponse
from erp.sales.v1.events_pb2 import OrderCancelled, OrderSettled

_INSERT = text("INSERT INTO notes (id, body) VALUES (:id, :body)")


class LocalLog:
    """The event log of "sales", kept in the same database and called without a network."""

    def __init__(self, database: Database) -> None:
        self._log = EventLogServicer("sales", database)

    async def Read(self, request: ReadRequest) -> ReadResponse:
        return await self._log.Read(request, None)

    async def Heads(self, request: HeadsRequest) -> HeadsResponse:
        return await self._log.Heads(request, None)


def listeners(**functions: object) -> types.ModuleType:
    module = types.ModuleType("listeners")
    vars(module).update(functions)
    return module


@listens_to(OrderSettled, queue="high", tries=2, backoff=0.01)
async def note_settled(tx: Transaction, settled: Sequence[Heard[OrderSettled]]) -> None:
    if any(heard.message.order_id.startswith("bad") for heard in settled):
        raise LookupError("bad order")
    await tx.execute(
        _INSERT,
        [{"id": ids.new(), "body": f"settled {heard.message.order_id}"} for heard in settled],
    )


@listens_to(OrderCancelled, queue="high")
async def note_cancelled(tx: Transaction, cancelled: Sequence[Heard[OrderCancelled]]) -> None:
    await tx.execute(
        _INSERT,
        [{"id": ids.new(), "body": f"cancelled {heard.message.order_id}"} for heard in cancelled],
    )


LANES = lanes_of(listeners(settled=note_settled, cancelled=note_cancelled))


@pytest.fixture
async def redis(servers: TestServers) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.valkey.url) as client:
        yield client


@asynccontextmanager
async def working(
    database: Database, redis: Redis, workers: int = 1, duties: Sequence[Duty] = ()
) -> AsyncIterator[None]:
    team = []
    async with AsyncExitStack() as opened:
        for _ in range(workers):
            locks = Locks(redis, "notes-worker")
            opened.push_async_callback(locks.close)
            logs = {"sales": LocalLog(database)}
            team.append(EventWorker("notes", database, LANES, logs, redis, locks, duties))
        tasks = [asyncio.create_task(worker.run()) for worker in team]
        yield
        for worker in team:
            worker.stop()
        await asyncio.gather(*tasks)


async def publish(
    database: Database, tenant: UUID, *messages: OrderSettled | OrderCancelled
) -> None:
    with as_user(tenant):
        async with database.tenant_transaction() as tx:
            outbox.publish(tx, *messages)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def notes(database: Database, tenant: UUID) -> list[str]:
    with as_user(tenant):
        async with database.read_transaction() as tx:
            return [row.body for row in await tx.rows(text("SELECT body FROM notes ORDER BY id"))]


async def test_every_event_is_applied_once_and_in_order(
    database: Database, redis: Redis, tenant: UUID
) -> None:
    expected = []
    for number in range(150):
        await publish(
            database,
            tenant,
            OrderSettled(order_id=str(number)),
            OrderCancelled(order_id=str(number)),
        )
        expected += [f"settled {number}", f"cancelled {number}"]

    async with working(database, redis):
        await eventually(lambda: has(database, tenant, 300))

    assert await notes(database, tenant) == expected


async def has(database: Database, tenant: UUID, count: int) -> bool:
    return len(await notes(database, tenant)) >= count


async def test_workers_that_race_apply_nothing_twice(
    database: Database, redis: Redis, tenant: UUID
) -> None:
    async with working(database, redis, workers=4):
        for number in range(60):
            await publish(database, tenant, OrderSettled(order_id=str(number)))
            await redis.publish(f"events:{tenant}", bell(tenant))
        await eventually(lambda: has(database, tenant, 60))

    assert await notes(database, tenant) == [f"settled {number}" for number in range(60)]


def bell(tenant: UUID) -> bytes:
    return orjson.dumps(
        {"source": "/sales", "tenantid": str(tenant), "type": "erp.sales.v1.OrderSettled"}
    )


async def test_a_lost_doorbell_costs_time_and_no_event(
    database: Database, redis: Redis, tenant: UUID
) -> None:
    async with working(database, redis):
        await publish(database, tenant, OrderSettled(order_id="unheard"))

        await eventually(lambda: has(database, tenant, 1))


async def test_without_redis_events_are_found_by_polling(
    database: Database, servers: TestServers, tenant: UUID
) -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as nobody, working(database, nobody):
        await publish(database, tenant, OrderSettled(order_id="found"))

        await eventually(lambda: has(database, tenant, 1))


async def test_an_event_that_keeps_failing_is_parked_and_the_stream_goes_on(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    for order in ("1", "bad", "2"):
        await publish(database, tenant, OrderSettled(order_id=order))

    async with working(database, redis):
        await eventually(lambda: has(database, tenant, 2))

    assert await notes(database, tenant) == ["settled 1", "settled 2"]
    parked = rows_of(
        scratch.operator,
        "SELECT sequence, attempts, error FROM failed_jobs WHERE tenant_id = %s",
        tenant,
    )
    assert parked == [(2, 2, "LookupError: bad order")]


async def test_of_several_workers_one_does_each_tick_of_a_duty(
    database: Database, redis: Redis
) -> None:
    ticks: list[float] = []

    async def work() -> None:
        ticks.append(time.monotonic())

    async def done() -> bool:
        return len(ticks) >= 5

    async with working(database, redis, workers=3, duties=[Duty("tick", 0.3, work)]):
        await eventually(done)

    # Four periods, and the first tick may have come late. Had each done every tick: one period.
    assert ticks[-1] - ticks[0] > 2 * 0.3


async def test_a_duty_that_failed_is_tried_again_and_without_redis_it_is_still_done(
    database: Database,
) -> None:
    ticks = 0

    async def work() -> None:
        nonlocal ticks
        ticks += 1
        raise LookupError("bad day")

    async def done() -> bool:
        return ticks >= 3

    async with (
        Redis.from_url("redis://127.0.0.1:1/0") as nobody,
        working(database, nobody, duties=[Duty("bad", 0.01, work)]),
    ):
        await eventually(done)
