"""The process that follows other services' events and does a service's recurring duties."""

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import orjson
import structlog
from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common import caller
from common.database import LONGEST_TRANSACTION_SECONDS, Database
from common.duties import Duty
from common.errors import DomainError
from common.event_lag import EventLag, Key
from common.health import dependency_up
from common.listening import Lane
from common.locks import Locks, LockTimeout
from common.subscriptions import AWAY_SECONDS, LARGEST_BATCH, Moved, Subscription
from common.tasks import end
from erp.events.v1.events_pb2 import HeadsRequest, HeadsResponse, ReadRequest, ReadResponse

CHANNELS = "events:*"
POLL_SECONDS = 2.0
# Without doorbells polling is all there is.
POLL_SECONDS_WITHOUT_REDIS = 0.25
GATHERING_SECONDS = 0.006  # an event
LONGEST_GATHERING_SECONDS = 0.06
# A skipped stretch without an event of ours is stored once it is this long; until then it is only
# remembered.
STORED_SKIP = 1_000
# A worker that dies in the middle of a duty keeps the others from it no longer than this.
DUTY_TTL_SECONDS = 10.0

_DONE = Gauge(
    "kv_erp_duty_last_done_timestamp_seconds",
    "When this process last did a recurring duty, or began to take turns at it.",
    ["service", "duty"],
)
_PERIOD = Gauge(
    "kv_erp_duty_period_seconds", "How often a recurring duty is to be done.", ["service", "duty"]
)

log = structlog.get_logger()


class EventLogStub(Protocol):
    """Another service's event log."""

    def Read(self, request: ReadRequest) -> Awaitable[ReadResponse]: ...  # noqa: D102 (named by gRPC)

    def Heads(self, request: HeadsRequest) -> Awaitable[HeadsResponse]: ...  # noqa: D102 (named by gRPC)


