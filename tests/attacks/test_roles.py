"""Each role may call what docs/reference/roles.md says and nothing else, whichever way it comes."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from mesh import Mesh, every_rpc, every_service, servers_of
from shop import Shop

from common.caller import Caller
from common.rpc_policy import Access, read_policies
from gateway.built_in_roles import BUILT_IN
from gateway.permissions import all_permissions
from ops.background import BackgroundStack

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "roles.md"
PASSWORD = "correct horse battery"
ABSENT = "01890000-0000-7000-8000-000000000000"
SOMEBODY = f"user:{ABSENT}"
RPCS = list(every_rpc())
# Nothing that these calls say is done: what they ask for is only tried.
TRIED = ("validate-only", "true")


@dataclass(frozen=True)
class Declared:
    """A line of the page."""

    path: str
    verb: str
    route: str
    asks: str
    roles: frozenset[str]


def declared() -> Iterator[Declared]:
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line[:1] == "|"]
    head, _, *body = [[cell.strip().strip("`") for cell in row] for row in rows]
    for path, route, asks, *marks in body:
        holders = (role for role, mark in zip(head[3:], marks, strict=True) if mark == "yes")
        verb, _, template = route.partition(" ")
        yield Declared(path, verb, template, asks, frozenset(holders))


DECLARED = {one.path: one for one in declared()}


def test_the_page_names_every_rpc_that_has_a_route() -> None:
    routed = {policy.path for policy in read_policies(*every_service()).values() if policy.route}

    assert routed <= set(DECLARED)
    assert {one.path for one in DECLARED.values() if not one.route} & routed == set()
    assert all(len(one.roles) == len(BUILT_IN) for one in DECLARED.values() if one.asks[0] == "*")
    assert not any(one.roles for one in DECLARED.values() if not one.route)


def test_every_service_of_the_contract_is_called_here() -> None:
    assert [one.full_name for one in every_service() if not servers_of(one)] == []


@pytest.mark.parametrize("role", BUILT_IN)
async def test_a_service_lets_a_role_in_where_the_page_says_so(mesh: Mesh, role: str) -> None:
    caller = Caller(mesh.tenants["acme"], SOMEBODY, BUILT_IN[role].permissions)
    tokens = {server: mesh.token(caller, server) for server, _ in RPCS}

    let_in = {
        (server, policy.path)
        for server, policy in RPCS
        if not await refused(mesh, server, policy.path, tokens[server])
    }

    assert let_in == {
        (server, policy.path)
        for server, policy in RPCS
        if policy.path in DECLARED and role in DECLARED[policy.path].roles
    }


async def test_all_permissions_but_the_one_that_is_asked_for_open_nothing(mesh: Mesh) -> None:
    asking = [(server, policy) for server, policy in RPCS if policy.access is Access.BY_PERMISSION]

    let_in = []
    for server, policy in asking:
        others = all_permissions() - {policy.permission}
        token = mesh.token(Caller(mesh.tenants["acme"], SOMEBODY, others), server)
        if not await refused(mesh, server, policy.path, token):
            let_in.append(policy.path)

    assert let_in == []


async def test_what_is_for_services_opens_to_nobody_who_came_through_the_gateway(
    mesh: Mesh,
) -> None:
    everything = all_permissions() | {"*"} | {policy.permission for _, policy in RPCS}
    caller = Caller(mesh.tenants["acme"], SOMEBODY, everything)
    internal = [(server, policy) for server, policy in RPCS if policy.internal]

    let_in = [
        policy.path
        for server, policy in internal
        if not await refused(mesh, server, policy.path, mesh.token(caller, server))
    ]

    assert internal
    assert let_in == []


async def refused(mesh: Mesh, server: str, path: str, token: str) -> bool:
    code, words = await mesh.call(server, path, token, TRIED)
    assert code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED), words
    assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), f"{path}: {words}"
    return code is grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture(scope="session")
async def people(stack: BackgroundStack) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A user of each built-in role, logged in."""
    acme = stack.state["tenants"]["acme"]
    url = f"{stack.state['gateway']}/api/v1"
    staff: dict[str, httpx.AsyncClient] = {}
    boss = httpx.AsyncClient(
        verify=False, base_url=url, headers={"Authorization": f"Bearer {acme['token']}"}
    )
    async with boss:
        roles = (await Shop(boss).get("/roles", page_size=200))["roles"]
        ids = {role["name"]: role["id"] for role in roles if role["built_in"]}
        for role in BUILT_IN:
            email = f"{role}-{secrets.token_hex(4)}@acme.example"
            body = {"email": email, "role_ids": [ids[role]], "password": PASSWORD}
            await Shop(boss).post("/users", body)
            staff[role] = await logged_in(url, email)
    yield staff
    await asyncio.gather(*(client.aclose() for client in staff.values()))


async def logged_in(url: str, email: str) -> httpx.AsyncClient:
    client = httpx.AsyncClient(verify=False, base_url=url, timeout=60, trust_env=False)
    login = {"tenant": "acme", "email": email, "password": PASSWORD}
    answer = await client.post("/auth/login", json=login)
    assert answer.status_code == 200, answer.text
    cookies = answer.headers.get_list("set-cookie")
    # A browser sends Secure cookies to 127.0.0.1; this client has to be told.
    client.headers["cookie"] = next(one for one in cookies if "session" in one).partition(";")[0]
    client.headers["x-csrf-token"] = answer.json()["csrf_token"]
    return client


@pytest.mark.parametrize("role", BUILT_IN)
async def test_the_gateway_lets_a_role_in_where_the_page_says_so(
    people: dict[str, httpx.AsyncClient], role: str
) -> None:
    routed = [one for one in DECLARED.values() if one.route]

    answers = {one.path: await tried(people[role], one) for one in routed}

    let_in = {path for path, answer in answers.items() if answer.status_code not in (401, 403)}
    assert let_in == {one.path for one in routed if role in one.roles}
    assert {path for path, answer in answers.items() if answer.status_code >= 500} == set()
    for path, answer in answers.items():
        if path not in let_in:
            assert answer.json()["reason"] == "NOT_PERMITTED", path
            assert answer.json()["permission"] == DECLARED[path].asks


async def tried(client: httpx.AsyncClient, one: Declared) -> httpx.Response:
    path = re.sub(r"{\w+}", ABSENT, one.route.removeprefix("/api/v1"))
    if one.verb == "GET":
        return await client.get(path)
    body: Any = {"json": {}} if one.verb in ("POST", "PATCH") else {}
    return await client.request(one.verb, path, params={"validate_only": "true"}, **body)
