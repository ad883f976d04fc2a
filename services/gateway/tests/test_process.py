"""The gateway as its own process, with the other services away."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import httpx
import orjson
import pytest
from openapi_spec_validator import validate

from common.testing import TestServers
from ops.ports import Ports

AWAY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def http_bind() -> Iterator[str]:
    with Ports() as ports:
        yield f"127.0.0.1:{ports.take('http')}"


@pytest.fixture(scope="module")
def environment(servers: TestServers, gateway_database, http_bind) -> dict[str, str]:
    credentials = servers.credentials
    return os.environ | {
        "DATABASE_URL": gateway_database.app,
        "KV_ERP_SYSTEM_DATABASE_URL": gateway_database.system,
        "REDIS_URL": servers.valkey.url,
        "KV_ERP_HTTP_BIND": http_bind,
        "KV_ERP_IDENTITY_KEY": credentials.identity_key("gateway"),
        "KV_ERP_IDENTITY_TRUSTED_KEYS": credentials.trusted_keys(),
        "KV_ERP_SESSION_KEY": credentials.session_key,
        "KV_ERP_INVENTORY_TARGET": AWAY,
        "KV_ERP_ACCOUNTING_TARGET": AWAY,
        "KV_ERP_SALES_TARGET": AWAY,
    }


@pytest.fixture(scope="module")
def seeded(environment) -> dict[str, dict[str, str]]:
    command = [sys.executable, "-m", "gateway", "seed"]
    output = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    return orjson.loads(output)


@pytest.fixture(scope="module")
def process(environment) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "gateway", "server"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        yield process
        if process.poll() is None:
            process.kill()


@pytest.fixture
async def client(environment, process, seeded) -> AsyncIterator[httpx.AsyncClient]:
    base_url = "http://" + environment["KV_ERP_HTTP_BIND"]
    headers = {"authorization": f"Bearer {seeded['acme']['token']}"}
    async with httpx.AsyncClient(
        verify=False, base_url=base_url, headers=headers, timeout=10
    ) as client:
        await until_ready(client)
        yield client


async def until_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await client.get("/api/health/ready")).is_success:
                    return
            except httpx.ConnectError:
                pass
            await asyncio.sleep(0.05)


def test_the_seed_prints_credentials_for_each_demo_tenant(seeded):
    assert list(seeded) == ["acme", "globex", "initech"]
    for slug, tenant in seeded.items():
        assert set(tenant) == {"id", "admin_email", "admin_password", "token"}
        assert tenant["admin_email"] == f"admin@{slug}.example"


async def test_a_token_is_made_used_and_revoked_over_rest(client):
    asked = {"name": "for a test", "permissions": ["gateway.tokens.*"]}
    made = (await client.post("/api/v1/api-tokens", json=asked)).json()
    own = {"authorization": f"Bearer {made['token']}"}

    listed = (await client.get("/api/v1/api-tokens?page_size=200", headers=own)).json()
    more = await client.post(
        "/api/v1/api-tokens", headers=own, json={"name": "x", "permissions": ["*"]}
    )
    revoked = await client.delete(f"/api/v1/api-tokens/{made['id']}", headers=own)
    after = await client.get("/api/v1/api-tokens", headers=own)
    again = await client.delete(f"/api/v1/api-tokens/{made['id']}")

    assert made["id"] in [token["id"] for token in listed["api_tokens"]]
    assert more.status_code == 403
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert after.status_code == 401
    assert again.status_code == 404


async def test_health_names_what_is_away(client):
    client.headers.pop("authorization")

    response = await client.get("/api/health")

    assert response.status_code == 503
    report = response.json()
    assert report["status"] == "unhealthy"
    assert report["timestamp"].endswith("Z")
    assert report["checks"] == {
        "database": "ok",
        "redis": "ok",
        "queue": "ok",
        "inventory": "failed",
        "accounting": "failed",
        "sales": "failed",
    }
    assert (await client.get("/api/health/live")).status_code == 200
    assert (await client.get("/api/health/ready")).status_code == 200


async def test_a_service_that_is_away_is_503_with_a_time_to_come_back(client):
    response = await client.get("/api/v1/customers")

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1


async def test_the_openapi_document_is_valid_and_explains_itself(client):
    document = (await client.get("/api/openapi.json")).json()

    validate(document)
    assert document["openapi"] == "3.1.0"
    order = document["paths"]["/api/v1/orders"]["post"]
    assert order["x-permission"] == "sales.orders.write"
    assert order["description"].startswith("Makes an order")
    schemas = document["components"]["schemas"]
    lines = schemas["CreateOrderRequest"]["properties"]["lines"]
    assert (lines["minItems"], lines["maxItems"]) == (1, 100)
    assert schemas["NewOrderLine"]["required"] == ["product_id", "quantity"]
    assert schemas["Order"]["properties"]["state"]["enum"][1:] == [
        "draft",
        "confirmed",
        "cancelled",
        "expired",
    ]
    assert all(
        operation["description"] != operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    )


async def test_the_reference_page_shows_every_operation_and_loads_nothing(client):
    response = await client.get("/api/docs")

    assert response.headers["content-type"].startswith("text/html")
    assert 'id="ConfirmOrder"' in response.text
    assert "<script" not in response.text
    assert "src=" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/api/nonsense", 404), ("POST", "/api/health", 405)],
)
async def test_outside_the_api_errors_are_problems_too(client, method, path, status):
    response = await client.request(method, path, headers={"x-request-id": "mine"})

    assert response.status_code == response.json()["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == "mine"


async def test_told_to_stop_it_ends_in_good_order(client, process):
    process.send_signal(signal.SIGTERM)

    status = await asyncio.to_thread(process.wait, 15)

    lines = [orjson.loads(line) for line in process.stdout.read().splitlines()]
    assert status == 0
    assert lines[-1]["event"] == "drained"
    assert not [line for line in lines if line["level"] in ("error", "critical")]
