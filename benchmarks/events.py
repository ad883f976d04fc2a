"""Events on their way: how many one listener applies, and how long after its commit each is.

A source with its event log over gRPC, the gateway's publisher, Valkey, and a worker process of its
own whose listener inserts one row for each event. PostgreSQL itself says when each transaction
committed (track_commit_timestamp), so that no clock but its own is involved.
"""

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import structlog
import uvloop
from redis.asyncio import Redis
from sqlalchemy import text

from benchmarks.figures import Figure, at_least, at_most, rounds, seen
from common import event_log, ids, outbox
from common.caller import acting_as, service_caller
from common.database import Database, Transaction
from common.doorbell import Doorbell
from common.event_log import EventLogServicer
from common.listening import Heard, lanes_of, listens_to
from common.locks import Locks
from common.partitions import EVENTS, rolling_partitions
from common.redis_clients import Role, connect
from common.rpc_testing import channel_to, serving
from common.runtime import EVENT_LOG, EVENT_PUBLISHER
from common.schema import event_tables, partitioned_events, protect, traced
from common.server import Service
from common.worker import EventWorker
from erp.events.v1 import events_pb2, events_pb2_grpc
from erp.sales.v1.events_pb2 import OrderSettled
from gateway.feed import Feed
from gateway.publisher import Publisher
from gateway.servicer import EventPublisherServicer
from ops.postgres import EmbeddedPostgres
from ops.urls import with_account, with_database
from ops.valkey import EmbeddedValkey

BACKLOG = 20_000
PER_SECOND = 100
SECONDS = 5
ROUNDS = 3
_SOURCE, _LISTENER = "sales", "notes"
_NOTE = text("INSERT INTO notes (sequence) SELECT unnest(CAST(:sequences AS bigint[]))")
_DELAYS = """
    SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM
        pg_xact_commit_timestamp(notes.xmin) - pg_xact_commit_timestamp(events.xmin)) * 1000)
    FROM notes JOIN events USING (tenant_id, sequence) WHERE sequence > %s
"""
_SPAN = """
    SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin))
                            - min(pg_xact_commit_timestamp(xmin)))
    FROM notes WHERE sequence > %s
"""


@dataclass(frozen=True)
class Events:
    """By round: events applied a second from a backlog, and ms from commit to applied."""

    per_second: list[float]
    p50_ms: list[float]
    p99_ms: list[float]


@listens_to(OrderSettled, queue="high")
async def note(tx: Transaction, settled: Sequence[Heard[OrderSettled]]) -> None:
    """The trivial effect: a row for each event, which a second application would violate."""
    await tx.execute(_NOTE, {"sequences": [heard.sequence for heard in settled]})


def run(directory: Path) -> Events:
    """Alternate between a backlog and a steady trickle."""
    _be_quiet()
    postgres = EmbeddedPostgres(directory / "pg", settings={"track_commit_timestamp": "on"})
    with postgres, EmbeddedValkey(directory / "valkey") as valkey:
        _make_tables(postgres.superuser_url)
        return uvloop.run(_measure(postgres.superuser_url, valkey.url))


async def _measure(server: str, redis_url: str) -> Events:
    operator = with_database(server, "events")
    events = Events([], [], [])
    async with _source(operator, redis_url) as (database, port):
        process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(_as("app", operator), port, redis_url), daemon=True
        )
        process.start()
        try:
            with acting_as(service_caller(_SOURCE, ids.new())):
                # What the worker needs for its start is not measured.
                head = await _publish(database, operator, 100, at_once=100)
                for _ in range(ROUNDS):
                    start, head = head, await _publish(database, operator, BACKLOG, at_once=100)
                    events.per_second.append(BACKLOG / _one(operator, _SPAN, start))
                    start, head = head, await _trickle(database, operator)
                    p50, p99 = _one(operator, _DELAYS, start)
                    events.p50_ms.append(p50)
                    events.p99_ms.append(p99)
        finally:
            process.terminate()
            process.join()
    return events


