"""The gateway's process: built here once, from the inside out."""

import asyncio
import contextlib
import dataclasses
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import structlog
from redis.asyncio import Redis
from starlette.types import ASGIApp

import gateway
from common import outbox, runtime
from common.cache import Cache
from common.channel import Channel
from common.command_line import WorkerOptions
from common.database import Database, Flush, RingDoorbell, habits_of
from common.doorbell import Doorbell
from common.event_log import EventLogServicer
from common.identity import verifier_of
from common.jobs.bell import JobBell
from common.jobs.enqueueing import store_jobs
from common.jobs.handlers import handlings_of, queues_of
from common.mailer import Mailer
from common.mailing import sending_by
from common.process import Stop
from common.rate_limit import RateLimiter
from common.redis_clients import Role, open_redis
from common.repetitions import Repetitions
from common.runtime import Runtime
from common.sealing import Seal
from common.server import Server, Service
from common.settings import Settings
from common.tasks import end
from erp.audit.v1 import audit_pb2
from erp.events.v1 import events_pb2, events_pb2_grpc
from erp.gateway.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    gateway_service_pb2,
    gateway_service_pb2_grpc,
)
from gateway import (
    accounts,
    api_tokens,
    export_notices,
    invariants_watch,
    listeners,
    operators,
    peers,
    tenants,
    webhook_notices,
)
from gateway.api import Api
from gateway.audit_pages import AuditLogs
from gateway.audit_servicer import AuditServicer
from gateway.contract import SERVICES, all_services
from gateway.doorstep import Doorstep
from gateway.entrance import Entrance
from gateway.event_bells import Bells
from gateway.event_pages import EventPages
from gateway.event_setup import LIST_EVENTS, feed_service, streams_of, told
from gateway.event_stream import EventStreams
from gateway.feed import Feed
from gateway.figures import FIGURES
from gateway.forgery import Origins
from gateway.forgetting import forgetting_by
from gateway.health import Readiness, SystemHealth, is_there, queues_are_short, serves
from gateway.http_server import HttpServer
from gateway.invariants import Auditor, Invariants, own_head
from gateway.job_wiring import job_service, jobs_of_all
from gateway.kept_records import KeptRecords
from gateway.limits import RequestLimits
from gateway.plans import Plans
from gateway.publisher import Publisher
from gateway.routes import Routes
from gateway.servicer import EventPublisherServicer, GatewayServicer
from gateway.settled_answers import SettledAnswers
from gateway.site import site
from gateway.tenant_data_setup import handlers_of
from gateway.tenant_exports import SYSTEM_REASON as OLD_EXPORTS
from gateway.webhook_deliveries import SYSTEM_REASON as OLD_DELIVERIES
from gateway.webhook_setup import sender_of, webhook_service

NAME = peers.OWN_NAME
# Modules with the gateway's handlers of jobs.
HANDLERS: tuple[ModuleType, ...] = (webhook_notices, export_notices)
SYSTEM_REASONS = frozenset(
    {
        api_tokens.LOOKUP,
        accounts.LOGIN,
        operators.SYSTEM_REASON,
        tenants.LOOKUP,
        OLD_DELIVERIES,
        OLD_EXPORTS,
        *runtime.SYSTEM_REASONS,
    }
)
_OWN = gateway_service_pb2.DESCRIPTOR.services_by_name
_EVENTS = events_pb2.DESCRIPTOR.services_by_name
_AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
_AUDITOR = audit_pb2.DESCRIPTOR.services_by_name["Auditor"]

log = structlog.get_logger()


def open_database(
    settings: Settings,
    ring: RingDoorbell | None = None,
    flush: Flush | None = None,
    wake: RingDoorbell | None = None,
) -> Database:
    """The gateway's database.

    Args:
        settings: say where it is.
        ring: told of its events.
        flush: told of what they outdate.
        wake: told of its jobs.
    """
    return Database(
        settings.need_secret("database_url"),
        settings.need_secret("system_database_url"),
        system_reasons=SYSTEM_REASONS,
        write_events=outbox.write_events(NAME),
        ring=ring,
        write_jobs=store_jobs(queues_of(handlings_of(HANDLERS))),
        wake=wake,
        flush=flush,
        pool_size=settings.database_pool,
        service=NAME,
        replicas=settings.read_hosts,
        most_lag_seconds=settings.replica_lag_seconds,
        habits=habits_of(settings),
    )


def migrate(settings: Settings) -> None:
    """Bring the gateway's database to the newest schema."""
    runtime.migrate(gateway, settings)


