"""Jobs of all services over REST, and whether the system is well when too many wait."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from common import ids, jobs
from common.database import Database
from common.errors import InvalidRequest, NotFound, Unavailable
from common.jobs.enqueueing import store_jobs
from common.jobs.servicer import JobServicer as OwnJobs
from common.jobs.tables import SYSTEM_REASON
from common.testing import ServiceDatabase, TestServers, as_user
from erp.gateway.v1 import job_service_pb2 as pb
from erp.sales.v1.events_pb2 import OrderCancelled, OrderSettled
from gateway.health import MOST_WAITING, queues_are_short
from gateway.job_desk import JobDesk
from gateway.job_servicer import JobServicer


@pytest.fixture(scope="module")
async def sales(servers: TestServers) -> AsyncIterator[Database]:
    urls = servers.database("sales")
    database = _opened(urls)
    yield database
    await database.close()


def _opened(urls: ServiceDatabase) -> Database:
    return Database(
        urls.app,
        urls.system,
        system_reasons=frozenset({SYSTEM_REASON}),
        write_jobs=store_jobs({}),
    )


@pytest.fixture
def desk(sales: Database, own: Database) -> JobServicer:
    return JobServicer(
        JobDesk({"sales": OwnJobs("sales", sales), "gateway": OwnJobs("gateway", own)})
    )


@pytest.fixture(scope="module")
async def own(gateway_database: ServiceDatabase) -> AsyncIterator[Database]:
    database = _opened(gateway_database)
    yield database
    await database.close()


async def enqueue(database: Database, tenant: UUID, count: int, queue: str = "default") -> None:
    with as_user(tenant):
        async with database.tenant_transaction() as tx:
            for number in range(count):
                jobs.enqueue(tx, OrderSettled(order_id=str(number)), queue=queue)


async def test_jobs_of_all_services_are_one_list_newest_first(
    desk: JobServicer, sales: Database, own: Database, tenant: UUID
) -> None:
    for database in (sales, own, sales, own):
        await enqueue(database, tenant, 5)
    found: list[Any] = []

    with as_user(tenant):
        token = ""
        while True:
            page = await desk.ListJobs(pb.ListJobsRequest(page_size=7, page_token=token), None)
            found += page.jobs
            token = page.next_page_token
            if not token:
                break

    ids_found = [job.id for job in found]
    assert ids_found == sorted(ids_found, reverse=True)
    assert len(set(ids_found)) == 20
    assert {job.service for job in found} == {"sales", "gateway"}


async def test_a_list_is_of_what_was_asked_for(
    desk: JobServicer, sales: Database, own: Database, tenant: UUID
) -> None:
    await enqueue(sales, tenant, 3, "low")
    await enqueue(own, tenant, 2, "high")
    await enqueue(sales, tenant, 1, "high")

    async def count(**wanted: Any) -> int:
        return len((await desk.ListJobs(pb.ListJobsRequest(**wanted), None)).jobs)

    with as_user(tenant):
        assert await count(service="sales") == 4
        assert await count(queue="high") == 3
        assert await count(service="sales", queue="high") == 1
        assert await count(state="JOB_STATE_RUNNING") == 0
        assert await count(name="erp.sales.v1.OrderCancelled") == 0
        assert await count(name="erp.sales.v1.OrderSettled") == 6
        queues = await desk.ListQueues(pb.ListQueuesRequest(), None)
    waiting = {(q.service, q.queue): q.ready for q in queues.queues if q.ready}
    assert waiting == {("sales", "low"): 3, ("sales", "high"): 1, ("gateway", "high"): 2}


async def test_what_no_service_has_is_not_found(desk: JobServicer, tenant: UUID) -> None:
    with as_user(tenant):
        for call, request in (
            (desk.GetJob, pb.GetJobRequest),
            (desk.RetryFailedJob, pb.RetryFailedJobRequest),
            (desk.CancelBatch, pb.CancelBatchRequest),
        ):
            with pytest.raises(NotFound):
                await call(request(id=str(ids.new())), None)
        with pytest.raises(InvalidRequest):
            await desk.ListJobs(pb.ListJobsRequest(page_token="bm9uc2Vuc2U"), None)


async def test_a_batch_is_found_and_called_off_in_its_service(
    desk: JobServicer, sales: Database, tenant: UUID
) -> None:
    made: list[UUID] = []
    with as_user(tenant):
        async with sales.tenant_transaction() as tx:
            messages = [OrderCancelled(order_id=str(number)) for number in range(4)]
            made.append(jobs.batch(tx, messages, name="mails"))

        batch = await desk.CancelBatch(pb.CancelBatchRequest(id=str(made[0])), None)
        listed = await desk.ListBatches(pb.ListBatchesRequest(), None)

    assert (batch.service, batch.cancelled, batch.total) == ("sales", 4, 4)
    assert list(listed.batches) == [batch]


async def test_more_than_a_thousand_waiting_jobs_degrade_the_system(
    sales: Database, servers: TestServers, tenant: UUID
) -> None:
    class Away:
        async def CountReady(self, request: Any) -> Any:
            raise Unavailable("inventory")

    check = queues_are_short({"sales": OwnJobs("sales", sales), "inventory": Away()})
    with psycopg.connect(servers.database("sales").operator) as connection:
        connection.execute("DELETE FROM jobs")

    await enqueue(sales, tenant, MOST_WAITING)
    short = await check()
    await enqueue(sales, tenant, 1)

    assert (short, await check()) == ("ok", "degraded")
    with psycopg.connect(servers.database("sales").operator) as connection:
        connection.execute("DELETE FROM jobs")
