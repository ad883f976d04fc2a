"""Single records: their ETags, requests that depend on them, and answers that are kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common import cache_entries, ids
from common.cache import Cache
from common.cache_testing import running_cache
from common.caller import acting_as, service_caller
from common.database import Database
from common.errors import ConcurrentModification, NotFound
from common.settings import Address
from erp.accounting.v1 import accounting_pb2
from erp.events.v1.events_pb2 import Event
from erp.sales.v1 import sales_pb2
from erp.sales.v1.sales_service_pb2 import ListOrdersResponse
from gateway.api import Api
from gateway.contract import SERVICES, all_services
from gateway.errors import PreconditionFailed
from gateway.feed import Feed
from gateway.http_request import HttpRequest
from gateway.http_server import HttpServer
from gateway.kept_records import KeptRecords
from gateway.limits import RequestLimits
from gateway.preconditions import Preconditions
from gateway.publisher import Publisher
from gateway.routes import Routes
from gateway.settled_answers import SettledAnswers
from gateway.tests.conftest import Guests

ID = "01890000-0000-7000-8000-00000000000a"
CUSTOMER = f"/api/v1/customers/{ID}"
ORDER = f"/api/v1/orders/{ID}"


class Customers:
    """One customer, as sales keeps it."""

    def __init__(self, sales) -> None:
        self.customer = sales_pb2.Customer(id=ID, name="Blue Door", version=1)
        self.reads = 0
        sales.answers["GetCustomer"] = self.get
        sales.answers["UpdateCustomer"] = self.update

    def get(self, request):
        self.reads += 1
        if request.id != ID:
            raise NotFound("customer", request.id)
        return self.customer

    def update(self, request):
        if request.version != self.customer.version:
            raise ConcurrentModification("customer", ID)
        version = self.customer.version + 1
        self.customer = sales_pb2.Customer(id=ID, name=request.name, version=version)
        return self.customer


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    monkeypatch.setattr(cache_entries, "COMMAND_SECONDS", 5)


@pytest.fixture
def customers(sales) -> Customers:
    return Customers(sales)


@asynccontextmanager
async def gateway(
    channel, cache: Cache, guests: Guests, limits: RequestLimits, database: Database
) -> AsyncIterator[httpx.AsyncClient]:
    """One more gateway beside the others."""
    routes = Routes(all_services())
    channels = dict.fromkeys(SERVICES, channel)
    kept, settled = KeptRecords(cache, routes.all), SettledAnswers(database)
    api = Api(routes, channels, guests, limits, Feed((), None), kept, settled, timeout_seconds=2)
    server = HttpServer(api, Address("127.0.0.1", 0), shared=False, grace_seconds=1)
    await server.start()
    url, headers = f"http://127.0.0.1:{server.port}", {"authorization": "Bearer *"}
    async with httpx.AsyncClient(verify=False, base_url=url, headers=headers, timeout=20) as client:
        yield client
    await server.stop()


@pytest.fixture
async def gateways(
    servers, sales_and_channel, guests, limits, database
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two gateways with a Redis between them."""
    prefix = f"test_{ids.new().hex}"
    async with AsyncExitStack() as opened:
        clients = []
        for _ in range(2):
            cache = await opened.enter_async_context(running_cache(servers.valkey.url, prefix))
            clients.append(
                await opened.enter_async_context(
                    gateway(sales_and_channel[1], cache, guests, limits, database)
                )
            )
        yield clients


async def test_a_record_carries_a_strong_etag_that_its_reader_keeps_to_itself(client, customers):
    read = await client.get(CUSTOMER)
    again = await client.get(CUSTOMER)

    assert read.headers["etag"].startswith('"1-')
    assert read.headers["etag"] == again.headers["etag"]
    assert read.headers["cache-control"] == "private, no-cache"


async def test_what_is_no_single_record_has_no_etag_and_is_stored_nowhere(client, sales):
    sales.answers["ListOrders"] = lambda _: ListOrdersResponse()

    for answer in (await client.get("/api/v1/orders"), await client.get("/api/v1/nothing")):
        assert "etag" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("write", ["{}", "W/{}", '"other", {}', "*"])
async def test_who_knows_the_state_gets_304_without_a_body(client, customers, write):
    etag = (await client.get(CUSTOMER)).headers["etag"]

    answer = await client.get(CUSTOMER, headers={"if-none-match": write.format(etag)})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert "content-length" not in answer.headers
    assert "content-type" not in answer.headers


async def test_who_knows_an_older_state_gets_the_record(client, customers):
    etag = (await client.get(CUSTOMER)).headers["etag"]
    await client.patch(CUSTOMER, json={"version": 1, "name": "Red Door"})

    answer = await client.get(CUSTOMER, headers={"if-none-match": etag})

    assert (answer.status_code, answer.json()["name"]) == (200, "Red Door")


async def test_the_answer_to_a_change_names_the_state_that_it_made(client, customers):
    changed = await client.patch(CUSTOMER, json={"version": 1, "name": "Red Door"})

    assert changed.headers["etag"] == (await client.get(CUSTOMER)).headers["etag"]


async def test_if_match_stands_for_the_version(client, customers):
    etag = (await client.get(CUSTOMER)).headers["etag"]

    first = await client.patch(CUSTOMER, json={"name": "Red"}, headers={"if-match": etag})
    second = await client.patch(CUSTOMER, json={"name": "Green"}, headers={"if-match": etag})

    assert (first.status_code, second.status_code) == (200, 412)
    assert second.json()["reason"] == "PRECONDITION_FAILED"
    assert customers.customer.name == "Red"


