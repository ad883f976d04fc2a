"""Another tenant's id is answered exactly as one that does not exist: in every field there is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import httpx
import psycopg
import pytest
from companies import Company, client_of, found
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from psycopg import sql
from records import records
from shop import Shop, eur, eventually

from buf.validate import validate_pb2
from common import ids, testing
from common.caller import ABOVE_TENANTS
from common.listening import lanes_of
from common.listing import declared
from gateway.contract import all_services
from gateway.routes import Route, Routes
from ops.background import BackgroundStack

ROUTES = Routes(all_services()).all
# What makes a request right in all but whose records it names.
VALUES = {
    "quantity": "1", "name": "Intruder", "reason": "curiosity", "description": "curiosity",
    "code": "INTRUDER", "account_code": "1200", "rate": "0.1", "version": 1, "method": "cash",
    "kind": "asset", "counted": "1", "email": "in@truder.example",
}  # fmt: skip
# The path's record where it is not told by what the route answers with.
OF_PATH = {
    "/imports/products/{id}": "product_import_id",
    "/imports/customers/{id}": "customer_import_id",
    "/exports/products/{id}": "product_export_id",
    "/exports/customers/{id}": "customer_export_id",
    "/exports/trial-balance/{id}": "trial_balance_export_id",
    "/webhooks/{id}": "webhook_id",
    "/webhooks/{id}:test": "webhook_id",
    "/webhooks/{id}/deliveries": "webhook_id",
    "/roles/{id}": "role_id",
    "/api-tokens/{id}": "api_token_id",
    "/invoices/{id}:credit": "invoice_id",
}
# Periods are named by their month: 2026-01 is every company's own. Sessions are of users, whom API
# tokens do not stand for: services/gateway/tests/test_login.py is about them.
ELSEWHERE = ("/api/v1/periods/", "/api/v1/auth/sessions/")


# Inventory does not know orders: whoever reserves names what for, and is told nothing about it.
UNCHECKED = ("POST /api/v1/reservations order_id",)
# What goes on by itself: the delivery of webhooks.
MOVING = ("gateway.jobs", "gateway.finished_jobs", "gateway.webhook_")


@dataclass(frozen=True)
class Reference:
    """A field of a request that names a record."""

    route: Route
    # Such as ("orders", "lines", "product_id").
    steps: tuple[str, ...]

    @property
    def field(self) -> str:
        return self.steps[-1]

    @property
    def in_path(self) -> bool:
        return self.steps[0] in self.route.parameters

    @property
    def kind(self) -> str:
        """The key of such records in tests/records.py."""
        if not self.in_path:
            return self.field
        path = self.route.template.removeprefix("/api/v1")
        return OF_PATH.get(path, f"{snake(self.route.method.output_type.name)}_id")

    def __str__(self) -> str:
        return f"{self.route.verb} {self.route.template} {'.'.join(self.steps)}"


def references() -> Iterator[Reference]:
    for route in ROUTES:
        if not route.template.startswith(ELSEWHERE):
            for steps in naming(route.method.input_type):
                yield Reference(route, steps)


def naming(message: Descriptor, *before: str) -> Iterator[tuple[str, ...]]:
    for field in message.fields:
        if is_id(field):
            yield (*before, field.name)
        inner = field.message_type
        if inner is not None and inner.file.package.startswith("erp."):
            yield from naming(inner, *before, field.name)


def is_id(field: FieldDescriptor) -> bool:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    named = field.name == "id" or field.name.endswith(("_id", "_ids"))
    return bool(rules.string.uuid or rules.repeated.items.string.uuid or named)


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]


def shown(one: object) -> str:
    return one.template if isinstance(one, Route) else str(one)


REFERENCES = list(references())
LISTS = [route for route in ROUTES if "page_token" in route.method.input_type.fields_by_name]
FILTERS = [
    (route, name)
    for route in LISTS
    for name in declared(route.method.input_type).filter
    # Companies are listed by operators of the platform only.
    if (name == "id" or name.endswith("_id")) and "tenants" not in route.template
]


@dataclass(frozen=True)
class World:
    """Two companies with one record of each kind, and the thief's way in."""

    victim: Company
    thief: Company
    theirs: Mapping[str, str]
    mine: Mapping[str, str]
    # Of the victim's last write.
    consistency_token: str
    before: Mapping[str, Any]


@pytest.fixture(scope="module")
async def world(stack: BackgroundStack) -> World:
    victim, thief = await found(stack), await found(stack)
    async with client_of(stack, victim) as client:
        theirs = {**await records(Shop(client)), "tenant_id": victim.id}
        customer = {"name": "Blue Door Ltd", "currency_code": "EUR"}
        written = await client.post("/customers", json=customer)
    async with client_of(stack, thief) as client:
        mine = await records(Shop(client))
    token = written.headers["consistency-token"]

    async def at_rest() -> bool:
        return is_at_rest(stack, victim)

    await eventually(at_rest, "all listeners have heard of the victim's records")
    return World(victim, thief, theirs, mine, token, fingerprint(stack, victim))


