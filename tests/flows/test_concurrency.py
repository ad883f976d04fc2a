"""What many customers do at once."""

import asyncio
from collections import Counter

from shop import Shop

Body = dict[str, object]


async def test_ten_orders_of_ten_take_exactly_a_hundred(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=100)
    body = acme.order_body(customer, warehouse, (product, 10))

    orders = await asyncio.gather(*(acme.confirmed(body) for _ in range(10)))

    assert {order["reservation_state"] for order in orders} == {"reserved"}
    assert await acme.level(warehouse, product) == ("100", "100", "0")


async def test_sixty_buyers_of_fifty_units_get_exactly_fifty(acme: Shop) -> None:
    warehouse = await acme.warehouse()
    product = await acme.product(warehouse, stock=50)
    body = {"warehouse_id": warehouse, "lines": [{"product_id": product, "quantity": "1"}]}

    answers = await asyncio.gather(*(acme.try_post("/reservations", body) for _ in range(60)))

    assert Counter(answer.status_code for answer in answers) == {201: 50, 409: 10}
    assert await acme.level(warehouse, product) == ("50", "50", "0")


async def test_orders_with_lines_in_opposite_order_never_deadlock(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    products = [await acme.product(warehouse, stock=200) for _ in range(4)]
    lines = [(product, 1) for product in products]
    bodies = [
        {
            **acme.order_body(customer, warehouse, *(lines if turn % 2 else lines[::-1])),
            "confirm": True,
        }
        for turn in range(120)
    ]

    answers = await asyncio.gather(*(acme.try_post("/orders", body, wait=25) for body in bodies))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["number"] for answer in answers}) == 120
    assert {answer.json()["reservation_state"] for answer in answers} == {"reserved"}
    for product in products:
        assert await acme.level(warehouse, product) == ("200", "120", "80")
    assert await acme.violations() == []


async def test_confirming_an_order_many_times_at_once_confirms_it_once(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=10)
    draft = await acme.post("/orders", acme.order_body(customer, warehouse, (product, 1)))

    answers = await asyncio.gather(
        *(acme.try_post(f"/orders/{draft['id']}:confirm", {}) for _ in range(20))
    )

    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    await acme.settled(draft["id"])
    assert await acme.level(warehouse, product) == ("10", "1", "9")
