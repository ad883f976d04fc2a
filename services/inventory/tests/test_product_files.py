"""Products are read in from files and written out to them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from redis.asyncio import Redis

from common.database import Database
from common.errors import InvalidRequest, NotFound
from common.jobs_testing import eventually, job_worker, open_job_database, working
from common.testing import ServiceDatabase, TestServers, as_user, rows_of
from erp.bulk.v1 import bulk_pb2 as pb
from erp.inventory.v1 import product_file_service_pb2 as messages
from inventory import product_files
from inventory.file_servicer import ProductFileServiceServicer
from inventory.tests.stockroom import Stockroom

SCRIPT = Path(__file__).with_name("file_worker.py")
HEAD = "sku,name,list_price\n"


# As a worker parks a job that it cannot do.
PARK = """
    INSERT INTO failed_jobs (tenant_id, id, kind, name, source, sequence, payload, error, attempts,
                             job_id)
    SELECT tenant_id, id, 'job', 'RunProductImport', '', 0, '', 'worn out', 1, job_id
    FROM imports WHERE id = %s
"""


class Files:
    """The files of one company."""

    def __init__(self, tenant: UUID, database: Database, redis: Redis, operator: str) -> None:
        self.tenant = tenant
        self.operator = operator
        self._rpc = ProductFileServiceServicer(database)
        self._database = database
        self._redis = redis

    async def rpc(self, name: str, request: Any) -> Any:
        with as_user(self.tenant):
            return await getattr(self._rpc, name)(request, None)

    async def put(self, content: str, **fields: Any) -> pb.Import:
        request = messages.CreateProductImportRequest(content=content, **fields)
        return await self.rpc("CreateProductImport", request)

    async def get(self, made: pb.Import) -> pb.Import:
        return await self.rpc("GetProductImport", messages.GetProductImportRequest(id=made.id))

    async def done(self, made: pb.Import) -> pb.Import:
        """The import when a worker has ended it."""

        async def has_ended() -> bool:
            return (await self.get(made)).HasField("finish_time")

        worker = job_worker("inventory", self._database, self._redis, product_files)
        async with working(worker):
            await eventually(has_ended)
        return await self.get(made)

    async def read_in(self, content: str, **fields: Any) -> pb.Import:
        return await self.done(await self.put(content, **fields))

    async def written(self, **fields: Any) -> tuple[str, pb.Export]:
        """All products as a file."""
        made = await self.rpc("CreateProductExport", messages.CreateProductExportRequest(**fields))

        async def part(number: int = 0) -> pb.Export:
            request = messages.GetProductExportRequest(id=made.id, part=number)
            return await self.rpc("GetProductExport", request)

        async def has_ended() -> bool:
            return (await part()).HasField("finish_time")

        async with working(job_worker("inventory", self._database, self._redis, product_files)):
            await eventually(has_ended)
        parts = [await part(number) for number in range((await part()).parts)]
        return "".join(each.content for each in parts), parts[0]

    def products(self) -> dict[str, tuple[object, ...]]:
        query = """
            SELECT sku, name, description, list_price_minor, version FROM products
            WHERE tenant_id = %s ORDER BY id
        """
        return {str(row[0]): row[1:] for row in rows_of(self.operator, query, self.tenant)}

    def events(self, kind: str) -> int:
        query = "SELECT count(*) FROM events WHERE tenant_id = %s AND type = %s"
        ((count,),) = rows_of(self.operator, query, self.tenant, f"erp.inventory.v1.{kind}")
        return int(str(count))


@pytest.fixture(scope="module")
async def job_database(urls: ServiceDatabase) -> AsyncIterator[Database]:
    database = open_job_database("inventory", urls.app, urls.system, product_files)
    yield database
    await database.close()


@pytest.fixture
async def redis(servers: TestServers) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.valkey.url) as client:
        yield client


@pytest.fixture
def files(inventory: Stockroom, job_database: Database, redis: Redis) -> Files:
    return Files(inventory.tenant_id, job_database, redis, inventory.operator)


def numbers(done: pb.Import) -> tuple[int, ...]:
    return (done.created_rows, done.updated_rows, done.unchanged_rows, done.failed_rows)


async def test_new_products_are_made_and_known_ones_changed(
    inventory: Stockroom, files: Files
) -> None:
    await files.read_in(HEAD + "A,Table,1.00\nB,Chair,2.00\n")

    done = await files.read_in("\ufeffsku,name,description\nA,,Made of oak\nB,Chair,\nC,,x\n")

    assert done.state == pb.FILE_STATE_SUCCEEDED
    assert numbers(done) == (0, 1, 1, 1)
    # What a row does not say stays as it is.
    assert files.products() == {
        "A": ("Table", "Made of oak", 100, 2),
        "B": ("Chair", "", 200, 1),
    }
    wrong = [(error.row, error.pointer) for error in done.errors]
    assert wrong == [(4, "/name"), (4, "/list_price")]
    assert (files.events("ProductCreated"), files.events("ProductChanged")) == (2, 1)


async def test_the_audit_log_names_who_asked_for_the_file_to_be_read_in(files: Files) -> None:
    made = await files.put(HEAD + "A,Table,1.00\n")
    await files.done(made)

    query = """
        SELECT change.authors FROM audit_entries AS entry JOIN audit_changes AS change
            ON change.tenant_id = entry.tenant_id AND change.id = entry.change_id
        WHERE entry.tenant_id = %s AND entry.kind = 'product'
    """
    (([author],),) = rows_of(files.operator, query, files.tenant)

    assert made.requested_by.startswith("user:")
    assert (author["actor"], author["via"]) == (made.requested_by, ["inventory"])


BAD = {
    7: ("A-7,,1.00", "/name"),
    1200: ("A-1200,Table,1.999", "/list_price/amount"),
    2600: ("A-2600,Table,-1.00", "/list_price"),
    3100: ("A-7000,Table,1.00", ""),
    4999: ("A-4999,Table", ""),
}


def five_thousand() -> str:
    """A file whose row n is about A-n; the rows of BAD are wrong, A-3100 is named twice."""
    rows = {number: f"A-{number},Table {number},1.00" for number in range(2, 5002)}
    rows |= {number: row for number, (row, _) in BAD.items()}
    rows[3099] = "A-7000,Table,1.00"
    return HEAD + "\n".join(rows.values())


async def test_of_five_thousand_rows_the_right_ones_are_taken(
    inventory: Stockroom, files: Files
) -> None:
    done = await files.read_in(five_thousand())

    assert done.state == pb.FILE_STATE_SUCCEEDED
    assert (done.total_rows, done.processed_rows) == (5000, 5000)
    assert numbers(done) == (4995, 0, 0, 5)
    assert {error.row: error.pointer for error in done.errors} == {
        number: pointer for number, (_, pointer) in BAD.items()
    }
    assert len(files.products()) == 4995


async def test_all_or_none(inventory: Stockroom, files: Files) -> None:
    wrong = await files.read_in(HEAD + "A,Table,1.00\nB,,2.00\n", atomic=True)
    tried = await files.read_in(HEAD + "A,Table,1.00\nB,Chair,2.00\n", atomic=True, dry_run=True)
    assert files.products() == {}

    right = await files.read_in(HEAD + "A,Table,1.00\nB,Chair,2.00\n", atomic=True)

    assert (wrong.state, wrong.error) == (
        pb.FILE_STATE_FAILED,
        "1 rows are wrong, so none took effect.",
    )
    assert (tried.state, numbers(tried)) == (pb.FILE_STATE_SUCCEEDED, (2, 0, 0, 0))
    assert (right.state, numbers(right)) == (pb.FILE_STATE_SUCCEEDED, (2, 0, 0, 0))
    assert list(files.products()) == ["A", "B"]


@pytest.mark.parametrize("atomic", [False, True])
async def test_a_worker_killed_in_the_middle_makes_nothing_twice(
    inventory: Stockroom, files: Files, urls: ServiceDatabase, servers: TestServers, atomic: bool
) -> None:
    await files.read_in(HEAD + "A-1400,Old,1.00\n")
    content = HEAD + "".join(f"A-{number},Table,2.00\n" for number in range(2000))
    made = await files.put(content, atomic=atomic)
    argv = [sys.executable, str(SCRIPT), urls.app, urls.system, servers.valkey.url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    with psycopg.connect(urls.operator) as blocker:
        # The worker comes as far as this row, and waits.
        blocker.execute(
            "SELECT 1 FROM products WHERE tenant_id = %s AND sku = 'A-1400' FOR UPDATE",
            [files.tenant],
        )
        process = await asyncio.create_subprocess_exec(*argv, env=environment)

        async def is_in_the_middle() -> bool:
            return (await files.get(made)).processed_rows == 1000

        await eventually(is_in_the_middle)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    assert len(files.products()) == (1 if atomic else 1001)
    done = await files.done(made)

    assert (done.state, numbers(done)) == (pb.FILE_STATE_SUCCEEDED, (1999, 1, 0, 0))
    assert len(files.products()) == 2000
    assert {row[-1] for row in files.products().values()} == {1, 2}
    assert (files.events("ProductCreated"), files.events("ProductChanged")) == (2000, 1)


async def test_two_imports_of_the_same_file_make_each_product_once(
    inventory: Stockroom, files: Files
) -> None:
    content = HEAD + "".join(f"A-{number},Table,2.00\n" for number in range(1200))

    made = [await files.put(content) for _ in range(2)]
    done = [await files.done(each) for each in made]

    assert sum(each.created_rows for each in done) == 1200
    assert sum(each.unchanged_rows for each in done) == 1200
    assert len(files.products()) == 1200


@pytest.mark.parametrize("form", [pb.FILE_FORMAT_CSV, pb.FILE_FORMAT_NDJSON])
async def test_what_was_written_out_reads_in_as_no_change(
    inventory: Stockroom, files: Files, form: int
) -> None:
    await files.read_in(
        'sku,name,description,list_price\n=1+1,"Grüße, ""Tisch""",line\nA,Table,"two\nlines",1.50\n'
        'B,Chair,,2.00\n"\'@x",@Lamp,,3.00\n'
    )
    assert len(files.products()) == 3

    content, export = await files.written(format=form)
    again = await files.read_in(content, format=form)

    assert export.total_rows == 3
    assert numbers(again) == (0, 0, 3, 0)


