"""Wire in, wire out: jobs, batches, queues, and what failed for good."""

from typing import Any

from common.pagination import Page
from erp.gateway.v1 import job_service_pb2 as pb
from erp.gateway.v1 import job_service_pb2_grpc as rpc
from erp.jobs.v1 import job_service_pb2 as inner
from erp.jobs.v1.jobs_pb2 import Batch, FailedJob, Job
from gateway.job_desk import JobDesk


class JobServicer(rpc.JobServiceServicer):
    """The jobs of all services."""

    def __init__(self, desk: JobDesk) -> None:
        self._desk = desk

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        """List jobs."""
        wanted = inner.ListJobsRequest(state=request.state, queue=request.queue, name=request.name)
        page = Page.from_wire(request)
        jobs, token = await self._desk.page("ListJobs", request.service, wanted, page)
        return pb.ListJobsResponse(jobs=jobs, next_page_token=token)

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> Job:
        """Read a job."""
        job: Job = await self._desk.find("job", "GetJob", inner.GetJobRequest(id=request.id))
        return job

    async def ListFailedJobs(
        self, request: pb.ListFailedJobsRequest, context: Any
    ) -> pb.ListFailedJobsResponse:
        """List failures."""
        wanted = inner.ListFailedJobsRequest(kind=request.kind, name=request.name)
        page = Page.from_wire(request)
        failed, token = await self._desk.page("ListFailedJobs", request.service, wanted, page)
        return pb.ListFailedJobsResponse(failed_jobs=failed, next_page_token=token)

    async def GetFailedJob(self, request: pb.GetFailedJobRequest, context: Any) -> FailedJob:
        """Read a failure."""
        return await self._failure(request.id)

    async def RetryFailedJob(self, request: pb.RetryFailedJobRequest, context: Any) -> FailedJob:
        """Have a failure tried again."""
        service = (await self._failure(request.id)).service
        retry = inner.RetryFailedJobRequest(id=request.id)
        failure: FailedJob = await self._desk.call(service, "RetryFailedJob", retry)
        return failure

    async def DiscardFailedJob(
        self, request: pb.DiscardFailedJobRequest, context: Any
    ) -> FailedJob:
        """Give a failure up."""
        service = (await self._failure(request.id)).service
        discard = inner.DiscardFailedJobRequest(id=request.id)
        failure: FailedJob = await self._desk.call(service, "DiscardFailedJob", discard)
        return failure

    async def ListBatches(
        self, request: pb.ListBatchesRequest, context: Any
    ) -> pb.ListBatchesResponse:
        """List batches."""
        page = Page.from_wire(request)
        wanted = inner.ListBatchesRequest()
        found, token = await self._desk.page("ListBatches", request.service, wanted, page)
        return pb.ListBatchesResponse(batches=found, next_page_token=token)

    async def GetBatch(self, request: pb.GetBatchRequest, context: Any) -> Batch:
        """Read a batch."""
        return await self._batch(request.id)

    async def CancelBatch(self, request: pb.CancelBatchRequest, context: Any) -> Batch:
        """Call off what has not begun."""
        service = (await self._batch(request.id)).service
        cancel = inner.CancelBatchRequest(id=request.id)
        batch: Batch = await self._desk.call(service, "CancelBatch", cancel)
        return batch

    async def ListQueues(
        self, request: pb.ListQueuesRequest, context: Any
    ) -> pb.ListQueuesResponse:
        """Say what waits."""
        queues = await self._desk.all_of("ListQueues", inner.ListQueuesRequest())
        return pb.ListQueuesResponse(queues=queues)

    async def _failure(self, failure_id: str) -> FailedJob:
        request = inner.GetFailedJobRequest(id=failure_id)
        failure: FailedJob = await self._desk.find("failed job", "GetFailedJob", request)
        return failure

    async def _batch(self, batch_id: str) -> Batch:
        request = inner.GetBatchRequest(id=batch_id)
        batch: Batch = await self._desk.find("batch", "GetBatch", request)
        return batch
