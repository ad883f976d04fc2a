"""Nobody who reads after an answered change sees what was before it, whatever is cached."""

import asyncio

import httpx
from shop import Shop, client_of, eur

from ops.background import BackgroundStack

PRICES = [f"{price}.00" for price in range(101, 111)]


async def test_an_order_right_after_a_price_change_has_the_new_price(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(price="100.00")
    body = acme.order_body(customer, warehouse, (product, 1))
    priced = [(await acme.post("/orders", body))["net"]["amount"]]

    for version, price in enumerate(PRICES, 1):
        change = {"version": version, "list_price": eur(price)}
        await acme.client.patch(f"/products/{product}", json=change)
        priced.append((await acme.post("/orders", body))["net"]["amount"])

    assert priced == ["100.00", *PRICES]


async def test_an_order_right_after_the_archiving_of_its_product_is_refused(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product()
    body = acme.order_body(customer, warehouse, (product, 1))
    await acme.post("/orders", body)

    await acme.post(f"/products/{product}:archive", {})
    refused = await acme.try_post("/orders", body)

    assert (refused.status_code, refused.json()["reason"]) == (409, "PRODUCT_ARCHIVED")


async def test_a_new_default_tax_rate_is_that_of_the_next_order(stack: BackgroundStack) -> None:
    # No other test counts on the taxes of this tenant.
    async with client_of(stack, "initech") as client:
        initech = Shop(client)
        customer, warehouse = await initech.customer(), await initech.warehouse()
        product = await initech.product(price="100.00")
        body = initech.order_body(customer, warehouse, (product, 1))
        await initech.post("/orders", body)

        rate = {"code": "raised", "name": "Raised", "rate": "0.25", "is_default": True}
        await initech.post("/tax-rates", rate)

        assert (await initech.post("/orders", body))["tax"]["amount"] == "25.00"


async def test_a_read_after_one_s_own_write_shows_it_however_many_read_at_once(
    acme: Shop, stack: BackgroundStack
) -> None:
    product = await acme.product(price="100.00")
    async with client_of(stack, "acme") as others:
        reading = asyncio.create_task(read_on(others, f"/products/{product}"))
        seen = []
        for version, price in enumerate(PRICES, 1):
            change = {"version": version, "list_price": eur(price)}
            await acme.client.patch(f"/products/{product}", json=change)
            seen.append((await acme.get(f"/products/{product}"))["list_price"]["amount"])
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    assert seen == PRICES


async def read_on(client: httpx.AsyncClient, path: str) -> None:
    while True:
        await asyncio.gather(*(client.get(path) for _ in range(4)))
