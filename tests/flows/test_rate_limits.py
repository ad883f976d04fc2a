"""A tenant on the default plan gets its minute's requests and no more, from the whole system."""

import asyncio
import time

from redis.asyncio import Redis
from shop import client_of

from ops.background import BackgroundStack

PER_USER = 60


async def test_a_tenant_gets_what_its_plan_allows_and_is_told_so(stack: BackgroundStack) -> None:
    # A route that no other test asks for on account of this tenant.
    async with client_of(stack, "initech") as client, client_of(stack, "acme") as unmetered:
        asked = [client.get("/accounts") for _ in range(PER_USER + 15)]
        answers = await asyncio.gather(*asked)
        other_route = await client.get("/products")
        free = await asyncio.gather(*(unmetered.get("/accounts") for _ in range(PER_USER + 15)))
        refused = await client.get("/accounts/../accounts/")

    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (PER_USER, 15)
    left = sorted(int(answer.headers["x-ratelimit-remaining"]) for answer in answers)
    assert left == [0] * 15 + list(range(PER_USER))
    limited = next(answer for answer in answers if answer.status_code == 429)
    assert limited.json()["reason"] == "RATE_LIMITED"
    assert 0 < int(limited.headers["retry-after"]) <= 60
    assert 0 <= int(limited.headers["x-ratelimit-reset"]) - time.time() <= 62
    assert other_route.status_code == 200
    assert other_route.headers["x-ratelimit-limit"] == str(PER_USER)
    assert {answer.status_code for answer in free} == {200}
    assert refused.status_code == 404


async def test_every_limit_in_redis_expires(stack: BackgroundStack) -> None:
    async with client_of(stack, "initech") as client:
        await client.get("/warehouses")

    url = stack.state["redis"].rpartition("/")[0] + "/1"
    async with Redis.from_url(url) as redis:
        keys = [key async for key in redis.scan_iter("rate_limit:*")]
        lifetimes = {key: await redis.pttl(key) for key in keys}

    tenant = stack.state["tenants"]["initech"]["id"]
    assert f"rate_limit:tenant:{tenant}".encode() in keys
    # -2: it expired meanwhile.
    for key, lifetime in lifetimes.items():
        longest = 900_000 if key.startswith(b"rate_limit:{login}") else 60_000
        assert lifetime == -2 or 0 < lifetime <= longest, key


async def test_strangers_are_limited_by_their_address_whatever_they_claim(
    stack: BackgroundStack,
) -> None:
    async with client_of(stack, "initech") as client:
        client.headers["authorization"] = "Bearer kv_" + "x" * 43
        answers = [
            # No other test may find its budget used up: only here strangers ask for nothing.
            await client.get("/nothing", headers={"x-forwarded-for": f"203.0.113.{number}"})
            for number in range(PER_USER + 5)
        ]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [404] * PER_USER + [429] * 5
    assert answers[0].headers["ratelimit-policy"] == '"address";q=60;w=60'
