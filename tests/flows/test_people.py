"""A company from its creation to its first order, by its own people, over the whole system."""

import secrets
from collections.abc import AsyncIterator

import httpx
import pytest

from ops.background import BackgroundStack

PASSWORD = "correct horse battery"


@pytest.fixture
async def operator(stack: BackgroundStack) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {stack.state['operator']['token']}"}
    url = f"{stack.state['gateway']}/api/v1"
    async with httpx.AsyncClient(verify=False, base_url=url, headers=headers, timeout=60) as client:
        yield client


async def test_one_call_makes_a_company_that_can_work(
    stack: BackgroundStack, operator: httpx.AsyncClient
) -> None:
    slug = f"c-{secrets.token_hex(6)}"
    admin = {"email": f"boss@{slug}.example", "password": PASSWORD}
    body = {"slug": slug, "name": "New", "currency_code": "EUR", "admin": admin}

    made = await operator.post("/tenants", json=body, headers={"Prefer": "wait=30"})

    assert made.status_code == 201, made.text
    assert made.json()["awaiting"] == []
    assert made.json()["admin"]["email"] == admin["email"]
    async with httpx.AsyncClient(verify=False, base_url=str(operator.base_url), timeout=60) as boss:
        login = {"tenant": slug, "email": admin["email"], "password": PASSWORD}
        session = await boss.post("/auth/login", json=login)
        # A browser sends Secure cookies to localhost; this client has to be told.
        cookie = session.headers.get_list("set-cookie")
        boss.headers["cookie"] = next(one for one in cookie if "session" in one).partition(";")[0]
        boss.headers["x-csrf-token"] = session.json()["csrf_token"]
        accounts = (await boss.get("/accounts")).json()["accounts"]
        warehouses = (await boss.get("/warehouses")).json()["warehouses"]
        product = {
            "sku": "OAK",
            "name": "Oak",
            "list_price": {"currency_code": "EUR", "amount": "1.00"},
        }
        added = await boss.post("/products", json=product)

    assert len(accounts) > 5
    assert [one["code"] for one in warehouses] == ["MAIN"]
    assert added.status_code == 201


async def test_the_admin_of_the_state_file_logs_in(stack: BackgroundStack) -> None:
    acme = stack.state["tenants"]["acme"]
    login = {"tenant": "acme", "email": acme["admin_email"], "password": acme["admin_password"]}

    async with httpx.AsyncClient(verify=False, timeout=60) as client:
        answer = await client.post(f"{stack.state['gateway']}/api/v1/auth/login", json=login)

    assert answer.status_code == 200
    assert answer.json()["tenant"]["id"] == acme["id"]