async def serve(settings: Settings, stop: Stop) -> None:
    """Serve REST and gRPC until told to stop, then finish what has begun."""
    async with AsyncExitStack() as opened:
        gateway = await _Gateway.open(settings, opened)
        await stop.wait()
        gateway.readiness.drain()
        async with _hastened_by(stop, gateway.http):
            await _pause(stop, settings.drain_wait_seconds)
            # After the pause: whoever comes back at once is to find another process.
            gateway.streams.end()
            # REST first: its requests may still need what is served over gRPC here.
            await gateway.http.stop()
        await gateway.grpc.drain(stop)


async def work(settings: Settings, stop: Stop, options: WorkerOptions) -> None:
    """Do the gateway's jobs and duties until told to stop."""
    reasons = SYSTEM_REASONS | {invariants_watch.SYSTEM_REASON}
    handlers: list[Any] = [*HANDLERS, sender_of(settings).handlers]
    opened = Runtime(NAME, settings, reasons, handlers)
    channels = {
        name: opened.channel(name, _AUDITOR, runtime.AUDIT_LOG, runtime.TENANT_ROWS)
        for name in SERVICES
        if name != NAME
    }
    opened.handle(*handlers_of(channels, opened.database), forgetting_by(opened.database))
    audit_logs = AuditLogs(peers.audit_logs(channels, opened.database))
    invariants = _invariants(channels, opened.database, audit_logs)
    seconds = settings.invariants_seconds
    duties = invariants_watch.duties(invariants.check, opened.database, seconds)
    with sending_by(Mailer(settings)):
        await opened.work(stop, options, listeners, duties, FIGURES)


@dataclass(frozen=True)
class _Gateway:
    """The running servers."""

    http: HttpServer
    grpc: Server
    readiness: Readiness
    streams: EventStreams

    @classmethod
    async def open(cls, settings: Settings, opened: AsyncExitStack) -> "_Gateway":
        """Start everything; what `opened` holds afterwards ends in reverse order."""
        publishing = _redis(settings, opened, Role.EVENTS)
        routes = Routes(all_services())
        cache = Cache(_redis(settings, opened, Role.CACHE), settings.cache_prefix)
        kept = KeptRecords(cache, routes.all)
        channels = peers.channels(settings, opened)
        logs = peers.event_logs(channels)
        bells = Bells(logs, lambda: feed.connected)
        feed = _feed(routes, _redis(settings, opened, Role.QUEUE), bells)
        publisher = Publisher(publishing, feed, told(bells, kept))
        doorbell = Doorbell(NAME, publisher.publish)
        job_bell = JobBell(NAME, publishing)
        database = open_database(settings, doorbell.ring, cache.flush_of, job_bell.ring)
        logs[NAME] = EventLogServicer(NAME, database)
        jobs = jobs_of_all(channels, NAME, database)
        opened.push_async_callback(database.close)
        entrance = _entrance(settings, opened, database, cache, peers.auditors(channels))
        pages = EventPages(logs)
        more = [*entrance.services, *_outwards(settings, database, pages), job_service(jobs)]
        grpc = _grpc_server(settings, channels, database, publisher, more)
        await grpc.start()
        own = peers.connect_to(f"127.0.0.1:{grpc.port}", NAME, settings)
        opened.push_async_callback(own.close)

        readiness = Readiness(is_there(database.ping))
        streams = streams_of(settings, pages, bells)
        calls = partial(Api, routes, {**channels, NAME: own}, entrance.door)
        limits, opening = _limits(settings, opened), {LIST_EVENTS: streams.open}
        settled = SettledAnswers(database)
        api = calls(limits, feed, kept, settled, opening, **_api_options(settings))
        health = _system_health(channels, database, publishing, jobs)
        http = _http_server(settings, partial(site, api, routes, health), readiness)
        sessions = entrance.sessions
        running = (one.run() for one in (cache, doorbell, job_bell, feed, bells, sessions))
        _run_until_closed(opened, *running, readiness.watch(), health.watch())
        await http.start()
        return cls(http, grpc, readiness, streams)


