"""What every domain service's process opens, and closes in the end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from redis.asyncio import Redis

from common import audit_seals, event_log, figures, outbox, partitions, tenant_rows
from common.audit_log import AuditLogServicer
from common.audit_seals import seal_audit_log
from common.cache import Cache
from common.certificates import certificates_of
from common.channel import Channel, connect
from common.command_line import WorkerOptions
from common.database import Database, habits_of
from common.doorbell import Doorbell
from common.duties import Duty
from common.event_log import EventLogServicer
from common.figures import OF_EVERY_DATABASE, Figure
from common.health import Health
from common.identity import minter_of, verifier_of
from common.jobs import tables
from common.jobs.attempts import Limits
from common.jobs.batches import forget_batches
from common.jobs.bell import JobBell
from common.jobs.enqueueing import store_jobs
from common.jobs.handlers import handlings_of, queues_of
from common.jobs.schedules import keep_schedules, schedules_of
from common.jobs.servicer import JobServicer
from common.listening import Lane, lanes_of
from common.locks import Locks
from common.parked_events import SYSTEM_REASON as PARKED_EVENTS
from common.parked_events import retry_parked_events
from common.partitions import keep_partitions
from common.probed_port import probed
from common.process import Stop
from common.redis_clients import Role, open_redis
from common.repetitions import Repetitions
from common.rpc_policy import read_policies
from common.server import Service, serve
from common.settings import Settings
from common.tasks import end
from common.tenant_rows_servicer import TenantRowsServicer
from erp.audit.v1 import audit_log_pb2, audit_log_pb2_grpc, audit_pb2, audit_pb2_grpc
from erp.events.v1 import events_pb2, events_pb2_grpc
from erp.events.v1.events_pb2 import Event, PublishRequest
from erp.jobs.v1 import job_service_pb2, job_service_pb2_grpc
from erp.tenants.v1 import tenant_rows_service_pb2, tenant_rows_service_pb2_grpc

EVENT_LOG = events_pb2.DESCRIPTOR.services_by_name["EventLog"]
EVENT_PUBLISHER = events_pb2.DESCRIPTOR.services_by_name["EventPublisher"]
JOBS = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
AUDITOR = audit_pb2.DESCRIPTOR.services_by_name["Auditor"]
AUDIT_LOG = audit_log_pb2.DESCRIPTOR.services_by_name["AuditLog"]
TENANT_ROWS = tenant_rows_service_pb2.DESCRIPTOR.services_by_name["TenantRows"]
# What every service looks past tenants for.
SYSTEM_REASONS = frozenset(
    {
        event_log.SYSTEM_REASON,
        partitions.SYSTEM_REASON,
        figures.SYSTEM_REASON,
        audit_seals.SYSTEM_REASON,
        tables.SYSTEM_REASON,
        PARKED_EVENTS,
        tenant_rows.SYSTEM_REASON,
    }
)


class Runtime:
    """The database, the channels and the doorbell of one process of a service.

    Args:
        name: the service.
        settings: what the environment says.
        system_reasons: what it may look past tenants for, besides events, jobs and partitions.
        handlers: modules with its handlers of jobs. A server needs them too: they say into which
            queue what it enqueues belongs.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        system_reasons: frozenset[str] = frozenset(),
        handlers: Sequence[ModuleType | SimpleNamespace] = (),
    ) -> None:
        self.name = name
        self.settings = settings
        self.handlings = handlings_of(handlers)
        self.schedules = schedules_of(handlers)
        self._minter = minter_of(settings)
        self._certificates = certificates_of(settings)
        self._channels: dict[str, Channel] = {}
        self._opened = contextlib.AsyncExitStack()
        gateway = events_pb2_grpc.EventPublisherStub(self.channel("gateway", EVENT_PUBLISHER))
        self._doorbell = Doorbell(name, _publishing(gateway))
        self._bell = JobBell(name, self._closed_in_the_end(open_redis(settings, Role.EVENTS)))
        redis = self._closed_in_the_end(open_redis(settings, Role.CACHE))
        self.cache = Cache(redis, settings.cache_prefix)
        self.database = Database(
            settings.need_secret("database_url"),
            settings.need_secret("system_database_url"),
            system_reasons=system_reasons | SYSTEM_REASONS,
            write_events=outbox.write_events(name),
            ring=self._doorbell.ring,
            write_jobs=store_jobs(queues_of(self.handlings)),
            wake=self._bell.ring,
            flush=self.cache.flush_of,
            pool_size=settings.database_pool,
            service=name,
            replicas=settings.read_hosts,
            most_lag_seconds=settings.replica_lag_seconds,
            habits=habits_of(settings),
        )

    def handle(self, *handlers: ModuleType | SimpleNamespace) -> None:
        """Do these jobs as well, and by these schedules: handlers that need what is open by now."""
        self.handlings = {**self.handlings, **handlings_of(handlers)}
        self.schedules = [*self.schedules, *schedules_of(handlers)]

    @cached_property
    def locks(self) -> Locks:
        """The process's locks, on a connection of their own. Opened when first asked for.

        Raises:
            SettingsError: no variable says where Redis is.
        """
        redis = self._closed_in_the_end(open_redis(self.settings, Role.LOCKS))
        locks = Locks(redis, self.name)
        self._opened.push_async_callback(locks.close)
        return locks

    def channel(self, service: str, *descriptors: ServiceDescriptor) -> Channel:
        """A channel to another service, for the rpcs of these of its gRPC services."""
        if service not in self._channels:
            policies = read_policies(*descriptors, EVENT_LOG)
            target = self.settings.need_target(service)
            self._channels[service] = connect(
                target, service, self._minter, policies, certificates=self._certificates
            )
        return self._channels[service]

    async def serve(self, stop: Stop, *services: Service, auditor: Any) -> None:
        """Serve these gRPC services, the event log and the auditor until told to stop."""
        log, audit = events_pb2_grpc, audit_pb2_grpc
        shared = (
            Service(
                EVENT_LOG,
                log.add_EventLogServicer_to_server,
                EventLogServicer(self.name, self.database),
            ),
            Service(AUDITOR, audit.add_AuditorServicer_to_server, auditor),
            Service(
                JOBS,
                job_service_pb2_grpc.add_JobServiceServicer_to_server,
                JobServicer(self.name, self.database),
            ),
            Service(
                AUDIT_LOG,
                audit_log_pb2_grpc.add_AuditLogServicer_to_server,
                AuditLogServicer(self.name, self.database),
            ),
            Service(
                TENANT_ROWS,
                tenant_rows_service_pb2_grpc.add_TenantRowsServicer_to_server,
                TenantRowsServicer(self.database),
            ),
        )
        async with self._ringing():
            await serve(
                self.name,
                self.settings,
                stop,
                [*services, *shared],
                verifier_of(self.settings, self.name),
                {"database": self.database.ping},
                Repetitions(self.database),
            )

    async def work(
        self,
        stop: Stop,
        options: WorkerOptions,
        listeners: ModuleType | None = None,
        duties: Sequence[Duty] = (),
        business: Sequence[Figure] = (),
    ) -> None:
        """Listen and do jobs of the wanted queues until told to stop.

        Args:
            stop: tells when.
            options: which queues.
            listeners: the module of the listeners.
            duties: recurring work.
            business: what Prometheus is told of the service's own tables.
        """
        redis = self._closed_in_the_end(open_redis(self.settings, Role.QUEUE))
        workers = (
            self._event_worker(options, listeners, redis, duties),
            self._job_worker(options, redis),
        )
        health = Health([], {"database": self.database.ping})
        shown = figures.show(self.name, self.database, [*OF_EVERY_DATABASE, *business])
        async with self._ringing(shown), probed(self.settings, health):
            tasks = [asyncio.create_task(worker.run()) for worker in workers]
            stopped = asyncio.create_task(stop.wait())
            # One that ends by itself is broken: so does the process, and is started again.
            await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            for worker in workers:
                worker.stop()
            await asyncio.gather(*tasks)

    def _event_worker(
        self,
        options: WorkerOptions,
        listeners: ModuleType | None,
        redis: Redis,
        duties: Sequence[Duty],
    ) -> Any:
        # Servers do not need it.
        from common.worker import EventWorker  # noqa: PLC0415

        lanes = [
            lane
            for lane in (lanes_of(listeners) if listeners else [])
            if not options.queues or lane.queue in options.queues
        ]
        logs = self._logs(lane.source for lane in lanes)
        duties = [*duties, *self._own_duties(lanes_of(listeners) if listeners else [])]
        return EventWorker(self.name, self.database, lanes, logs, redis, self.locks, duties)

    def _own_duties(self, lanes: Sequence[Lane]) -> list[Duty]:
        queues = queues_of(self.handlings)
        return [
            keep_partitions(self.database),
            seal_audit_log(self.name, self.database),
            forget_batches(self.database),
            keep_schedules(self.database, self.schedules, queues, self._bell),
            retry_parked_events(self.name, self.database, lanes),
        ]

    def _job_worker(self, options: WorkerOptions, redis: Redis) -> Any:
        from common.jobs.worker import JobWorker, Pace  # noqa: PLC0415

        return JobWorker(
            self.name,
            self.database,
            self.handlings,
            options.queues or tables.QUEUES,
            redis,
            self._bell,
            Limits(options.tries, options.timeout_seconds),
            Pace.of(self.settings),
        )

    def _closed_in_the_end(self, redis: Redis) -> Redis:
        self._opened.push_async_callback(redis.aclose)
        return redis

    def _logs(self, sources: Iterable[str]) -> dict[str, Any]:
        return {
            source: events_pb2_grpc.EventLogStub(self.channel(source, EVENT_LOG))
            for source in set(sources)
        }

    @contextlib.asynccontextmanager
    async def _ringing(self, *besides: Coroutine[Any, Any, None]) -> Any:
        """Ring the doorbell and mind the cache while what is inside goes on; then close all."""
        loops = (self._doorbell.run(), self._bell.run(), self.cache.run(), *besides)
        running = [asyncio.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            await end(*running)
            await self._opened.aclose()
            await self.database.close()
            await asyncio.gather(*(channel.close() for channel in self._channels.values()))


def migrate(service: ModuleType, settings: Settings) -> None:
    """Bring a service's database to the newest schema."""
    # Alembic is for this command alone.
    from common import migrations  # noqa: PLC0415

    folder = Path(str(service.__file__)).parent / "migrations"
    migrations.migrate(folder, settings.need_secret("migration_database_url"))


def _publishing(
    gateway: events_pb2_grpc.EventPublisherStub,
) -> Callable[[list[Event]], Awaitable[object]]:
    async def publish(events: list[Event]) -> object:
        return await gateway.Publish(PublishRequest(events=events))

    return publish
