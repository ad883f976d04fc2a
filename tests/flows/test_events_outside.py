"""What happened, as an outside program follows it: by pages and by a stream that resumes."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import httpx
import pytest
from following import Follower, following
from redis import Redis
from shop import Shop, back, client_of, eventually

from ops.background import BackgroundStack

CUSTOMER = "erp.sales.v1.CustomerCreated"


async def read_all(shop: Shop, after: str = "", **query: Any) -> tuple[list[Any], str]:
    found: list[Any] = []
    while True:
        page = await shop.get("/events", after=after, **query)
        found += page["events"]
        after = page["next_after"]
        if not page["has_more"]:
            return found, after


def places(events: list[Any]) -> list[tuple[str, int]]:
    return [(event["source"], event["sequence"]) for event in events]


def assert_without_gap(events: list[Any]) -> None:
    for source in {event["source"] for event in events}:
        sequences = [event["sequence"] for event in events if event["source"] == source]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


def of_customer(customer: str) -> Any:
    return lambda follower: any(event.get("subject") == customer for event in follower.told)


async def test_pages_show_the_events_of_all_services_without_gap(acme: Shop) -> None:
    _, start = await read_all(acme, limit=1000)
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=5)
    order = await acme.confirmed(acme.order_body(customer, warehouse, (product, 2)))

    events, end = await read_all(acme, start, limit=3)
    whole, same = await read_all(acme, start, limit=1000)
    of_order, _ = await read_all(acme, start, limit=1, filter=f'subject = "{order["id"]}"')

    assert places(events) == places(whole)
    assert end == same
    assert_without_gap(events)
    told = {(event["type"], event.get("subject")) for event in events}
    assert (CUSTOMER, customer) in told
    assert ("erp.sales.v1.OrderConfirmed", order["id"]) in told
    assert "erp.inventory.v1.StockReserved" in {kind for kind, _ in told}
    assert of_order == [event for event in events if event.get("subject") == order["id"]]
    assert len(of_order) > 1
    assert {event["specversion"] for event in events} == {"1.0"}


async def test_a_stream_goes_on_where_it_broke_off_when_its_gateway_is_killed(
    stack: BackgroundStack, acme: Shop
) -> None:
    customers = [await acme.customer()]
    async with following(acme.client) as follower:
        await follower.until(of_customer(customers[0]))
        before, last_id = follower.told, follower.last_id
        gone = stack.kill("gateway")
        with pytest.raises(httpx.TransportError):
            await follower.to_the_end()

    await back(stack, "gateway", gone)
    customers.append(await eventually(acme.customer, "a customer is made again"))
    async with following(acme.client, last_id=last_id) as follower:
        await follower.until(of_customer(customers[1]))
        after = follower.told

    assert_without_gap(before + after)
    whole, _ = await read_all(acme, limit=1000)
    assert len(set(places(before + after))) == len(before + after)
    assert set(places(before + after)) <= set(places(whole))


@pytest.mark.parametrize("wanted", [{"types": CUSTOMER}, {"filter": f'type = "{CUSTOMER}"'}])
async def test_what_is_wanted_arrives_live_and_nothing_else(
    acme: Shop, globex: Shop, wanted: dict[str, str]
) -> None:
    async with following(acme.client, "now", **wanted) as follower:
        await follower.until(lambda follower: follower.last_id)
        await globex.customer()
        await acme.warehouse()
        customer = await acme.customer()
        await follower.until(of_customer(customer), seconds=1.5)

    assert [(event["type"], event["subject"]) for event in follower.told] == [(CUSTOMER, customer)]


async def test_events_arrive_when_redis_lost_everything(stack: BackgroundStack, acme: Shop) -> None:
    (pid,) = stack.pids("redis")
    async with following(acme.client, "now") as follower:
        await follower.until(lambda follower: follower.last_id)
        with Redis.from_url(stack.state["redis"]) as redis:
            redis.flushall()
        os.kill(pid, signal.SIGSTOP)
        try:
            customer = await acme.customer()
            await follower.until(of_customer(customer))
        finally:
            os.kill(pid, signal.SIGCONT)

    assert_without_gap(follower.told)


async def token(shop: Shop, *permissions: str) -> Any:
    return await shop.post("/api-tokens", {"name": "follower", "permissions": list(permissions)})


async def test_a_stream_ends_with_its_credential(stack: BackgroundStack, acme: Shop) -> None:
    made = await token(acme, "gateway.events.read", "sales.*")
    async with client_of(stack, "acme") as client:
        client.headers["Authorization"] = f"Bearer {made['token']}"
        async with following(client, "now") as follower:
            await follower.until(lambda follower: follower.last_id)
            answer = await acme.client.delete(f"/api-tokens/{made['id']}")
            await follower.to_the_end(seconds=10)

    assert answer.status_code == 204


async def test_who_may_read_sales_only_is_told_of_sales_only(
    stack: BackgroundStack, acme: Shop
) -> None:
    made = await token(acme, "gateway.events.read", "sales.events.read")
    nobody = await token(acme, "sales.events.read")
    warehouse = await acme.warehouse()
    await acme.product(warehouse, stock=1)
    customer = await acme.customer()
    async with client_of(stack, "acme") as client:
        client.headers["Authorization"] = f"Bearer {made['token']}"
        seen, _ = await read_all(Shop(client), limit=1000)
        async with following(client) as follower:
            await follower.until(of_customer(customer))
        client.headers["Authorization"] = f"Bearer {nobody['token']}"
        refused = await client.get("/events", headers={"Accept": "text/event-stream"})

    assert {event["source"] for event in seen} <= {"/sales", "/gateway"}
    assert {event["source"] for event in follower.told} <= {"/sales", "/gateway"}
    assert refused.status_code == 403


async def test_no_tenant_is_told_of_another(acme: Shop, globex: Shop) -> None:
    mine, _ = await read_all(acme, limit=1000)
    _, theirs = await read_all(globex, limit=1000)
    # A cursor of another tenant's is a place among one's own events.
    elsewhere, _ = await read_all(acme, theirs, limit=1000)

    assert len({event["tenantid"] for event in mine}) == 1
    assert {event["tenantid"] for event in elsewhere} <= {mine[0]["tenantid"]}


async def test_a_tenant_has_so_many_streams_and_no_more(acme: Shop) -> None:
    # Who forgets a follower closes its stream.
    followers: list[Follower] = []

    async def one_more(opened: AsyncExitStack) -> bool:
        try:
            follower = await opened.enter_async_context(following(acme.client, "now"))
        except AssertionError:
            # Those of other tests may not have been noticed as closed yet.
            return False
        await follower.until(lambda follower: follower.last_id)
        followers.append(follower)
        return True

    async with AsyncExitStack() as opened:
        while len(followers) < 20:
            await eventually(partial(one_more, opened), "there is room for another stream")
        async with asyncio.timeout(20):
            refused = await acme.client.get("/events", headers={"Accept": "text/event-stream"})

    assert (refused.status_code, refused.json()["reason"]) == (429, "TOO_MANY_STREAMS")
    assert int(refused.headers["retry-after"]) >= 1
    async with AsyncExitStack() as opened:
        await eventually(partial(one_more, opened), "closed streams leave room", seconds=10)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"after": "nonsense!"}, "/after"),
        ({"types": "erp.sales.v1.Nonsense"}, "/types"),
        ({"filter": "data = 1"}, "/filter"),
        ({"limit": "1001"}, "/limit"),
        ({"limit": "-1"}, "/limit"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_what_makes_no_sense_is_refused_by_name(
    acme: Shop, query: dict[str, str], pointer: str, accept: str
) -> None:
    answer = await acme.client.get("/events", params=query, headers={"Accept": accept})

    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_gateway_that_is_told_to_stop_ends_its_streams_in_good_order(
    stack: BackgroundStack, acme: Shop
) -> None:
    (pid,) = stack.pids("gateway")
    async with following(acme.client, "now") as follower:
        await follower.until(lambda follower: follower.last_id)
        os.kill(pid, signal.SIGTERM)
        await follower.to_the_end(seconds=8)

    await back(stack, "gateway", [pid])
    await eventually(acme.customer, "the gateway answers again")
