"""Customers are read in from files and written out to them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from common.jobs_testing import eventually, job_worker, working
from common.testing import TestServers, as_user
from erp.bulk.v1 import bulk_pb2 as pb
from erp.sales.v1 import customer_file_service_pb2 as messages
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2
from erp.sales.v1 import sales_service_pb2 as sales
from sales import customer_files
from sales.file_servicer import CustomerFileServiceServicer
from sales.tests.selling import Shop


class Files:
    """The files of one company."""

    def __init__(self, shop: Shop, redis: Redis) -> None:
        self._shop = shop
        self._rpc = CustomerFileServiceServicer(shop.database)
        self._redis = redis

    async def rpc(self, name: str, request: Any) -> Any:
        with as_user(self._shop.tenant):
            return await getattr(self._rpc, name)(request, None)

    async def put(self, content: str, **fields: Any) -> pb.Import:
        request = messages.CreateCustomerImportRequest(content=content, **fields)
        return await self.rpc("CreateCustomerImport", request)

    async def done(self, kind: str, *made: Any) -> list[Any]:
        """The imports or exports when a worker has ended them."""
        worker = job_worker("sales", self._shop.database, self._redis, customer_files)
        async with working(worker):
            return await asyncio.gather(*(self._ended(kind, each.id) for each in made))

    async def _ended(self, kind: str, file_id: str) -> Any:
        request = getattr(messages, f"GetCustomer{kind}Request")(id=file_id)

        async def has_ended() -> bool:
            return (await self.rpc(f"GetCustomer{kind}", request)).HasField("finish_time")

        await eventually(has_ended)
        return await self.rpc(f"GetCustomer{kind}", request)

    async def read_in(self, content: str, **fields: Any) -> pb.Import:
        (done,) = await self.done("Import", await self.put(content, **fields))
        return done

    async def written(self, **fields: Any) -> str:
        request = messages.CreateCustomerExportRequest(**fields)
        (done,) = await self.done("Export", await self.rpc("CreateCustomerExport", request))
        return done.content


@pytest.fixture
async def files(shop: Shop, servers: TestServers) -> AsyncIterator[Files]:
    async with Redis.from_url(servers.valkey.url) as redis:
        yield Files(shop, redis)


async def customers(shop: Shop) -> list[sales_pb2.Customer]:
    return list((await shop.rpc("ListCustomers", sales.ListCustomersRequest())).customers)


def numbers(done: pb.Import) -> tuple[int, ...]:
    return (done.created_rows, done.updated_rows, done.unchanged_rows, done.failed_rows)


async def test_customers_are_known_by_number_or_else_by_address(shop: Shop, files: Files) -> None:
    await files.read_in("name,email\nRed Door,red@door.example\nGreen Door,green@door.example\n")

    done = await files.read_in(
        "number,name,email\n"
        "C-000002,Redder Door,redder@door.example\n"
        ",Greener Door,GREEN@door.example\n"
        ",Yellow Door,yellow@door.example\n"
    )

    assert numbers(done) == (1, 2, 0, 0)
    known = [(one.number, one.name, one.email, one.version) for one in await customers(shop)]
    assert known == [
        ("C-000001", "Blue Door Ltd", "", 1),
        ("C-000002", "Redder Door", "redder@door.example", 2),
        ("C-000003", "Greener Door", "GREEN@door.example", 2),
        ("C-000004", "Yellow Door", "yellow@door.example", 1),
    ]
    assert len(shop.events(events.CustomerCreated)) == 4
    assert len(shop.events(events.CustomerChanged)) == 2
    assert await shop.violations() == []


async def test_a_row_that_names_nobody_for_certain_is_wrong(shop: Shop, files: Files) -> None:
    for _ in range(2):
        await shop.add_customer(email="twice@door.example")

    done = await files.read_in(
        "number,name,email,currency_code\n"
        ",Nobody,,\n"
        "C-000099,Nobody,,\n"
        ",Which,twice@door.example,\n"
        ",,new@door.example,\n"
        ",Wrong,no address,\n"
        ",Wrong,dollar@door.example,ZZZ\n"
        "C-000001,Blue Door Ltd,,USD\n"
        ",First,same@door.example,\n"
        ",Second,SAME@door.example,\n"
    )

    assert numbers(done) == (1, 0, 0, 8)
    assert [(error.row, error.pointer) for error in done.errors] == [
        (2, "/email"),
        (3, ""),
        (4, "/email"),
        (5, "/name"),
        (6, "/email"),
        (7, "/currency_code"),
        (8, "/currency_code"),
        (10, ""),
    ]
    assert len(await customers(shop)) == 4
    assert await shop.violations() == []


async def test_imports_at_the_same_time_make_each_customer_once(shop: Shop, files: Files) -> None:
    rows = "".join(f"Door {number},door{number}@door.example\n" for number in range(700))
    made = [await files.put(f"name,email\n{rows}") for _ in range(2)]

    done = await files.done("Import", *made)

    assert sum(each.created_rows for each in done) == 700
    assert sum(each.unchanged_rows for each in done) == 700
    assert await shop.violations() == []


async def test_all_customers_are_written_out_and_read_in_as_no_change(
    shop: Shop, files: Files
) -> None:
    await shop.add_customer(name="=cmd|' /C calc'!A0", email="evil@door.example")

    content = await files.written()
    again = await files.read_in(content)

    assert content.splitlines()[0] == "number,name,email,currency_code"
    assert "'=cmd" in content
    assert numbers(again) == (0, 0, 2, 0)
