import time

import pytest

from erp.sales.v1 import sales_pb2, sales_service_pb2
from gateway.client_address import address_of

ID = "01890000-0000-7000-8000-000000000001"
OTHER_ID = "01890000-0000-7000-8000-000000000002"
ORDER = f"/api/v1/orders/{ID}"


@pytest.fixture(autouse=True)
def orders(sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)
    sales.answers["ListOrders"] = lambda _: sales_service_pb2.ListOrdersResponse()
    sales.answers["BatchCreateOrders"] = lambda _: sales_service_pb2.BatchCreateOrdersResponse()
    return sales


@pytest.fixture
def metered(guests):
    guests.plan = "default"
    return guests


async def remaining(client, method="GET", path=ORDER, **options):
    """What a request leaves of its budget."""
    response = await client.request(method, path, **options)
    return int(response.headers["x-ratelimit-remaining"])


async def statuses(client, count, path=ORDER, **options):
    return [(await client.get(path, **options)).status_code for _ in range(count)]


async def test_every_answer_tells_of_the_budget(client, metered):
    response = await client.get(ORDER)

    headers = response.headers
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("60", "59")
    assert 58 <= int(headers["x-ratelimit-reset"]) - time.time() <= 62
    assert headers["ratelimit"] == '"user";r=59;t=60'
    assert headers["ratelimit-policy"] == (
        '"user";q=60;w=60, "address";q=600;w=60, "tenant";q=600;w=60'
    )


@pytest.mark.parametrize(
    ("method", "path", "authorization", "status"),
    [
        ("GET", ORDER, "Bearer *", 200),
        ("GET", "/api/v1/orders/nonsense", "Bearer *", 404),
        ("GET", ORDER, "Bearer sales.nothing", 403),
        ("PUT", ORDER, "Bearer *", 405),
        ("POST", "/api/v1/orders", "Bearer *", 400),
        ("GET", ORDER, "", 401),
        ("GET", "/api/v1/nonsense", "", 404),
        ("OPTIONS", ORDER, "", 204),
    ],
)
@pytest.mark.parametrize("plan", ["default", "unmetered"])
async def test_so_do_errors(client, guests, plan, method, path, authorization, status):
    guests.plan = plan

    response = await client.request(method, path, headers={"authorization": authorization})

    assert response.status_code == status
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    limit, left, reset = (int(response.headers[name]) for name in names)
    assert 0 < left <= limit
    assert reset >= int(time.time())
    assert {"ratelimit", "ratelimit-policy"} <= set(response.headers)


async def test_the_sixty_first_request_of_a_minute_is_refused_with_a_time_to_come_back(
    client, metered, sales
):
    assert set(await statuses(client, 60)) == {200}

    response = await client.get(ORDER)

    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= 60
    problem = response.json()
    assert (problem["reason"], problem["bucket"], problem["limit"]) == (
        "RATE_LIMITED",
        "user",
        "60",
    )
    assert problem["wait_seconds"] == response.headers["retry-after"]
    assert response.headers["x-ratelimit-remaining"] == "0"
    assert len(sales.asked) == 60


async def test_users_and_routes_have_budgets_of_their_own_and_the_tenant_one_for_all(
    client, metered
):
    assert await remaining(client) == 59
    assert await remaining(client, path="/api/v1/orders") == 59
    metered.user = "another"
    assert await remaining(client) == 59

    metered.plan = "unmetered"
    assert await remaining(client) > 1_000_000
    metered.plan = "default"
    for user in range(9):
        metered.user = str(user)
        assert set(await statuses(client, 60)) == {200}
    metered.user = "last"
    seen = await statuses(client, 60)

    # Three were asked before the nine sixties.
    assert (seen.count(200), seen.count(429)) == (57, 3)
    refused = await client.get("/api/v1/orders")
    assert (refused.status_code, refused.json()["bucket"]) == (429, "tenant")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ORDER),
        ("HEAD", ORDER),
        ("PATCH", ORDER),
        ("GET", f"/api/v1/orders/{OTHER_ID}"),
        ("GET", "/api/v1/%6frders/" + ID.replace("-", "%2D")),
        ("GET", f"/api/v1/orders/{ID.upper()}?x=1"),
        ("GET", "/api/v1/orders/nonsense"),
    ],
)
async def test_one_route_written_differently_has_one_budget(client, metered, method, path):
    await remaining(client)

    assert await remaining(client, method, path) == 58


