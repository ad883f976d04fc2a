"""What is kept for a time has somewhere to go tomorrow, and goes when its time is over."""

from uuid import UUID

import psycopg
import pytest

from common import partitions
from common.database import Database
from common.partitions import AHEAD_DAYS, ANSWERS, EVENTS, keep_partitions
from common.testing import ServiceDatabase, rows_of

PARTS = """
    SELECT inhrelid::regclass::text FROM pg_inherits
    WHERE inhparent = %s::regclass ORDER BY 1
"""
INSERT = """
    INSERT INTO idempotency_keys
        (tenant_id, principal, method, key, request_hash, response, created_at)
    VALUES (%s, 'user:test', 'method', 'key', '', '', %s)
"""


@pytest.fixture
def parts(scratch: ServiceDatabase):
    return lambda table: [row[0] for row in rows_of(scratch.operator, PARTS, table)]


async def test_a_day_is_dropped_when_its_rows_have_been_kept_long_enough(database, parts):
    await keep_partitions(database, [ANSWERS._replace(days=0)]).work()
    without_yesterday = parts(ANSWERS.table)
    await keep_partitions(database).work()

    # Today, the days ahead, and the default.
    assert len(without_yesterday) >= 1 + AHEAD_DAYS + 1
    assert parts(ANSWERS.table)[1:] == without_yesterday


async def test_a_month_of_events_stays_until_all_of_it_is_old(database, parts):
    before = parts(EVENTS.table)

    await keep_partitions(database, [EVENTS._replace(days=0)]).work()

    assert parts(EVENTS.table) == before
    assert len(before) >= 3


async def test_what_no_partition_expects_is_kept_all_the_same(
    database: Database,
    scratch: ServiceDatabase,
    tenant: UUID,
    monkeypatch: pytest.MonkeyPatch,
):
    far = rows_of(scratch.operator, "SELECT now() + interval '31 days'")[0][0]
    with psycopg.connect(scratch.operator) as connection:
        connection.execute(INSERT, [tenant, far])

    monkeypatch.setattr(partitions, "AHEAD_DAYS", 31)
    await keep_partitions(database, [ANSWERS]).work()

    kept = "SELECT tableoid::regclass::text FROM idempotency_keys WHERE tenant_id = %s"
    assert rows_of(scratch.operator, kept, tenant) == [("idempotency_keys_default",)]