class EventWorker:
    """Applies the events that a service listens to, woken by doorbells and by polling.

    Args:
        service: the service whose listeners these are.
        database: its database.
        lanes: its listeners; a worker may be given only some of them.
        logs: the event logs of their sources, by service.
        redis: where the doorbells ring.
        locks: let one worker of several do each duty.
        duties: recurring work.
        concurrency: most subscriptions that are caught up at once.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        lanes: Sequence[Lane],
        logs: dict[str, EventLogStub],
        redis: Redis,
        locks: Locks,
        duties: Sequence[Duty] = (),
        concurrency: int = 4,
    ) -> None:
        self._service = service
        self._database = database
        self._lanes = {(lane.name, lane.source): lane for lane in lanes}
        self._logs = logs
        self._redis = redis
        self._locks = locks
        self._duties = duties
        self._slots = asyncio.Semaphore(concurrency)
        self._subscriptions: dict[Key, Subscription] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._rung_again: set[Key] = set()
        self._stopping = asyncio.Event()
        self._redis_away = False
        self._lag = EventLag(service, list(self._lanes))

    async def run(self) -> None:
        """Work until `stop` is called, then finish the transactions at hand."""
        loops: list[Coroutine[Any, Any, None]] = [
            self._listen(),
            self._poll(),
            *map(self._repeat, self._duties),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            await self._stopping.wait()
        finally:
            await end(*tasks)
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def stop(self) -> None:
        """Take on nothing new."""
        self._stopping.set()

    async def _listen(self) -> None:
        """Wake a subscription when the doorbell rings for one of its events."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as bells:
                    await bells.psubscribe(CHANNELS)
                    self._redis_away = False
                    dependency_up("redis", up=True)
                    async for bell in bells.listen():
                        self._answer(bell["data"])
            except (RedisError, OSError) as error:
                if not self._redis_away:
                    log.warning("doorbell away, polling instead", error=str(error))
                self._redis_away = True
                dependency_up("redis", up=False)
                await asyncio.sleep(POLL_SECONDS_WITHOUT_REDIS)

    def _answer(self, bell: bytes) -> None:
        try:
            event = orjson.loads(bell)
            source, tenant_id = event["source"].removeprefix("/"), UUID(event["tenantid"])
        except (ValueError, KeyError, AttributeError):
            log.warning("unreadable doorbell", bell=bell[:200])
            return
        for lane in self._lanes.values():
            if lane.source == source and lane.hears(event["type"]):
                self._wake((lane.name, source, tenant_id))

    async def _poll(self) -> None:
        """Find what the doorbells missed."""
        # At first over all time, then over what no transaction still open can precede.
        since: datetime | None = None
        while True:
            started = datetime.now(UTC)
            try:
                for source in {lane.source for lane in self._lanes.values()}:
                    await self._look_for_news(source, since)
                since = started - timedelta(seconds=2 * LONGEST_TRANSACTION_SECONDS)
                self._lag.show()
            except DomainError as error:
                log.info("heads not read", error=str(error))
                since = None
            await asyncio.sleep(POLL_SECONDS_WITHOUT_REDIS if self._redis_away else POLL_SECONDS)

    async def _look_for_news(self, source: str, since: datetime | None) -> None:
        request = HeadsRequest()
        if since:
            request.changed_since.FromDatetime(since)
        with caller.acting_as(caller.service_caller(self._service, None)):
            heads = (await self._logs[source].Heads(request)).heads
        self._lag.heard(source)
        for head in heads:
            for lane in self._lanes.values():
                key = (lane.name, source, UUID(head.tenant_id))
                known = self._subscriptions.get(key)
                if lane.source == source and (known is None or known.seen < head.sequence):
                    self._lag.noticed(key, head.sequence, known.seen if known else 0)
                    self._wake(key)

    def _wake(self, key: Key) -> None:
        if key in self._running:
            self._rung_again.add(key)
        elif not self._stopping.is_set():
            self._running[key] = asyncio.create_task(self._catch_up(key))

    async def _catch_up(self, key: Key) -> None:
        name, source, tenant_id = key
        subscription = self._subscriptions.get(key)
        if subscription is None:
            lane = self._lanes[name, source]
            subscription = self._subscriptions[key] = Subscription(
                self._service, self._database, lane, tenant_id
            )
        try:
            with caller.acting_as(subscription.caller()):
                seconds = await self._follow(key, subscription)
        finally:
            del self._running[key]
        if seconds and not self._stopping.is_set():
            asyncio.get_running_loop().call_later(seconds, self._wake, key)

    async def _follow(self, key: Key, subscription: Subscription) -> float:
        """Apply until nothing is left; returns the seconds until the next look, 0 for none."""
        while not self._stopping.is_set():
            self._rung_again.discard(key)
            try:
                async with self._slots:
                    seconds, applied = await self._step(subscription)
            except Moved:
                subscription.seen = 0
                return AWAY_SECONDS
            except DomainError as error:
                log.info("subscription waits", lane=key[0], source=key[1], error=str(error))
                return AWAY_SECONDS
            except Exception:
                log.exception(
                    "subscription failed", lane=key[0], source=key[1], tenant_id=str(key[2])
                )
                return 5.0
            if seconds:
                return seconds
            if applied < LARGEST_BATCH:
                if key not in self._rung_again:
                    break
                # More came meanwhile. The more there was this time, the longer it may gather:
                # under load batches grow, a lone event is not kept waiting.
                await asyncio.sleep(min(applied * GATHERING_SECONDS, LONGEST_GATHERING_SECONDS))
        return 0.0

    async def _step(self, subscription: Subscription) -> tuple[float, int]:
        position = (
            subscription.position
            if subscription.position is not None
            else await subscription.load()
        )
        if position is None:
            return 0.0, 0
        lane = subscription.lane
        request = ReadRequest(after=position, types=lane.types, limit=LARGEST_BATCH)
        response = await self._logs[lane.source].Read(request)
        subscription.seen = response.position
        key = (lane.name, lane.source, subscription.tenant_id)
        if not response.events and response.position < position + STORED_SKIP:
            self._lag.applied(key, response.position)
            return 0.0, 0
        if response.events:
            oldest = response.events[0].time.ToDatetime(UTC).timestamp()
            self._lag.read(key, response.position, position, oldest)
        seconds = await subscription.apply(response.events, response.position)
        if subscription.position is not None:
            self._lag.applied(key, subscription.position)
        return seconds, len(response.events)

    def _note_done(self, duty: Duty) -> None:
        _DONE.labels(self._service, duty.name).set_to_current_time()
        _PERIOD.labels(self._service, duty.name).set(duty.every_seconds)

    async def _repeat(self, duty: Duty) -> None:
        # Until it has been done for the first time here, it counts from the start of the process.
        self._note_done(duty)
        while True:
            try:
                await self._take_turn(duty)
            except LockTimeout:
                log.debug("duty done by another", duty=duty.name)
            except DomainError as error:
                log.info("duty waits", duty=duty.name, error=str(error))
            except Exception:
                log.exception("duty failed", duty=duty.name)
            await asyncio.sleep(duty.every_seconds)

    async def _take_turn(self, duty: Duty) -> None:
        """Do a duty unless another worker does this tick. Without Redis each one does it."""
        started = time.monotonic()
        resource = f"duty:{self._service}:{duty.name}"
        async with self._locks.hold(
            resource, wait_seconds=0, ttl_seconds=DUTY_TTL_SECONDS, system_wide=True
        ) as lock:
            await duty.work()
            self._note_done(duty)
            # Kept until the tick is over: whoever comes a little later does not repeat it.
            await self._locks.leave(lock, started + duty.every_seconds - time.monotonic())