@pytest.fixture
async def thief(stack: BackgroundStack, world: World) -> Any:
    async with client_of(stack, world.thief) as client:
        yield client


WAITING = """
    SELECT EXISTS (
        SELECT FROM events WHERE tenant_id = %s AND sequence > %s AND (%s OR type = ANY (%s)))
"""


def is_at_rest(stack: BackgroundStack, company: Company) -> bool:
    """Whether every event of a company has been heard by its listeners, and every webhook tried."""
    databases = stack.state["databases"]
    for service in databases:
        places = {
            (lane, source): position
            for lane, source, position in testing.rows_of(
                databases[service],
                "SELECT listener, source, position FROM subscriptions WHERE tenant_id = %s",
                company.id,
            )
        }
        for lane in lanes_of(import_module(f"{service}.listeners")):
            # A position stays where it is while nothing comes that its listeners want.
            position = places.get((lane.name, lane.source), None if lane.all_of else 0)
            asked = (company.id, position, lane.all_of is not None, lane.types)
            if (
                position is not None
                and testing.rows_of(databases[lane.source], WAITING, *asked)[0][0]
            ):
                return False
    untried = "SELECT 1 FROM webhook_deliveries WHERE tenant_id = %s AND attempts = 0"
    return not testing.rows_of(databases["gateway"], untried, company.id)


def fingerprint(stack: BackgroundStack, company: Company) -> dict[str, Any]:
    """How many rows a company has in each table, and what they say."""
    found: dict[str, Any] = {}
    for service, url in stack.state["databases"].items():
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT c.table_name FROM information_schema.columns c JOIN"
                " information_schema.tables t USING (table_schema, table_name) WHERE"
                " c.table_schema = 'public' AND c.column_name = 'tenant_id' AND"
                " t.table_type = 'BASE TABLE' ORDER BY 1"
            ).fetchall()
            for (table,) in tables:
                count = sql.SQL(
                    "SELECT count(*), sum(hashtext(r::text)) FROM {} r WHERE tenant_id = %s"
                ).format(sql.Identifier(table))
                # Seals are made by themselves, over entries that are as they were.
                if not f"{service}.{table}".startswith(MOVING) and table != "audit_seals":
                    found[f"{service}.{table}"] = connection.execute(count, [company.id]).fetchone()
    return found


@pytest.mark.parametrize("reference", REFERENCES, ids=str)
async def test_an_id_of_another_tenant_is_answered_as_one_that_does_not_exist(
    reference: Reference, thief: httpx.AsyncClient, world: World
) -> None:
    assert reference.kind in world.theirs, f"make one {reference.kind} in tests/records.py"
    absent = str(ids.new())

    theirs = await ask(thief, reference, world.theirs[reference.kind], world.mine)
    nobodys = await ask(thief, reference, absent, world.mine)

    named = world.theirs[reference.kind]
    assert theirs.status_code == nobodys.status_code, theirs.text
    assert told(theirs, named) == told(nobodys, absent)
    assert_refused(reference, theirs, named)
    assert_nothing_of(world, theirs, named)


@pytest.mark.parametrize(("route", "name"), FILTERS, ids=shown)
async def test_a_filter_finds_nothing_of_another_tenant(
    route: Route, name: str, thief: httpx.AsyncClient, world: World
) -> None:
    path = path_of(route).replace("{id}", world.mine["webhook_id"])
    asked = " OR ".join(f'{name}="{id_}"' for id_ in sorted(set(world.theirs.values())))

    answer = await thief.get(path, params={"filter": asked})

    assert (answer.status_code, rows_of(answer)) == (200, []), answer.text


@pytest.mark.parametrize("route", LISTS, ids=shown)
async def test_a_list_and_its_pages_are_the_caller_s_own(
    route: Route, thief: httpx.AsyncClient, stack: BackgroundStack, world: World
) -> None:
    theirs = path_of(route).replace("{id}", world.theirs["webhook_id"])
    mine = path_of(route).replace("{id}", world.mine["webhook_id"])
    async with client_of(stack, world.victim) as victim:
        page = (await victim.get(theirs, params={"page_size": 1})).json()

    everything = await thief.get(mine, params={"page_size": 200})
    token = {"page_size": 1, "page_token": page.get("next_page_token")}
    stolen = await thief.get(mine, params=token) if token["page_token"] else None

    assert_nothing_of(world, everything, "")
    if stolen is not None:
        assert stolen.status_code == 400
        assert stolen.json()["errors"][0]["pointer"] == "/page_token"


