"""Nobody becomes another tenant by a header, and nobody at all gets in without a credential."""

from typing import Any

import httpx
import pytest
from shop import Shop

from common.rpc_policy import Access
from gateway.contract import all_services
from gateway.routes import Route, Routes

ROUTES = [
    route for route in Routes(all_services()).all if route.policy.access is not Access.ANYBODY
]
NO_CREDENTIALS: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer nobody"},
    {"Authorization": "Basic YTpi"},
    {"Authorization": "Bearer"},
]


@pytest.mark.parametrize("header", ["x-tenant-id", "X-Tenant-ID", "tenant", "x-user-id"])
async def test_a_header_makes_nobody_another_tenant(
    header: str, acme: Shop, globex: Shop, stack: Any
) -> None:
    customer = await acme.customer()
    acme_id = stack.state["tenants"]["acme"]["id"]

    answer = await globex.client.get(f"/customers/{customer}", headers={header: acme_id})

    assert answer.status_code == 404


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.verb} {route.template}")
async def test_nobody_gets_in_without_a_credential(route: Route, acme: Shop) -> None:
    path = route.template.replace("{id}", "01890000-0000-7000-8000-000000000000")
    url = acme.client.base_url.join("/")

    async with httpx.AsyncClient(verify=False, base_url=url, trust_env=False) as nobody:
        answers = [
            await nobody.request(route.verb, path, headers=headers, content=b"{}")
            for headers in NO_CREDENTIALS
        ]

    assert [answer.status_code for answer in answers] == [401] * len(NO_CREDENTIALS)
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
