"""How the gateway reaches the jobs of all services, its own among them."""

from collections.abc import Mapping
from typing import Any

from common.channel import Channel
from common.database import Database
from common.jobs.servicer import JobServicer as OwnJobs
from common.server import Service
from erp.gateway.v1 import job_service_pb2, job_service_pb2_grpc
from erp.jobs.v1 import job_service_pb2_grpc as jobs_of_services
from gateway.job_servicer import JobServicer
from gateway.service_desk import ServiceDesk

__all__ = ["job_service", "jobs_of_all"]

_OFFERED = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]


def jobs_of_all(channels: Mapping[str, Channel], name: str, database: Database) -> dict[str, Any]:
    """The jobs of each service by its name; the gateway's, called `name`, are in its database."""
    stub: Any = jobs_of_services.JobServiceStub
    others = {service: stub(channel) for service, channel in channels.items()}
    return {**others, name: OwnJobs(name, database)}


def job_service(jobs: Mapping[str, Any]) -> Service:
    """What the gateway offers of them."""
    register = job_service_pb2_grpc.add_JobServiceServicer_to_server
    return Service(_OFFERED, register, JobServicer(ServiceDesk(jobs)))
