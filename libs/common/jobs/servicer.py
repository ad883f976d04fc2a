"""Wire in, wire out: the jobs of one service, for the caller's tenant."""

from typing import Any

from sqlalchemy import Row

from common import ids
from common.database import Database
from common.jobs import batches, failures, queues, records
from common.pagination import Page
from common.wire import enum_value, enum_word, timestamp
from erp.jobs.v1 import job_service_pb2 as pb
from erp.jobs.v1 import job_service_pb2_grpc as rpc
from erp.jobs.v1.jobs_pb2 import Batch, BatchState, FailedJob, FailedJobKind, Job, JobState, Queue

__all__ = ["JobServicer"]


class JobServicer(rpc.JobServiceServicer):
    """Shows the jobs of the service called `service`, and lets operators decide about them."""

    def __init__(self, service: str, database: Database) -> None:
        self._service = service
        self._database = database

    async def ListJobs(
        self, request: pb.ListJobsRequest, context: Any = None
    ) -> pb.ListJobsResponse:
        """List jobs."""
        page, wanted = Page.of_part(request), _given(queue=request.queue, name=request.name)
        wanted |= _given(state=enum_word(JobState, request.state))
        rows = await self._database.read(lambda tx: records.list_jobs(tx, page, **wanted))
        return pb.ListJobsResponse(jobs=map(self._job, rows))

    async def GetJob(self, request: pb.GetJobRequest, context: Any = None) -> Job:
        """Read a job."""
        job_id = ids.parse(request.id, "id")
        return self._job(await self._database.read(lambda tx: records.get_job(tx, job_id)))

    async def ListFailedJobs(
        self, request: pb.ListFailedJobsRequest, context: Any = None
    ) -> pb.ListFailedJobsResponse:
        """List failures."""
        page, wanted = Page.of_part(request), _given(name=request.name)
        wanted |= _given(kind=enum_word(FailedJobKind, request.kind))
        rows = await self._database.read(lambda tx: failures.list_failures(tx, page, **wanted))
        return pb.ListFailedJobsResponse(failed_jobs=map(self._failure, rows))

    async def GetFailedJob(self, request: pb.GetFailedJobRequest, context: Any = None) -> FailedJob:
        """Read a failure."""
        failure_id = ids.parse(request.id, "id")
        return self._failure(
            await self._database.read(lambda tx: failures.get_failure(tx, failure_id))
        )

    async def RetryFailedJob(
        self, request: pb.RetryFailedJobRequest, context: Any = None
    ) -> FailedJob:
        """Have it tried again."""
        failure_id = ids.parse(request.id, "id")
        row = await self._database.run(lambda tx: failures.retry(tx, failure_id))
        return self._failure(row)

    async def DiscardFailedJob(
        self, request: pb.DiscardFailedJobRequest, context: Any = None
    ) -> FailedJob:
        """Give it up."""
        failure_id = ids.parse(request.id, "id")
        row = await self._database.run(lambda tx: failures.discard(tx, failure_id))
        return self._failure(row)

    async def ListBatches(
        self, request: pb.ListBatchesRequest, context: Any = None
    ) -> pb.ListBatchesResponse:
        """List batches."""
        page = Page.of_part(request)
        rows = await self._database.read(lambda tx: batches.list_batches(tx, page))
        return pb.ListBatchesResponse(batches=map(self._batch, rows))

    async def GetBatch(self, request: pb.GetBatchRequest, context: Any = None) -> Batch:
        """Read a batch."""
        batch_id = ids.parse(request.id, "id")
        return self._batch(await self._database.read(lambda tx: batches.get_batch(tx, batch_id)))

    async def CancelBatch(self, request: pb.CancelBatchRequest, context: Any = None) -> Batch:
        """Call off what has not begun."""
        batch_id = ids.parse(request.id, "id")
        return self._batch(await self._database.run(lambda tx: batches.cancel(tx, batch_id)))

    async def ListQueues(
        self, request: pb.ListQueuesRequest, context: Any = None
    ) -> pb.ListQueuesResponse:
        """Say what waits."""
        rows = await self._database.read(queues.list_queues)
        return pb.ListQueuesResponse(
            queues=[Queue(service=self._service, **row._mapping) for row in rows]  # noqa: SLF001 (public in spite of its name)
        )

    async def CountReady(
        self, request: pb.CountReadyRequest, context: Any = None
    ) -> pb.CountReadyResponse:
        """Count what is ready over all tenants."""
        ready = await queues.count_ready(self._database, request.limit)
        return pb.CountReadyResponse(ready=ready)

    def _job(self, row: Row[Any]) -> Job:
        return Job(
            id=str(row.id),
            service=self._service,
            name=row.name,
            queue=row.queue,
            state=enum_value(JobState, row.state),
            attempt=row.attempt,
            done=row.done,
            total=row.total,
            error=row.error,
            batch_id=str(row.batch_id or ""),
            chain_id=str(row.chain_id or ""),
            request_id=row.request_id,
            create_time=timestamp(row.created_at),
            ready_time=timestamp(row.ready_at),
            start_time=timestamp(row.started_at),
            end_time=timestamp(row.ended_at),
        )

    def _failure(self, row: Row[Any]) -> FailedJob:
        return FailedJob(
            id=str(row.id),
            service=self._service,
            kind=enum_value(FailedJobKind, row.kind),
            name=row.name,
            queue=row.queue,
            error=row.error,
            attempts=row.attempts,
            job_id=str(row.job_id or ""),
            source=row.source,
            sequence=row.sequence,
            request_id=row.request_id,
            fail_time=timestamp(row.failed_at),
            retry_time=timestamp(row.retry_wanted_at),
        )

    def _batch(self, row: Row[Any]) -> Batch:
        return Batch(
            id=str(row.id),
            service=self._service,
            name=row.name,
            state=enum_value(BatchState, row.state),
            total=row.total,
            succeeded=row.succeeded,
            failed=row.failed,
            cancelled=row.cancelled,
            create_time=timestamp(row.created_at),
            end_time=timestamp(row.finished_at),
        )


def _given(**values: str) -> dict[str, str]:
    """Those that are not empty."""
    return {name: value for name, value in values.items() if value}
