"""Wire in, wire out: jobs, batches, queues, and what failed for good."""

from typing import Any

from erp.gateway.v1 import job_service_pb2 as pb
from erp.gateway.v1 import job_service_pb2_grpc as rpc
from erp.jobs.v1 import job_service_pb2 as inner
from erp.jobs.v1.jobs_pb2 import Batch, FailedJob, Job
from gateway.service_desk import ServiceDesk


class JobServicer(rpc.JobServiceServicer):
    """The jobs of all services."""

    def __init__(self, desk: ServiceDesk) -> None:
        self._desk = desk

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        """List jobs."""
        wanted = inner.ListJobsRequest()
        return await self._desk.page(request, wanted, pb.ListJobsResponse, request.service)

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> Job:
        """Read a job."""
        job: Job = await self._desk.find("job", inner.GetJobRequest(id=request.id))
        return job

    async def ListFailedJobs(
        self, request: pb.ListFailedJobsRequest, context: Any
    ) -> pb.ListFailedJobsResponse:
        """List failures."""
        wanted = inner.ListFailedJobsRequest()
        return await self._desk.page(request, wanted, pb.ListFailedJobsResponse, request.service)

    async def GetFailedJob(self, request: pb.GetFailedJobRequest, context: Any) -> FailedJob:
        """Read a failure."""
        return await self._failure(request.id)

    async def RetryFailedJob(self, request: pb.RetryFailedJobRequest, context: Any) -> FailedJob:
        """Have a failure tried again."""
        return await self._decide(inner.RetryFailedJobRequest(id=request.id))

    async def DiscardFailedJob(
        self, request: pb.DiscardFailedJobRequest, context: Any
    ) -> FailedJob:
        """Give a failure up."""
        return await self._decide(inner.DiscardFailedJobRequest(id=request.id))

    async def ListBatches(
        self, request: pb.ListBatchesRequest, context: Any
    ) -> pb.ListBatchesResponse:
        """List batches."""
        wanted = inner.ListBatchesRequest()
        return await self._desk.page(request, wanted, pb.ListBatchesResponse, request.service)

    async def GetBatch(self, request: pb.GetBatchRequest, context: Any) -> Batch:
        """Read a batch."""
        return await self._batch(request.id)

    async def CancelBatch(self, request: pb.CancelBatchRequest, context: Any) -> Batch:
        """Call off what has not begun."""
        service = (await self._batch(request.id)).service
        batch: Batch = await self._desk.call(service, inner.CancelBatchRequest(id=request.id))
        return batch

    async def ListQueues(
        self, request: pb.ListQueuesRequest, context: Any
    ) -> pb.ListQueuesResponse:
        """Say what waits."""
        queues = await self._desk.all_of(inner.ListQueuesRequest())
        return pb.ListQueuesResponse(queues=queues)

    async def _decide(
        self, decision: inner.RetryFailedJobRequest | inner.DiscardFailedJobRequest
    ) -> FailedJob:
        service = (await self._failure(decision.id)).service
        failure: FailedJob = await self._desk.call(service, decision)
        return failure

    async def _failure(self, failure_id: str) -> FailedJob:
        request = inner.GetFailedJobRequest(id=failure_id)
        failure: FailedJob = await self._desk.find("failed job", request)
        return failure

    async def _batch(self, batch_id: str) -> Batch:
        batch: Batch = await self._desk.find("batch", inner.GetBatchRequest(id=batch_id))
        return batch