def _grpc_server(
    settings: Settings,
    channels: Mapping[str, Channel],
    database: Database,
    publisher: Publisher,
    more: Sequence[Service],
) -> Server:
    audit_logs = AuditLogs(peers.audit_logs(channels, database))
    servicer = GatewayServicer(database, _invariants(channels, database, audit_logs))
    add_audit = audit_service_pb2_grpc.add_AuditServiceServicer_to_server
    add_gateway = gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server
    add_publisher = events_pb2_grpc.add_EventPublisherServicer_to_server
    add_log = events_pb2_grpc.add_EventLogServicer_to_server
    services = [
        Service(_OWN["GatewayService"], add_gateway, servicer),
        Service(_AUDIT, add_audit, AuditServicer(audit_logs)),
        Service(_EVENTS["EventPublisher"], add_publisher, EventPublisherServicer(publisher)),
        Service(_EVENTS["EventLog"], add_log, EventLogServicer(NAME, database)),
        *more,
    ]
    # The wait before the end is the gateway's as a whole, not that of each of its servers.
    settings = dataclasses.replace(settings, drain_wait_seconds=0.0)
    verifier = verifier_of(settings, NAME)
    checks = {"database": database.ping}
    # The key of sessions, for another purpose.
    seal = Seal.from_text(settings.need_secret("session_key"))
    return Server(NAME, settings, services, verifier, checks, Repetitions(database, seal))


def _feed(routes: Routes, listening: Redis, bells: Bells) -> Feed:
    return Feed(_settlement_events(routes), listening, bells.hear)


def _api_options(settings: Settings) -> dict[str, Any]:
    origins = Origins(settings.trusted_origins)
    return {
        "origins": origins,
        "timeout_seconds": settings.request_timeout_seconds,
        "tenant_turns": settings.tenant_turns,
    }


def _entrance(
    settings: Settings,
    opened: AsyncExitStack,
    database: Database,
    cache: Cache,
    auditors: Mapping[str, Auditor],
) -> Entrance:
    of_sessions = _redis(settings, opened, Role.SESSIONS)
    of_logins = _redis(settings, opened, Role.LOGINS)
    return Entrance.of(settings, database, of_sessions, of_logins, cache, auditors)


def _outwards(settings: Settings, database: Database, pages: EventPages) -> list[Service]:
    return [feed_service(pages), webhook_service(settings, database, pages)]


def _limits(settings: Settings, opened: AsyncExitStack) -> RequestLimits:
    redis = _redis(settings, opened, Role.LIMITS)
    limiter = RateLimiter(redis, replicas=settings.gateway_replicas)
    return RequestLimits(limiter, Plans(settings.api_rate_limit), settings.trusted_proxies)


def _http_server(
    settings: Settings, pages: Callable[..., ASGIApp], readiness: Readiness
) -> HttpServer:
    app = Doorstep(
        pages(lambda: readiness.is_ready, settings.app_url),
        settings.trusted_origins,
        behind_proxies=settings.trusted_proxies > 0,
    )
    shared, grace = settings.shared_port, settings.shutdown_grace_seconds
    return HttpServer(app, settings.http_bind, shared=shared, grace_seconds=grace)


def _invariants(
    channels: Mapping[str, Channel], database: Database, audit_logs: AuditLogs
) -> Invariants:
    event_log_of: Any = events_pb2_grpc.EventLogStub
    auditors = peers.auditors(channels)
    head, untouched = partial(own_head, database), audit_logs.violations
    return Invariants(auditors, event_log_of(channels["sales"]), head, untouched)


def _system_health(
    channels: Mapping[str, Channel], database: Database, redis: Redis, jobs: Mapping[str, Any]
) -> SystemHealth:
    return SystemHealth(
        {
            "database": is_there(database.ping),
            "redis": is_there(redis.ping),
            "queue": queues_are_short(jobs),
            **{name: serves(channel) for name, channel in channels.items()},
        }
    )


def _redis(settings: Settings, opened: AsyncExitStack, role: Role) -> Redis:
    redis = open_redis(settings, role)
    opened.push_async_callback(redis.aclose)
    return redis


def _settlement_events(routes: Routes) -> set[str]:
    settlements = (route.policy.settlement for route in routes.all)
    return {settlement.event for settlement in settlements if settlement and settlement.event}


def _run_until_closed(opened: AsyncExitStack, *loops: Coroutine[Any, Any, None]) -> None:
    for loop in loops:
        opened.push_async_callback(end, asyncio.create_task(loop))


async def _pause(stop: Stop, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.hastened.wait()


@asynccontextmanager
async def _hastened_by(stop: Stop, http: HttpServer) -> AsyncIterator[None]:
    """Let a second request to stop cut short what is inside."""

    async def hasten() -> None:
        await stop.hastened.wait()
        http.hasten()

    async with AsyncExitStack() as opened:
        _run_until_closed(opened, hasten())
        yield