async def test_a_large_file_comes_in_parts(
    inventory: Stockroom, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.files.exports.PART_CHARACTERS", 10)
    monkeypatch.setattr("inventory.product_files._PAGE_ROWS", 2)
    await files.read_in(HEAD + "A,Table,1.00\nB,Chair,2.00\nC,Lamp,3.00\n")

    content, first = await files.written()

    assert first.parts == 2
    assert content == (
        "sku,name,description,list_price,currency_code,state\r\n"
        "A,Table,,1.00,EUR,active\r\nB,Chair,,2.00,EUR,active\r\nC,Lamp,,3.00,EUR,active\r\n"
    )


async def test_files_are_their_company_s_own(
    inventory: Stockroom, stranger: Stockroom, files: Files, job_database: Database, redis: Redis
) -> None:
    made = await files.read_in(HEAD + "A,Table,1.00\n")
    theirs = Files(stranger.tenant_id, job_database, redis, stranger.operator)

    with pytest.raises(NotFound):
        await theirs.get(made)
    content, _ = await theirs.written()
    listed = await theirs.rpc("ListProductImports", messages.ListProductImportsRequest())

    assert content == "sku,name,description,list_price,currency_code,state\r\n"
    assert (list(listed.imports), theirs.products()) == ([], {})


async def test_imports_are_listed_by_what_became_of_them(files: Files) -> None:
    done = await files.read_in(HEAD + "A,Table,1.00\n")
    parked, waiting = await files.put(HEAD + "B,Chair,2.00\n"), await files.put(HEAD, dry_run=True)
    with psycopg.connect(files.operator) as operator:
        operator.execute(PARK, [parked.id])

    async def found(**asked: Any) -> list[tuple[str, str]]:
        request = messages.ListProductImportsRequest(**asked)
        listed = await files.rpc("ListProductImports", request)
        return [(item.id, item.error) for item in listed.imports]

    newest_first = [(waiting.id, ""), (parked.id, "worn out"), (done.id, "")]
    assert await found(order_by="id desc") == newest_first
    assert await found(filter='state = "failed"') == [(parked.id, "worn out")]
    assert await found(filter="state = succeeded AND finish_time:*") == [(done.id, "")]
    assert await found(filter="dry_run = true") == [(waiting.id, "")]


async def test_an_unusable_file_and_a_strange_part_are_refused(
    inventory: Stockroom, files: Files
) -> None:
    with pytest.raises(InvalidRequest):
        await files.put("sku;name\nA;B\n")
    with pytest.raises(InvalidRequest):
        await files.put(HEAD + "A,Table,1.00\n" * 20_000, atomic=True)
    _, export = await files.written()
    with pytest.raises(InvalidRequest) as refused:
        await files.rpc("GetProductExport", messages.GetProductExportRequest(id=export.id, part=1))
    assert refused.value.violations[0].pointer == "/part"