@pytest.mark.parametrize(
    ("if_match", "version", "status"),
    [
        ("{etag}", 1, 200),
        ("{etag}", 7, 409),
        ("*", 1, 200),
        ('"7-000000000000000000000000"', 1, 412),
        ('"nonsense"', 1, 412),
        ("W/{etag}", 1, 412),
        ('"7-000000000000000000000000", {etag}', 1, 200),
        (None, 7, 409),
    ],
)
async def test_a_stale_if_match_is_412_and_a_stale_version_409(
    client, customers, if_match, version, status
):
    etag = (await client.get(CUSTOMER)).headers["etag"]
    headers = {"if-match": if_match.format(etag=etag)} if if_match else {}

    answer = await client.patch(CUSTOMER, json={"version": version, "name": "Red"}, headers=headers)

    assert answer.status_code == status


async def test_a_verb_that_knows_no_version_compares_beforehand(client, sales):
    sales.answers["GetOrder"] = lambda _: sales_pb2.Order(id=ID, version=3)
    sales.answers["ConfirmOrder"] = lambda request: sales_pb2.Order(id=ID, version=request.version)
    stale = {"if-match": '"2-000000000000000000000000", "1-000000000000000000000000"'}

    refused = await client.post(f"{ORDER}:confirm", headers=stale)

    assert refused.status_code == 412
    assert [name for name, *_ in sales.asked] == ["GetOrder"]


async def test_if_match_is_held_against_the_record_that_the_path_names():
    """Crediting an invoice answers with a credit note; it is the invoice that must match."""
    asked = []

    async def get_invoice(request, **_):
        asked.append(request.id)
        return accounting_pb2.Invoice(id=request.id)

    routes = Routes(all_services())
    path = f"/api/v1/invoices/{ID}"
    crediting = routes.find(f"{path}:credit").routes["POST"]
    reading = routes.find(path).routes["GET"]
    preconditions = Preconditions(routes.readers, {reading.policy.path: get_invoice})
    scope = {
        "headers": [(b"if-match", b'"nope"')],
        "method": "POST",
        "raw_path": path.encode(),
        "query_string": b"",
    }

    with pytest.raises(PreconditionFailed):
        await preconditions.guard(
            crediting, crediting.policy.request(id=ID), HttpRequest(scope, None)
        )

    assert asked == [ID]


async def test_what_does_not_exist_yet_matches_nothing(client, sales):
    answer = await client.post("/api/v1/customers", json={"name": "Red"}, headers={"if-match": "*"})

    assert answer.status_code == 412
    assert sales.asked == []


async def test_an_answer_is_read_once_for_all_gateways(gateways, customers):
    answers = [await client.get(CUSTOMER) for client in (*gateways, *gateways)]

    assert {answer.content for answer in answers} == {answers[0].content}
    assert customers.reads == 1


async def test_no_gateway_shows_what_was_before_an_answered_write(gateways, customers):
    here, there = gateways
    for version in range(1, 21):
        await asyncio.gather(*(client.get(CUSTOMER) for client in gateways))

        name = f"name {version}"
        await here.patch(CUSTOMER, json={"version": version, "name": name})
        read = await there.get(CUSTOMER)

        assert (read.json()["name"], read.json()["version"]) == (name, version + 1)


async def test_a_write_that_failed_may_have_happened(gateways, customers, sales):
    here, there = gateways
    await there.get(CUSTOMER)

    def break_afterwards(request):
        customers.update(request)
        raise RuntimeError("the answer is lost")

    sales.answers["UpdateCustomer"] = break_afterwards
    await here.patch(CUSTOMER, json={"version": 1, "name": "Red"})

    assert (await there.get(CUSTOMER)).json()["name"] == "Red"


async def test_an_event_outdates_an_answer_wherever_the_change_came_from(
    customers, cache, sales_and_channel, guests, limits, database
):
    redis = Redis.from_url("redis://127.0.0.1:1", retry=Retry(NoBackoff(), 0))
    routes = Routes(all_services())
    kept = KeptRecords(cache, routes.all)
    async with gateway(sales_and_channel[1], cache, guests, limits, database) as client:
        await client.get(CUSTOMER)
        customers.customer = sales_pb2.Customer(id=ID, name="Red", version=2)
        event = Event(
            tenant_id=str(guests.tenant),
            source="sales",
            type="erp.sales.v1.CustomerChanged",
            subject=ID,
        )

        with acting_as(service_caller("sales", None)):
            await Publisher(redis, Feed((), None), kept.hear).publish([event])

        assert (await client.get(CUSTOMER)).json()["name"] == "Red"


async def test_permission_is_asked_for_before_an_answer_is_shown(gateways, customers):
    await gateways[0].get(CUSTOMER)

    refused = await gateways[0].get(CUSTOMER, headers={"authorization": "Bearer sales.orders.read"})

    assert refused.status_code == 403


async def test_without_redis_every_answer_is_read(
    sales_and_channel, customers, guests, limits, database
):
    cache = Cache(Redis.from_url("redis://127.0.0.1:1"))
    async with gateway(sales_and_channel[1], cache, guests, limits, database) as client:
        answers = [await client.get(CUSTOMER) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert customers.reads == 3
