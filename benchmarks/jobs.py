"""Jobs: how many one worker process does, beside dramatiq, and how soon a killed one's run again.

Ours are rows in PostgreSQL, completed there, with their effect in the same commit; those of
dramatiq are messages in the same Valkey, in one process with its eight threads, and do nothing.
"""

import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import uvloop
from google.protobuf.message import Message
from redis import Redis

from benchmarks.figures import Figure, at_least, at_most, rounds, seen
from benchmarks.jobs_worker import SERVICE, Place, run_worker
from common import ids, jobs
from common.caller import acting_as, service_caller
from common.jobs.tables import QUEUES, job_tables
from common.partitions import rolling_partitions
from common.schema import event_tables, protect, traced
from erp.sales.v1.events_pb2 import OrderCancelled, OrderConfirmed, OrderSettled, OrderShipped
from ops.postgres import EmbeddedPostgres
from ops.urls import with_account, with_database
from ops.valkey import EmbeddedValkey

BACKLOG = 3_000
ROUNDS = 3
KILLS = 20
# KV_ERP_JOB_CONCURRENCY: its default, and for jobs that are short.
CONCURRENCIES = (32, 64)
EFFECT = "a row committed with the completion"
KINDS = {
    EFFECT: OrderSettled(),
    "the same, each in a transaction of its own": OrderConfirmed(),
    "nothing to do": OrderCancelled(),
}
DRAMATIQ = "dramatiq 2, nothing to do"
_AT_ONCE = 500
_SPAN = """
    SELECT extract(epoch FROM max(finished_at) - min(started_at)) FROM finished_jobs
    WHERE tenant_id = %s HAVING count(*) = %s
"""
_AGAIN = "SELECT id, extract(epoch FROM started_at) FROM finished_jobs WHERE tenant_id = %s"
_HELD = "SELECT done, id FROM jobs WHERE tenant_id = %s AND done > 0"


@dataclass(frozen=True)
class _Servers:
    place: Place
    operator: str
    redis: str


def rates() -> list[Figure]:
    """Jobs a second, in rounds that alternate with the peer's."""
    seen_by: dict[str, list[float]] = {}
    with _servers() as servers:
        for _ in range(ROUNDS):
            for name, message in KINDS.items():
                for concurrency in CONCURRENCIES:
                    rate = _ours(servers, message, concurrency)
                    _note(seen_by, f"{name}, {concurrency} at once", rate)
            _note(seen_by, DRAMATIQ, _theirs(servers.redis))
    median = {name: statistics.median(found) for name, found in seen_by.items()}
    ratios = [
        at_least(f"{name}: in times of dramatiq", median[name] / median[DRAMATIQ], 1)
        if name.startswith(EFFECT)
        else seen(f"{name}: in times of dramatiq", f"{median[name] / median[DRAMATIQ]:.2f}")
        for name in seen_by
        if name != DRAMATIQ
    ]
    each = [seen(f"{name}: a second, by round", rounds(found)) for name, found in seen_by.items()]
    return ratios + each


def takeovers() -> list[Figure]:
    """How soon a killed worker's job runs again, with the lease of production."""
    with _servers() as servers:
        waits = sorted(_killed(servers))
    median, most = statistics.median(waits), waits[-1]
    return [
        at_most(f"kill -9 to running again, the longest of {KILLS}", most, 10, " s"),
        seen("the same, p50", f"{median:.2f} s"),
    ]


def _note(seen_by: dict[str, list[float]], name: str, rate: float) -> None:
    print(f"{name}: {rate:,.0f}/s", flush=True)
    seen_by.setdefault(name, []).append(rate)


@contextmanager
def _servers() -> Iterator[_Servers]:
    with (
        tempfile.TemporaryDirectory() as scratch,
        EmbeddedPostgres(Path(scratch) / "pg") as postgres,
        EmbeddedValkey(Path(scratch) / "valkey") as valkey,
    ):
        operator = _make_tables(postgres.superuser_url)
        place = Place(_as("app", operator), _as("system", operator), valkey.url)
        yield _Servers(place, operator, valkey.url)


