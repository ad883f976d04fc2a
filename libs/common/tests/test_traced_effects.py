"""What a request causes goes on in its trace, however late and in whatever company."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest
from redis.asyncio import Redis

from common import caller, jobs, outbox, tracing
from common.database import Database, Transaction
from common.event_log import EventLogServicer
from common.group_commit import GroupCommit
from common.testing import ServiceDatabase, TestServers, as_user
from common.tests.job_work import enqueued, eventually, forget_jobs, worker, working
from erp.events.v1.events_pb2 import ReadRequest
from erp.sales.v1.events_pb2 import OrderSettled

SPAN = "00f067aa0ba902b7"


def header(digit: str) -> str:
    """The `traceparent` of a client."""
    return f"00-{digit * 32}-{SPAN}-01"


@pytest.fixture
async def redis(servers: TestServers) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.valkey.url) as client:
        yield client


async def settle(tx: Transaction, requests: Sequence[str]) -> list[str]:
    for request in requests:
        outbox.publish(tx, OrderSettled(order_id=request), request_id=request)
    return list(requests)


async def test_an_event_lies_in_the_trace_of_its_request(database: Database, tenant: UUID) -> None:
    with as_user(tenant, request_id="a"):
        trace = tracing.follow(header("a"))
        async with database.tenant_transaction() as tx:
            await settle(tx, ["a"])
        events = (await EventLogServicer("notes", database).Read(ReadRequest(), None)).events

    assert [event.traceparent for event in events] == [trace.header]
    assert trace.parent_id == SPAN


async def test_requests_that_share_a_transaction_keep_their_traces(
    database: Database, tenant: UUID
) -> None:
    sizes = []

    async def store(tx: Transaction, requests: Sequence[str]) -> list[str]:
        sizes.append(len(requests))
        return await settle(tx, requests)

    group: GroupCommit[str, str] = GroupCommit(database, store)

    async def request(digit: str) -> str:
        with as_user(tenant, request_id=digit):
            header_of_ours = tracing.follow(header(digit)).header
            await group.run(digit)
            return header_of_ours

    expected = dict(zip("abcdef", await asyncio.gather(*map(request, "abcdef")), strict=True))

    with as_user(tenant):
        events = (await EventLogServicer("notes", database).Read(ReadRequest(), None)).events
    assert max(sizes) > 1
    assert {event.request_id: event.traceparent for event in events} == expected


seen: list[tuple[str, tracing.Trace | None]] = []


@jobs.handles(OrderSettled)
async def look_around(work: jobs.Work[OrderSettled]) -> None:
    seen.append((caller.current().request_id, tracing.current()))
    async with work.completion() as tx:
        outbox.publish(tx, OrderSettled(order_id="later"))


async def test_a_job_goes_on_in_the_trace_of_what_enqueued_it(
    scratch: ServiceDatabase, database: Database, redis: Redis, tenant: UUID
) -> None:
    forget_jobs(scratch)
    seen.clear()
    trace = tracing.follow(header("b"))
    await enqueued(database, tenant, lambda tx: jobs.enqueue(tx, OrderSettled(order_id="now")))

    async with working(worker(database, redis, look_around)):
        await eventually(lambda: bool(seen))

    ((request_id, of_the_job),) = seen
    assert of_the_job is not None
    assert (request_id, of_the_job.trace_id) == ("request", "b" * 32)
    assert (of_the_job.parent_id, of_the_job.is_sampled) == (trace.span_id, True)
    with as_user(tenant):
        events = (await EventLogServicer("notes", database).Read(ReadRequest(), None)).events
    assert [event.traceparent for event in events] == [of_the_job.header]


def test_who_collects_no_spans_does_not_load_what_sends_them() -> None:
    program = "import common.command_line, sys; print('opentelemetry' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert said.stdout == b"False\n"