async def test_paths_that_lead_nowhere_share_a_budget(client, metered):
    paths = ["/api/v1/a", "/api/v1/b", "/api/v1/ORDERS", "/api/v1/orders/"]

    assert [await remaining(client, path=path) for path in paths] == [59, 58, 57, 56]


async def test_a_request_weighs_what_its_rpc_costs(client, metered):
    body = {"orders": [{}]}

    path = "/api/v1/orders:batchCreate"
    assert await remaining(client, "POST", path, json=body) == 40
    assert await remaining(client, "POST", path, headers={"authorization": ""}) == 59


async def test_bad_credentials_use_up_the_budget_of_their_address(client, metered, guests):
    nobody = {"authorization": ""}

    seen = await statuses(client, 61, headers=nobody)

    assert (set(seen[:60]), seen[60]) == ({401}, 429)
    assert await statuses(client, 1, path="/api/v1/orders", headers=nobody) == [401]
    assert await statuses(client, 1) == [200]


async def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_saw(client):
    def from_(*chain):
        return {"authorization": "", "x-forwarded-for": ", ".join(chain)}

    forged = [from_(f"10.9.9.{number}", "203.0.113.7") for number in range(60)]
    for headers in forged:
        await client.get(ORDER, headers=headers)

    assert await statuses(client, 1, headers=from_("198.51.100.1", "203.0.113.7")) == [429]
    assert await statuses(client, 1, headers=from_("203.0.113.7", "198.51.100.1")) == [401]


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "address"),
    [
        ("192.0.2.1", [], 0, "192.0.2.1"),
        ("192.0.2.1", [b"203.0.113.7"], 0, "192.0.2.1"),
        ("192.0.2.1", [b"203.0.113.7"], 1, "203.0.113.7"),
        ("192.0.2.1", [b"forged, 203.0.113.7"], 1, "203.0.113.7"),
        ("192.0.2.1", [b"forged", b"203.0.113.7, 10.0.0.1"], 2, "203.0.113.7"),
        ("192.0.2.1", [b"forged", b"203.0.113.7", b"10.0.0.1"], 2, "203.0.113.7"),
        ("192.0.2.1", [b"203.0.113.7"], 2, "203.0.113.7"),
        ("192.0.2.1", [], 1, "192.0.2.1"),
        ("192.0.2.1", [b" , "], 1, "192.0.2.1"),
        ("192.0.2.1", [b"203.0.113.7:4711"], 1, "203.0.113.7"),
        ("192.0.2.1", [b"[2001:db8::5]:4711"], 1, "2001:db8::/64"),
        ("192.0.2.1", [b"nonsense:\xff"], 1, "unknown"),
        ("2001:db8:0:1:a::1", [], 0, "2001:db8:0:1::/64"),
        ("2001:db8:0:1:b::2", [], 0, "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", [], 0, "192.0.2.1"),
        (None, [], 0, "unknown"),
    ],
)
def test_an_address_is_the_first_that_we_have_from_ourselves(peer, forwarded, proxies, address):
    assert address_of(peer, forwarded, proxies) == address


async def test_keys_name_tenant_and_route_and_expire(client, metered, redis):
    await client.get(ORDER)
    await client.get(ORDER, headers={"authorization": ""})

    mine = {key.decode() for key in await redis.keys(f"rate_limit:tenant:{metered.tenant}*")}
    strangers = {key.decode() for key in await redis.keys("rate_limit:tenant:anonymous*")}

    tenant, route = f"rate_limit:tenant:{metered.tenant}", "route:/api/v1/orders/{id}"
    assert mine == {tenant, f"{tenant}:user:test:{route}", f"{tenant}:ip:127.0.0.1:{route}"}
    assert strangers == {f"rate_limit:tenant:anonymous:ip:127.0.0.1:{route}"}
    for key in mine | strangers:
        assert 0 < await redis.pttl(key) <= 60_000