async def test_a_place_in_another_tenant_s_events_shows_one_s_own(
    thief: httpx.AsyncClient, stack: BackgroundStack, world: World
) -> None:
    async with client_of(stack, world.victim) as victim:
        read = (await victim.get("/events", params={"limit": 1})).json()

    stolen = await thief.get("/events", params={"after": read["next_after"], "limit": 1000})

    events = stolen.json()["events"]
    assert events
    assert {event["tenantid"] for event in events} == {world.thief.id}
    assert_nothing_of(world, stolen, "")


async def test_a_consistency_token_of_another_tenant_opens_nothing(
    thief: httpx.AsyncClient, world: World
) -> None:
    token = {"Consistency-Token": world.consistency_token}

    for route in LISTS:
        if "{" not in route.template:
            answer = await thief.get(path_of(route), headers=token)
            assert_nothing_of(world, answer, "")


async def test_nothing_of_all_this_has_changed_the_other_tenant(
    stack: BackgroundStack, world: World
) -> None:
    assert fingerprint(stack, world.victim) == world.before
    async with client_of(stack, world.victim) as victim:
        assert await Shop(victim).violations() == []


async def ask(
    client: httpx.AsyncClient, reference: Reference, id_: str, mine: Mapping[str, str]
) -> httpx.Response:
    """Send a request that is the caller's own in all but one field."""
    route = reference.route
    path = path_of(route)
    own = Reference(route, ("id",)).kind
    path = path.replace("{id}", id_ if reference.in_path else mine.get(own, str(ids.new())))
    if not route.takes_body:
        query = {} if reference.in_path else {reference.field: id_}
        return await client.request(route.verb, path, params=query)
    steps = () if reference.in_path else reference.steps
    query = {"validate_only": "true"} if str(reference) in UNCHECKED else {}
    body = body_of(route.method.input_type, mine, steps, id_)
    if "version" in body and not reference.in_path:
        body["version"] = (await client.get(path.partition(":")[0])).json()["version"]
    return await client.request(route.verb, path, json=body, params=query)


def path_of(route: Route) -> str:
    return route.template.removeprefix("/api/v1")


def body_of(
    message: Descriptor, mine: Mapping[str, str], steps: tuple[str, ...], id_: str
) -> dict[str, Any]:
    """A body of one's own records, but for the field that the steps lead to."""
    body = {}
    for field in message.fields:
        if field.name in ("id", "update_mask"):
            continue
        rest = steps[1:] if steps[:1] == (field.name,) else ()
        value = id_ if steps == (field.name,) else value_of(field, mine, rest, id_)
        if value is not None:
            body[field.name] = [value] if field.is_repeated else value
    return body


def value_of(
    field: FieldDescriptor, mine: Mapping[str, str], steps: tuple[str, ...], id_: str
) -> Any:
    if field.message_type is None:
        return mine.get(field.name, VALUES.get(field.name))
    if field.message_type.name == "Money":
        return None if field.name == "credit" else eur("1.00")
    if not field.message_type.file.package.startswith("erp."):
        return None
    return body_of(field.message_type, mine, steps, id_)


def told(answer: httpx.Response, named: str) -> Any:
    """What an answer says, whichever id was asked for."""
    if answer.status_code == 201:
        return None
    return json.loads(answer.text.replace(named, "…"))


def rows_of(answer: httpx.Response) -> Any:
    return next((value for value in answer.json().values() if isinstance(value, list)), None)


def assert_refused(reference: Reference, answer: httpx.Response, named: str) -> None:
    """That the answer is about this field, and not about something else that is wrong."""
    if reference.route.policy.permission.startswith(ABOVE_TENANTS):
        assert answer.status_code == 403
    elif reference.in_path:
        assert answer.status_code == 404, answer.text
    elif reference.route.verb == "GET":
        assert (answer.status_code, rows_of(answer)) == (200, []), answer.text
    elif str(reference) in UNCHECKED:
        assert answer.status_code == 201, answer.text
    else:
        problem = problem_of(answer)
        # 409: it is not among what the caller's own record is about.
        assert problem["status"] in (400, 404, 409), answer.text
        errors = [error["pointer"] for error in problem.get("errors", [])]
        about = [f"/{'/'.join(reference.steps)}"]
        assert named in json.dumps({**problem, "instance": ""}) or errors == about, answer.text


def problem_of(answer: httpx.Response) -> Any:
    body = answer.json()
    return body["results"][0]["error"] if "results" in body else body


def assert_nothing_of(world: World, answer: httpx.Response, named: str) -> None:
    seen = {key for key, id_ in world.theirs.items() if id_ in answer.text and id_ != named}
    assert seen == set()
    assert world.victim.id == named or world.victim.id not in answer.text