def _ours(servers: _Servers, message: Message, concurrency: int) -> float:
    tenant = ids.new()
    uvloop.run(_enqueue(servers.place, tenant, message, BACKLOG))
    with _working(servers.place, concurrency):
        (seconds,) = _until(lambda: _one(servers.operator, _SPAN, tenant, BACKLOG))
    return BACKLOG / float(seconds)


def _theirs(url: str) -> float:
    environment = {**os.environ, "PEER_REDIS_URL": url}
    program = "from benchmarks.jobs_peer import nothing\n"
    program += f"for _ in range({BACKLOG}): nothing.send({BACKLOG})"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    command = [sys.executable, "-m", "dramatiq", "-p", "1", "benchmarks.jobs_peer"]
    worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    with Redis.from_url(url) as redis:
        seconds = _until(lambda: redis.getdel("peer-span"))
    worker.terminate()
    worker.wait()
    return BACKLOG / float(seconds)


def _killed(servers: _Servers) -> list[float]:
    """Seconds from the death of each of many workers to the start of the next attempt."""
    place, operator = servers.place, servers.operator
    tenant, probe = ids.new(), ids.new()
    victims = [_start(place, 1, ("low",)) for _ in range(KILLS)]
    uvloop.run(_enqueue(place, tenant, OrderShipped(), KILLS))
    held = dict(_until(lambda: _rows_when(operator, _HELD, tenant, KILLS)))
    died: dict[UUID, float] = {}
    with _working(place, 16):
        # It is at work once it has done this one.
        uvloop.run(_enqueue(place, probe, OrderCancelled(), 1))
        _until(lambda: _rows_when(operator, _AGAIN, probe, 1))
        for victim in victims:
            # At any moment of the lease.
            time.sleep(random.uniform(0, 0.5))
            victim.kill()
            victim.join()
            died[held[victim.pid]] = time.time()
        again = _until(lambda: _rows_when(operator, _AGAIN, tenant, KILLS))
    return [float(started) - died[job] for job, started in again]


async def _enqueue(place: Place, tenant: UUID, message: Message, count: int) -> None:
    database = place.open()
    with acting_as(service_caller(SERVICE, tenant)):
        for first in range(0, count, _AT_ONCE):
            async with database.tenant_transaction() as tx:
                for _ in range(min(_AT_ONCE, count - first)):
                    jobs.enqueue(tx, message)
    await database.close()


def _start(place: Place, concurrency: int, queues: tuple[str, ...] = QUEUES) -> Any:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=run_worker, args=(place, concurrency, queues), daemon=True)
    process.start()
    return process


@contextmanager
def _working(place: Place, concurrency: int) -> Iterator[None]:
    process = _start(place, concurrency)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _until(found: Callable[[], Any]) -> Any:
    """Wait until there is something to be found."""
    deadline = time.monotonic() + 120
    while not (value := found()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)
    return value


def _rows_when(operator: str, query: str, tenant: UUID, count: int) -> list[tuple[Any, ...]]:
    """The rows of a query once there are so many."""
    with psycopg.connect(operator) as connection:
        rows = connection.execute(query.encode(), [tenant]).fetchall()
    return rows if len(rows) == count else []


def _one(operator: str, query: str, *parameters: object) -> Any:
    with psycopg.connect(operator) as connection:
        return connection.execute(query.encode(), parameters).fetchone()


def _make_tables(server: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE jobs")
        for role in ("app", "system"):
            connection.execute(f"CREATE ROLE jobs_{role} LOGIN PASSWORD 'jobs'".encode())
    effects = Path(__file__).with_name("sql") / "effects.sql"
    url = with_database(server, "jobs")
    with psycopg.connect(url) as connection:
        tables = (
            event_tables("jobs")
            + rolling_partitions("jobs")
            + job_tables("jobs")
            + traced("jobs", "failed_jobs")
            + effects.read_text()
            + protect("jobs", "effects")
        )
        connection.execute(tables.encode())
    return url


def _as(role: str, operator: str) -> str:
    return with_account(operator, f"jobs_{role}", "jobs")


if __name__ == "__main__":
    for figure in rates() + takeovers():
        print(figure.row())
