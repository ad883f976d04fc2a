"""Companies of which nothing has to be left over, and the document that is to be believed."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from records import records
from shop import Shop

from ops.background import BackgroundStack

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Tried:
    """Who asks, and the records that they can name."""

    url: str
    # Of the company's admin and of the platform's operator.
    token: str
    operator_token: str
    ids: Mapping[str, str]


@pytest.fixture(scope="session")
async def tried(stack: BackgroundStack) -> Tried:
    """A company of its own: what is tried on it is felt by no other test."""
    state = stack.state
    url, operator_token = f"{state['gateway']}/api/v1", state["operator"]["token"]
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        operator = {"Authorization": f"Bearer {operator_token}"}
        victim = await company(client, operator)
        made = await company(client, operator)
        token = await token_of(client, made["slug"])
        client.headers["Authorization"] = f"Bearer {token}"
        ids = await records(Shop(client))
    return Tried(state["gateway"], token, operator_token, {**ids, "tenant_id": victim["id"]})


async def company(client: httpx.AsyncClient, operator: Mapping[str, str]) -> Any:
    slug = f"tried-{secrets.token_hex(6)}"
    admin = {"email": f"boss@{slug}.example", "password": PASSWORD}
    body = {"slug": slug, "name": "Tried", "currency_code": "EUR", "admin": admin}
    body["plan"] = "unmetered"
    made = await client.post("/tenants", json=body, headers={**operator, "Prefer": "wait=30"})
    assert made.status_code == 201, made.text
    return made.json()


async def token_of(client: httpx.AsyncClient, slug: str) -> str:
    login = {"tenant": slug, "email": f"boss@{slug}.example", "password": PASSWORD}
    session = await client.post("/auth/login", json=login)
    assert session.status_code == 200, session.text
    cookies = session.headers.get_list("set-cookie")
    headers = {
        # A browser sends Secure cookies to 127.0.0.1; this client has to be told.
        "cookie": next(one for one in cookies if "session" in one).partition(";")[0],
        "x-csrf-token": session.json()["csrf_token"],
    }
    client.cookies.clear()
    made = await client.post("/api-tokens", json={"name": "tried"}, headers=headers)
    assert made.status_code == 201, made.text
    return str(made.json()["token"])


@pytest.fixture(scope="session")
def document(tried: Tried) -> Any:
    """The served document, its answers closed: a field that it does not name is a mistake."""
    document = httpx.get(f"{tried.url}/api/openapi.json", trust_env=False).json()
    for name, schema in document["components"]["schemas"].items():
        # The values that explain a problem are its own, and an event's are its type's.
        if name not in ("Problem", "CloudEvent") and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return schemathesis.openapi.from_dict(document)
