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
from erp.jobs.v1.jobs_pb2 import Job, JobState
from erp.sales.v1.events_pb2 import OrderCancelled, OrderSettled
from gateway.health import MOST_WAITING, queues_are_short
from gateway.job_servicer import JobServicer
from gateway.service_desk import ServiceDesk

# The job was done so many days ago, and given up a while later.
DONE_BEFORE = """
    INSERT INTO finished_jobs (tenant_id, id, name, queue, state, request_id, attempt, done, total,
                               created_at, finished_at)
    SELECT tenant_id, id, name, queue, 'succeeded', request_id, 1, 0, 0, created_at,
           now() - make_interval(days => %(days)s)
    FROM jobs WHERE id = %(id)s
"""
PARKED_BEFORE = """
    INSERT INTO failed_jobs (tenant_id, id, kind, name, source, sequence, payload, error, attempts,
                             job_id, queue, created_at, failed_at)
    SELECT tenant_id, uuidv7(), 'job', name, '', 0, payload, 'worn out', 1, id, queue, created_at,
           now() - make_interval(days => %(days)s, mins => -1)
    FROM jobs WHERE id = %(id)s
"""


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
        ServiceDesk({"sales": OwnJobs("sales", sales), "gateway": OwnJobs("gateway", own)})
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


async def test_a_filter_holds_over_the_pages_of_all_services(
    desk: JobServicer, sales: Database, own: Database, tenant: UUID
) -> None:
    for queue, database in (("high", sales), ("low", own), ("low", sales), ("high", own)) * 3:
        await enqueue(database, tenant, 2, queue)
    asked = {"filter": "queue = low AND state = ready", "order_by": "id", "page_size": 5}
    pages: list[list[Job]] = []

    with as_user(tenant):
        tokens = [""]
        while tokens[-1] or not pages:
            page = await desk.ListJobs(pb.ListJobsRequest(page_token=tokens[-1], **asked), None)
            pages.append(list(page.jobs))
            tokens.append(page.next_page_token)
        for other in ({"filter": "queue = high"}, {"order_by": "id desc"}, {"service": "sales"}):
            request = pb.ListJobsRequest(page_token=tokens[1], **{**asked, **other})
            with pytest.raises(InvalidRequest, match="/page_token"):
                await desk.ListJobs(request, None)
        with pytest.raises(InvalidRequest, match="/filter must not name payload"):
            await desk.ListJobs(pb.ListJobsRequest(filter="payload = 1"), None)
        with pytest.raises(InvalidRequest, match=r"/order_by .* out of id"):
            await desk.ListJobs(pb.ListJobsRequest(order_by="name"), None)

    found = [job for page in pages for job in page]
    assert [len(page) for page in pages] == [5, 5, 2]
    assert [job.id for job in found] == sorted({job.id for job in found})
    assert {(job.queue, job.service) for job in found} == {("low", "sales"), ("low", "gateway")}


async def test_a_unique_job_is_listed_once_as_what_it_is_now(
    desk: JobServicer, sales: Database, servers: TestServers, tenant: UUID
) -> None:
    with as_user(tenant):
        async with sales.tenant_transaction() as tx:
            job_id = jobs.enqueue(tx, OrderSettled(order_id="1"), unique_key="1")
    with psycopg.connect(servers.database("sales").operator) as connection:
        for days in (2, 1):
            connection.execute(DONE_BEFORE, {"id": job_id, "days": days})
            connection.execute(PARKED_BEFORE, {"id": job_id, "days": days})

    async def states(**wanted: Any) -> list[str]:
        listed = await desk.ListJobs(pb.ListJobsRequest(**wanted), None)
        return [JobState.Name(job.state) for job in listed.jobs]

    with as_user(tenant):
        waits = [await states(), await states(filter="state = succeeded OR state = failed")]
        with psycopg.connect(servers.database("sales").operator) as connection:
            connection.execute("DELETE FROM jobs WHERE id = %s", [job_id])
        parked = [await states(), await states(filter="NOT state = failed")]
        read = await desk.GetJob(pb.GetJobRequest(id=str(job_id)), None)

    assert waits == [["JOB_STATE_READY"], []]
    assert parked == [["JOB_STATE_FAILED"], []]
    assert JobState.Name(read.state) == "JOB_STATE_FAILED"


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
        listed = await desk.ListBatches(pb.ListBatchesRequest(filter="state = cancelled"), None)
        running = await desk.ListBatches(pb.ListBatchesRequest(filter="state = running"), None)

    assert (batch.service, batch.cancelled, batch.total) == ("sales", 4, 4)
    assert (list(listed.batches), list(running.batches)) == ([batch], [])


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