async def _publish(database: Database, operator: str, count: int, at_once: int) -> int:
    """Publish so many events, and return the last one's number once all are applied."""
    for _ in range(count // at_once):
        async with database.tenant_transaction() as tx:
            outbox.publish(tx, *(OrderSettled(order_id=str(ids.new())) for _ in range(at_once)))
    return await _until_applied(operator)


async def _trickle(database: Database, operator: str) -> int:
    began = time.perf_counter()
    for number in range(PER_SECOND * SECONDS):
        await asyncio.sleep(began + number / PER_SECOND - time.perf_counter())
        async with database.tenant_transaction() as tx:
            outbox.publish(tx, OrderSettled(order_id=str(ids.new())))
    return await _until_applied(operator)


async def _until_applied(operator: str) -> int:
    async with asyncio.timeout(60):
        while True:
            head, applied = _one(
                operator,
                "SELECT ARRAY[(SELECT max(sequence) FROM event_heads),"
                " (SELECT max(sequence) FROM notes)] WHERE %s = 0",
                0,
            )
            if head == applied:
                return int(head)
            await asyncio.sleep(0.05)


def _one(operator: str, query: str, parameter: int) -> Any:
    with psycopg.connect(operator) as connection:
        row = connection.execute(query.encode(), [parameter]).fetchone()
    assert row is not None
    return row[0] if isinstance(row[0], list) else float(row[0])


@asynccontextmanager
async def _source(operator: str, redis_url: str) -> AsyncIterator[tuple[Database, int]]:
    """A service with an event log, whose doorbell rings by way of a gateway's publisher."""
    async with AsyncExitStack() as opened:
        redis = await opened.enter_async_context(Redis.from_url(redis_url))
        publisher = EventPublisherServicer(Publisher(redis, Feed(set(), redis)))
        add_publisher = events_pb2_grpc.add_EventPublisherServicer_to_server
        gateway = await opened.enter_async_context(
            serving("gateway", Service(EVENT_PUBLISHER, add_publisher, publisher))
        )
        target = f"127.0.0.1:{gateway.port}"
        channel = await opened.enter_async_context(
            channel_to(target, "gateway", EVENT_PUBLISHER, caller=_SOURCE)
        )
        stub: Any = events_pb2_grpc.EventPublisherStub(channel)
        doorbell = Doorbell(
            _SOURCE, lambda rung: stub.Publish(events_pb2.PublishRequest(events=rung))
        )
        database = Database(
            _as("app", operator),
            _as("system", operator),
            system_reasons=frozenset({event_log.SYSTEM_REASON}),
            write_events=outbox.write_events(_SOURCE),
            ring=doorbell.ring,
        )
        opened.push_async_callback(database.close)
        add_log = events_pb2_grpc.add_EventLogServicer_to_server
        log = Service(EVENT_LOG, add_log, EventLogServicer(_SOURCE, database))
        server = await opened.enter_async_context(serving(_SOURCE, log))
        ringing = asyncio.create_task(doorbell.run())
        opened.callback(ringing.cancel)
        yield database, server.port


def _work(url: str, port: int, redis_url: str) -> None:
    """The worker process."""
    _be_quiet()
    uvloop.run(_follow(url, port, redis_url))


async def _follow(url: str, port: int, redis_url: str) -> None:
    listeners = ModuleType("listeners")
    vars(listeners)["note"] = note
    database = Database(url)
    async with (
        channel_to(f"127.0.0.1:{port}", _SOURCE, EVENT_LOG, caller="inventory") as channel,
        Redis.from_url(redis_url) as redis,
        connect(redis_url, Role.LOCKS) as lock_redis,
    ):
        logs: Any = {_SOURCE: events_pb2_grpc.EventLogStub(channel)}
        locks = Locks(lock_redis, "inventory")
        await EventWorker("inventory", database, lanes_of(listeners), logs, redis, locks).run()


def _be_quiet() -> None:
    # As in production, where debug lines are off; a line for each rpc on a terminal costs as much
    # as the rpc.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))


def _make_tables(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE events")
        for role in ("app", "system"):
            connection.execute(f"CREATE ROLE events_{role} LOGIN PASSWORD 'events'".encode())
    notes = Path(__file__).with_name("sql") / "notes.sql"
    with psycopg.connect(with_database(server, "events")) as connection:
        tables = (
            event_tables("events")
            + rolling_partitions("events")
            + partitioned_events("events")
            + EVENTS.roll()
            + traced("events", "failed_jobs")
            + notes.read_text()
            + protect("events", "notes")
        )
        connection.execute(tables.encode())


def _as(role: str, operator: str) -> str:
    return with_account(operator, f"events_{role}", "events")


def figures() -> list[Figure]:
    """What was measured, beside what was promised."""
    with tempfile.TemporaryDirectory() as scratch:
        found = run(Path(scratch))
    p50, p99 = statistics.median(found.p50_ms), statistics.median(found.p99_ms)
    return [
        at_least("applied a second", statistics.median(found.per_second), 2000),
        at_most(f"commit to applied at {PER_SECOND} a second, p50", p50, 15, " ms"),
        at_most("the same, p99", p99, 100, " ms"),
        seen("applied a second, by round", rounds(found.per_second)),
        seen("p50 in ms, by round", rounds(found.p50_ms)),
        seen("p99 in ms, by round", rounds(found.p99_ms)),
    ]


if __name__ == "__main__":
    for figure in figures():
        print(figure.row())
