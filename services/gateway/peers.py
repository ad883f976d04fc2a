"""The other services, as the gateway asks them: channels, and what stands at their ends."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from common.audit_log import AuditLogServicer
from common.certificates import certificates_of
from common.channel import Channel, connect
from common.database import Database
from common.identity import minter_of
from common.rpc_policy import read_policies
from common.runtime import AUDIT_LOG
from common.settings import Settings
from erp.audit.v1 import audit_log_pb2_grpc, audit_pb2, audit_pb2_grpc
from erp.events.v1 import events_pb2, events_pb2_grpc
from erp.jobs.v1 import job_service_pb2
from gateway.contract import SERVICES
from gateway.invariants import Auditor

OWN_NAME = "gateway"
_EVENTS = events_pb2.DESCRIPTOR.services_by_name
_JOBS = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
_AUDITOR = audit_pb2.DESCRIPTOR.services_by_name["Auditor"]


def event_logs(channels: Mapping[str, Channel]) -> dict[str, Any]:
    """The events of the other services."""
    stub: Any = events_pb2_grpc.EventLogStub
    return {name: stub(channel) for name, channel in channels.items()}


def audit_logs(channels: Mapping[str, Channel], database: Database) -> dict[str, Any]:
    """The audit logs of all services."""
    stub: Any = audit_log_pb2_grpc.AuditLogStub
    others = {name: stub(channel) for name, channel in channels.items()}
    return {**others, OWN_NAME: AuditLogServicer(OWN_NAME, database)}


def auditors(channels: Mapping[str, Channel]) -> dict[str, Auditor]:
    """The checks of the other services."""
    auditor: Any = audit_pb2_grpc.AuditorStub
    return {name: auditor(channel) for name, channel in channels.items()}


def channels(settings: Settings, opened: AsyncExitStack) -> dict[str, Channel]:
    """Channels to the other services by name, closed with `opened`."""
    found = {
        name: connect_to(settings.need_target(name), name, settings)
        for name in SERVICES
        if name != OWN_NAME
    }
    for channel in found.values():
        opened.push_async_callback(channel.close)
    return found


def connect_to(target: str, service: str, settings: Settings) -> Channel:
    """A channel to a service, for all that the gateway asks of it."""
    inner = (_EVENTS["EventLog"], _AUDITOR, AUDIT_LOG, _JOBS)
    policies = read_policies(*SERVICES[service], *inner)
    certificates = certificates_of(settings)
    return connect(target, service, minter_of(settings), policies, certificates=certificates)
