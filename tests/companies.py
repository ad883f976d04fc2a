"""Companies made for one test: what happens to them nobody else feels."""

import secrets
from dataclasses import dataclass

import httpx

from ops.background import BackgroundStack

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Company:
    """A company without limits, and the API token of its admin."""

    id: str
    token: str
    slug: str


async def found(stack: BackgroundStack) -> Company:
    """Make a company that can work."""
    state = stack.state
    slug = f"made-{secrets.token_hex(6)}"
    admin = {"email": f"boss@{slug}.example", "password": PASSWORD}
    body = {"slug": slug, "name": "Made", "currency_code": "EUR", "admin": admin}
    operator = {"Authorization": f"Bearer {state['operator']['token']}", "Prefer": "wait=30"}
    url = f"{state['gateway']}/api/v1"
    async with httpx.AsyncClient(verify=False, base_url=url, timeout=60, trust_env=False) as client:
        made = await client.post("/tenants", json={**body, "plan": "unmetered"}, headers=operator)
        assert made.status_code == 201, made.text
        token = await _token(client, {"tenant": slug, **admin})
    return Company(made.json()["id"], token, slug)


def client_of(stack: BackgroundStack, company: Company) -> httpx.AsyncClient:
    """The REST API as the company's admin sees it."""
    return httpx.AsyncClient(
        verify=False,
        base_url=f"{stack.state['gateway']}/api/v1",
        headers={"Authorization": f"Bearer {company.token}"},
        timeout=60,
        trust_env=False,
    )


async def _token(client: httpx.AsyncClient, login: dict[str, str]) -> str:
    session = await client.post("/auth/login", json=login)
    assert session.status_code == 200, session.text
    cookies = session.headers.get_list("set-cookie")
    headers = {
        # A browser sends Secure cookies to 127.0.0.1; this client has to be told.
        "cookie": next(one for one in cookies if "session" in one).partition(";")[0],
        "x-csrf-token": session.json()["csrf_token"],
    }
    client.cookies.clear()
    made = await client.post("/api-tokens", json={"name": "made"}, headers=headers)
    assert made.status_code == 201, made.text
    return str(made.json()["token"])
