import asyncio
import time

import pytest

from common import trailers
from common.errors import Unavailable
from erp.sales.v1 import sales_pb2

ID = "01890000-0000-7000-8000-000000000001"
SETTLED = "erp.sales.v1.OrderSettled"
CONFIRM = f"/api/v1/orders/{ID}:confirm"
WAIT = {"prefer": "wait=5"}
PENDING = sales_pb2.Order(id=ID, awaiting=["reservation"])
DONE = sales_pb2.Order(id=ID, reservation_state="ORDER_RESERVATION_STATE_RESERVED")
SHIPPED = sales_pb2.Order(id=ID, shipment_state="ORDER_SHIPMENT_STATE_SHIPPED", version=2)


async def test_an_answer_waits_for_its_follow_up_work(client, sales, feed):
    sales.answers["ConfirmOrder"] = lambda _: PENDING
    sales.answers["GetOrder"] = lambda _: DONE
    answer = asyncio.create_task(client.post(CONFIRM, headers=WAIT))
    while not feed._waiting and not answer.done():
        await asyncio.sleep(0)

    feed.ring(SETTLED, ID)
    response = await answer

    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=5"
    assert response.json()["reservation_state"] == "reserved"
    assert feed._waiting == {}


async def test_an_event_that_comes_before_the_answer_is_not_lost(client, sales, feed):
    def confirm(_):
        feed.ring(SETTLED, ID)
        return PENDING

    sales.answers["ConfirmOrder"] = confirm
    sales.answers["GetOrder"] = lambda _: DONE
    feed.connected = True

    started = time.monotonic()
    response = await client.post(CONFIRM, headers=WAIT)

    assert response.json()["awaiting"] == []
    assert time.monotonic() - started < 0.4


async def test_a_lost_event_is_noticed_by_looking(client, sales):
    sales.answers["ConfirmOrder"] = lambda _: PENDING
    sales.answers["GetOrder"] = lambda _: DONE

    response = await client.post(CONFIRM, headers=WAIT)

    assert (response.status_code, response.json()["awaiting"]) == (200, [])


async def test_an_event_of_an_earlier_command_is_not_taken_for_this_ones(client, sales, feed):
    states = iter([PENDING, DONE])
    sales.answers["ConfirmOrder"] = lambda _: PENDING
    sales.answers["GetOrder"] = lambda _: next(states)

    feed.ring(SETTLED, ID)
    response = await client.post(CONFIRM, headers=WAIT)

    assert response.json()["reservation_state"] == "reserved"


async def test_what_was_heard_before_is_not_heard_again(feed):
    feed.ring(SETTLED, ID)
    since = time.monotonic()

    assert await feed.heard(SETTLED, ID, since, 0.01) == since


@pytest.mark.parametrize("read", [lambda _: PENDING, "fails"])
async def test_when_time_is_up_the_answer_is_202_with_the_state_so_far(client, sales, read):
    def fail(_):
        raise Unavailable("Sales")

    sales.answers["ConfirmOrder"] = lambda _: PENDING
    sales.answers["GetOrder"] = fail if read == "fails" else read

    response = await client.post(CONFIRM, headers={"prefer": "wait=1"})

    assert response.status_code == 202
    assert response.json()["awaiting"] == ["reservation"]
    assert "preference-applied" not in response.headers


async def test_who_may_not_read_the_order_is_not_made_to_wait(client, sales):
    client.headers["authorization"] = "Bearer sales.orders.confirm"
    sales.answers["ConfirmOrder"] = lambda _: PENDING

    response = await client.post(CONFIRM, headers=WAIT)

    assert response.status_code == 202
    assert [name for name, _, _ in sales.asked] == ["ConfirmOrder"]


async def test_who_does_not_ask_to_wait_is_answered_at_once(client, sales):
    sales.answers["ConfirmOrder"] = lambda _: PENDING

    response = await client.post(CONFIRM)

    assert (response.status_code, response.json()["awaiting"]) == (200, ["reservation"])


async def test_a_repetition_is_answered_as_who_waited_was_whatever_came_after(client, sales):
    states = iter([DONE, SHIPPED])
    sales.answers["ConfirmOrder"] = lambda _: PENDING
    sales.answers["GetOrder"] = lambda _: next(states)
    keyed = {"idempotency-key": "7f3a"}
    first = await client.post(CONFIRM, headers=WAIT | keyed)

    def replay(_):
        trailers.add(trailers.IDEMPOTENT_REPLAYED, "true")
        return PENDING

    sales.answers["ConfirmOrder"] = replay
    again = await client.post(CONFIRM, headers=WAIT | keyed)
    at_once = await client.post(CONFIRM, headers=keyed)

    assert first.json()["reservation_state"] == "reserved"
    assert "idempotent-replayed" not in first.headers
    for answer in (again, at_once):
        assert (answer.status_code, answer.content) == (first.status_code, first.content)
        assert answer.headers["etag"] == first.headers["etag"]
        assert answer.headers["idempotent-replayed"] == "true"


async def test_many_wait_and_each_is_woken_by_its_own(feed):
    async def wait(number: int) -> int:
        since = time.monotonic()
        return number if await feed.heard(SETTLED, str(number), since, 5) > since else -1

    waits = [asyncio.create_task(wait(number)) for number in range(1000)]
    while len(feed._waiting) < 1000:
        await asyncio.sleep(0)
    for number in range(0, 1000, 2):
        feed.ring(SETTLED, str(number))

    done, waiting = await asyncio.wait(waits, timeout=0.05)
    assert sorted(task.result() for task in done) == list(range(0, 1000, 2))
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert feed._waiting == {}
