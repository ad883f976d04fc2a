"""Events leave with their transaction, numbered without gap in commit order."""

import asyncio
from uuid import UUID

import psycopg
import pytest

from common import ids, outbox
from common.database import Database
from common.errors import InvalidRequest
from common.event_log import EventLogServicer
from common.testing import ServiceDatabase, as_user
from erp.events.v1.events_pb2 import HeadsRequest, ReadRequest
from erp.sales.v1.events_pb2 import CustomerCreated, OrderSettled


async def publish(database: Database, *names: str) -> None:
    async with database.tenant_transaction() as tx:
        for name in names:
            outbox.publish(tx, OrderSettled(order_id=name))


async def test_parallel_transactions_number_their_events_without_gap_or_twin(
    database: Database, tenant: UUID
) -> None:
    log = EventLogServicer("notes", database)

    with as_user(tenant):
        await asyncio.gather(
            *(publish(database, f"{group}-a", f"{group}-b") for group in range(40))
        )
        events = (await log.Read(ReadRequest(limit=1000), None)).events

    assert [event.sequence for event in events] == list(range(1, 81))
    assert all(
        first.subject[:-2] == second.subject[:-2]
        for first, second in zip(events[::2], events[1::2], strict=True)
    )


async def test_a_transaction_that_fails_takes_no_number(database: Database, tenant: UUID) -> None:
    log = EventLogServicer("notes", database)

    with as_user(tenant):
        with pytest.raises(LookupError):
            async with database.tenant_transaction() as tx:
                outbox.publish(tx, OrderSettled(order_id="never"))
                raise LookupError
        await publish(database, "first")
        events = (await log.Read(ReadRequest(), None)).events

    assert [(event.sequence, event.subject) for event in events] == [(1, "first")]


async def test_a_reader_after_a_position_never_misses_an_event(
    database: Database, tenant: UUID
) -> None:
    log = EventLogServicer("notes", database)
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 60:
            response = await log.Read(ReadRequest(after=seen[-1] if seen else 0, limit=7), None)
            seen.extend(event.sequence for event in response.events)

    with as_user(tenant):
        await asyncio.gather(follow(), *(publish(database, str(number)) for number in range(60)))

    assert seen == list(range(1, 61))


async def test_a_read_by_type_says_how_far_it_looked(database: Database, tenant: UUID) -> None:
    log = EventLogServicer("notes", database)

    with as_user(tenant):
        await publish(database, "a", "b")
        response = await log.Read(ReadRequest(types=[CustomerCreated.DESCRIPTOR.full_name]), None)

    assert not response.events
    assert response.position == 2


async def test_a_read_by_filter_finds_the_events_of_one_thing_and_looks_on_after_them(
    database: Database, tenant: UUID
) -> None:
    log = EventLogServicer("notes", database)
    asked = 'subject = "b" AND type:"settled" AND sequence > 1'

    with as_user(tenant):
        await publish(database, "b", "a", "b", "b", "a")
        first = await log.Read(ReadRequest(filter=asked, limit=1), None)
        rest = await log.Read(ReadRequest(filter=asked, after=first.position), None)
        with pytest.raises(InvalidRequest, match=r"/filter must not name data"):
            await log.Read(ReadRequest(filter="data = 1"), None)

    assert [(event.sequence, event.subject) for event in first.events] == [(3, "b")]
    assert first.position == 3
    assert [(event.sequence, event.subject) for event in rest.events] == [(4, "b")]
    assert rest.position == 5


async def test_a_reader_who_is_to_miss_nothing_is_told_that_events_are_no_longer_kept(
    database: Database, tenant: UUID, scratch: ServiceDatabase
) -> None:
    log = EventLogServicer("notes", database)
    other = [CustomerCreated.DESCRIPTOR.full_name]

    with as_user(tenant):
        await publish(database, "a", "b", "c")
        with psycopg.connect(scratch.operator) as operator:
            forget = "DELETE FROM events WHERE tenant_id = %s AND sequence < 3"
            operator.execute(forget, [tenant])
        for types in ([], other):
            with pytest.raises(InvalidRequest, match=r"/after .* no longer kept"):
                await log.Read(ReadRequest(after=1, types=types, without_gap=True), None)
        answers = [
            await log.Read(ReadRequest(after=after, types=types, without_gap=True), None)
            for after, types in ((0, []), (2, []), (2, other), (3, []))
        ]

    assert [[event.sequence for event in answer.events] for answer in answers] == [[3], [3], [], []]


async def test_an_event_carries_the_request_that_caused_it(
    database: Database, tenant: UUID
) -> None:
    log = EventLogServicer("notes", database)

    with as_user(tenant, request_id="req-7"):
        await publish(database, "a")
        event = (await log.Read(ReadRequest(), None)).events[0]

    assert (event.request_id, event.source, event.tenant_id) == ("req-7", "notes", str(tenant))


async def test_heads_name_every_tenant_that_changed(database: Database) -> None:
    log = EventLogServicer("notes", database)
    tenants = [ids.new(), ids.new()]

    for tenant in tenants:
        with as_user(tenant):
            await publish(database, "a", "b", "c")
    heads = {
        UUID(head.tenant_id): head.sequence
        for head in (await log.Heads(HeadsRequest(), None)).heads
    }

    assert [heads[tenant] for tenant in tenants] == [3, 3]
