"""Fixtures: a migrated database and a shop on it."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from common import ids
from common.database import Database
from common.jobs_testing import open_job_database
from common.testing import ServiceDatabase, TestServers
from erp.gateway.v1 import events_pb2 as gateway
from sales.app import HANDLERS
from sales.order_desk import OrderDesk
from sales.servicer import SalesServicer
from sales.tests.selling import Neighbours, Shop


@pytest.fixture(scope="session")
def urls(servers: TestServers) -> ServiceDatabase:
    return servers.database("sales")


@pytest.fixture(scope="session")
async def database(urls: ServiceDatabase) -> AsyncIterator[Database]:
    database = open_job_database("sales", urls.app, urls.system, *HANDLERS)
    yield database
    await database.close()


async def open_shop(tenant: UUID, database: Database, urls: ServiceDatabase) -> Shop:
    """A new company with one customer and one warehouse."""
    neighbours = Neighbours()
    servicer = SalesServicer(database, OrderDesk(database, neighbours.services()))
    shop = Shop(tenant, database, urls, neighbours, servicer)
    shop.neighbours.warehouses.add(shop.warehouse)
    await shop.hear(gateway.TenantCreated(tenant_id=str(tenant), name="Acme", currency_code="EUR"))
    shop.customer = UUID((await shop.add_customer()).id)
    return shop


@pytest.fixture
async def shop(tenant: UUID, database: Database, urls: ServiceDatabase) -> Shop:
    """A company."""
    return await open_shop(tenant, database, urls)


@pytest.fixture
async def stranger(database: Database, urls: ServiceDatabase) -> Shop:
    """Another company."""
    return await open_shop(ids.new(), database, urls)
