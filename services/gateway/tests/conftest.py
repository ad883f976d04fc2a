"""A gateway over HTTP, in front of servers that stand for the other services."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from common import ids, outbox
from common.cache import Cache
from common.cache_testing import running_cache
from common.caller import Caller
from common.database import Database
from common.errors import Unauthenticated
from common.jobs.enqueueing import store_jobs
from common.rate_limit import RateLimiter
from common.settings import Address
from common.testing import ServiceDatabase, TestServers
from gateway.api import Api
from gateway.app import SYSTEM_REASONS
from gateway.contract import SERVICES, all_services
from gateway.credentials import Client
from gateway.doorstep import Doorstep
from gateway.feed import Feed
from gateway.http_request import HttpRequest
from gateway.http_server import HttpServer
from gateway.kept_records import KeptRecords
from gateway.limits import RequestLimits
from gateway.passwords import Passwords, random_password
from gateway.plans import Plans
from gateway.routes import Routes
from gateway.seed import seed_with
from gateway.settled_answers import SettledAnswers
from gateway.tenants import NewTenant
from gateway.tests.standing_in import StandIn, standing_in_for_sales
from gateway.tests.whole import Browser, Company, settings_of, whole_gateway


class Guests:
    """Credentials that a test makes up: the header's value names the permissions, the plan and the
    user's id are the test's."""

    def __init__(self) -> None:
        self.tenant = ids.new()
        self.plan = "unmetered"
        self.user = "test"

    async def client_of(self, request: HttpRequest) -> Client:
        if not request.authorization:
            raise Unauthenticated("No credential was sent.")
        permissions = request.authorization.decode().removeprefix("Bearer ").split(",")
        caller = Caller(self.tenant, f"token:{self.user}", frozenset(permissions))
        return Client(caller, self.plan)


@pytest.fixture
async def sales_and_channel():
    async with standing_in_for_sales() as pair:
        yield pair


@pytest.fixture
def sales(sales_and_channel) -> StandIn:
    return sales_and_channel[0]


@pytest.fixture
def feed() -> Feed:
    return Feed({"erp.sales.v1.OrderSettled"}, None)


@pytest.fixture
def guests() -> Guests:
    return Guests()


@pytest.fixture
async def redis(servers) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.valkey.url) as redis:
        for key in await redis.keys("rate_limit:tenant:anonymous:*"):
            await redis.delete(key)
        yield redis


@pytest.fixture
async def limits(redis) -> RequestLimits:
    return RequestLimits(RateLimiter(redis), Plans(), trusted_proxies=1)


@pytest.fixture
async def cache(servers: TestServers) -> AsyncIterator[Cache]:
    async with running_cache(servers.valkey.url, f"test_{ids.new().hex}") as cache:
        yield cache


@pytest.fixture
async def server(
    ending, sales_and_channel, feed, guests, limits, cache, database
) -> AsyncIterator[HttpServer]:
    channels = dict.fromkeys(SERVICES, sales_and_channel[1])
    routes = Routes(all_services())
    kept, settled = KeptRecords(cache, routes.all), SettledAnswers(database)
    api = Api(routes, channels, guests, limits, feed, kept, settled, timeout_seconds=2)
    app = Doorstep(api, ["https://app.example.com"], behind_proxies=True)
    server = HttpServer(app, Address("127.0.0.1", 0), shared=False, grace_seconds=1)
    await server.start()
    yield server
    # uvicorn takes a sixth of a second to stop, for which the next test need not wait.
    ending.append(asyncio.create_task(server.stop()))


@pytest.fixture(scope="session")
async def ending() -> AsyncIterator[list[asyncio.Task[None]]]:
    """Servers that stop while other tests run."""
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    await asyncio.gather(*tasks)


@pytest.fixture
async def client(server) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer *"}
    async with httpx.AsyncClient(
        verify=False, base_url=f"http://127.0.0.1:{server.port}", headers=headers, timeout=20
    ) as client:
        yield client


@pytest.fixture(scope="session")
def gateway_database(servers: TestServers) -> ServiceDatabase:
    return servers.database("gateway")


@pytest.fixture(scope="session")
async def database(gateway_database) -> AsyncIterator[Database]:
    database = Database(
        gateway_database.app,
        gateway_database.system,
        system_reasons=SYSTEM_REASONS,
        write_events=outbox.write_events("gateway"),
        write_jobs=store_jobs({}),
    )
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def gateway(servers, gateway_database) -> AsyncIterator[str]:
    """The base URL of a whole gateway."""
    async with whole_gateway(settings_of(servers, gateway_database)) as url:
        yield url


@pytest.fixture(scope="session")
async def other_gateway(servers, gateway_database) -> AsyncIterator[str]:
    """The base URL of another one, on the same servers."""
    async with whole_gateway(settings_of(servers, gateway_database)) as url:
        yield url


@pytest.fixture(scope="session")
async def password() -> tuple[str, str]:
    """The password of every company's admin, with its hash: that takes a tenth of a second."""
    password = random_password()
    return password, await Passwords().hash(password)


@pytest.fixture
async def company(database, password) -> Company:
    """A company of this test alone."""
    slug = f"c-{ids.new().hex[-12:]}"
    tenant = NewTenant(slug, "Test", "EUR", "unmetered")
    return Company(slug, await seed_with(database, tenant, *password))


@pytest.fixture
async def browsers(gateway) -> AsyncIterator[Callable[..., Browser]]:
    """Makes browsers, each at an address of its own."""
    made: list[Browser] = []

    def browser(url: str = gateway, **options: Any) -> Browser:
        number = secrets.randbits(24)
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        made.append(Browser(url, address, **options))
        return made[-1]

    yield browser
    for one in made:
        await one.client.aclose()


@pytest.fixture
def browser(browsers) -> Browser:
    return browsers()
