import asyncio
import time
from datetime import UTC, datetime

import orjson
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common.caller import acting_as, service_caller
from common.errors import NotPermitted
from common.wire import timestamp
from erp.events.v1.events_pb2 import Event
from erp.sales.v1.events_pb2 import OrderSettled
from gateway.cloud_events import to_cloud_event
from gateway.feed import Feed
from gateway.publisher import Publisher

ORDER = "01890000-0000-7000-8000-000000000001"
SETTLED = "erp.sales.v1.OrderSettled"
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


def event(tenant, **changes) -> Event:
    fields = {
        "id": "01890000-0000-7000-8000-000000000009",
        "tenant_id": str(tenant),
        "source": "sales",
        "sequence": 7,
        "type": SETTLED,
        "subject": ORDER,
        "time": timestamp(datetime(2026, 3, 31, 12, tzinfo=UTC)),
        "data": OrderSettled(order_id=ORDER).SerializeToString(),
        "request_id": "request-1",
        "traceparent": TRACEPARENT,
    }
    return Event(**fields | changes)


@pytest.fixture
async def redis(servers):
    client = Redis.from_url(servers.valkey.url)
    yield client
    await client.aclose()


def test_an_event_is_a_cloud_event(tenant):
    assert orjson.loads(to_cloud_event(event(tenant))) == {
        "specversion": "1.0",
        "id": "01890000-0000-7000-8000-000000000009",
        "source": "/sales",
        "type": SETTLED,
        "subject": ORDER,
        "time": "2026-03-31T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {"order_id": ORDER},
        "tenantid": str(tenant),
        "sequence": 7,
        "requestid": "request-1",
        "traceparent": TRACEPARENT,
    }


def test_an_event_without_a_trace_has_no_empty_one(tenant):
    assert "traceparent" not in orjson.loads(to_cloud_event(event(tenant, traceparent="")))


def test_data_of_a_type_from_the_future_passes_through(tenant):
    written = orjson.loads(to_cloud_event(event(tenant, type="erp.sales.v2.Unknown", data=b"\1")))

    assert written["data_base64"] == "AQ=="
    assert written["datacontenttype"] == "application/protobuf"
    assert "data" not in written


async def test_events_reach_the_subscribers_of_their_tenant(redis, tenant):
    publisher = Publisher(redis, Feed({SETTLED}, None))
    async with redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(f"events:{tenant}")
        await channel.parse_response()

        with acting_as(service_caller("sales", None)):
            await publisher.publish([event(tenant), event(tenant, sequence=8)])

        heard = [orjson.loads((await channel.parse_response())[2]) for _ in range(2)]
    assert [item["sequence"] for item in heard] == [7, 8]


async def test_a_waiter_elsewhere_is_woken_through_redis(redis, tenant):
    feed = Feed({SETTLED}, redis)
    listening = asyncio.create_task(feed.run())
    while not feed.connected:
        await asyncio.sleep(0)

    since = time.monotonic()
    waiting = asyncio.create_task(feed.heard(SETTLED, ORDER, since, 5))
    elsewhere = Publisher(redis, Feed({SETTLED}, None))
    with acting_as(service_caller("sales", None)):
        await elsewhere.publish([event(tenant)])

    assert await waiting > since
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_without_redis_nobody_waits_and_those_in_this_process_are_woken(tenant):
    away = Redis.from_url("redis://127.0.0.1:1", retry=Retry(NoBackoff(), 0))
    feed = Feed({SETTLED}, None)
    publisher = Publisher(away, feed)
    started = time.monotonic()

    with acting_as(service_caller("sales", None)):
        await publisher.publish([event(tenant)])

    assert time.monotonic() - started < 0.2
    assert await feed.heard(SETTLED, ORDER, started, 0) > started
    await away.aclose()


async def test_no_service_speaks_for_another(redis, tenant):
    with acting_as(service_caller("inventory", None)), pytest.raises(NotPermitted):
        await Publisher(redis, Feed((), None)).publish([event(tenant)])
