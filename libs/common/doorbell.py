"""Tells the gateway what was committed, soon and without promise: the log is the authority."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import structlog
from prometheus_client import Counter, Gauge

from common import caller
from common.errors import DomainError
from erp.events.v1.events_pb2 import Event

LARGEST_BATCH = 500
# More than this waiting means that nobody answers; the oldest are dropped, since listeners find
# them by polling.
MOST_WAITING = 10_000

_EVENTS = Counter(
    "kv_erp_doorbell_events_total",
    "Committed events that the gateway was told of (rung), or that listeners have to find by "
    "polling, because it did not answer (failed) or too many waited (dropped).",
    ["outcome"],
)
_RUNG, _FAILED, _DROPPED = map(_EVENTS.labels, ("rung", "failed", "dropped"))
_WAITING = Gauge("kv_erp_doorbell_waiting_events", "Committed events not rung for yet.")

log = structlog.get_logger()
Publish = Callable[[list[Event]], Awaitable[object]]


class Doorbell:
    """Hands committed events to `publish` in the background, in batches, in order.

    Args:
        service: on whose account it rings.
        publish: sends one batch; may fail, the batch is then dropped.
    """

    def __init__(self, service: str, publish: Publish) -> None:
        self._caller = caller.service_caller(service, None)
        self._publish = publish
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._rung = asyncio.Event()

    def ring(self, events: Iterable[Event]) -> None:
        """Queue events for publishing. Never blocks and never fails."""
        before = len(self._waiting)
        rung = list(events)
        self._waiting.extend(rung)
        _DROPPED.inc(before + len(rung) - len(self._waiting))
        _WAITING.set(len(self._waiting))
        self._rung.set()

    async def run(self) -> None:
        """Publish what is rung until cancelled."""
        with caller.acting_as(self._caller):
            while True:
                await self._rung.wait()
                self._rung.clear()
                while self._waiting:
                    await self._send(
                        [
                            self._waiting.popleft()
                            for _ in range(min(LARGEST_BATCH, len(self._waiting)))
                        ]
                    )

    async def _send(self, batch: list[Event]) -> None:
        try:
            await self._publish(batch)
            _RUNG.inc(len(batch))
        except DomainError as error:
            _FAILED.inc(len(batch))
            log.info("doorbell not rung", events=len(batch), error=str(error))
        finally:
            _WAITING.set(len(self._waiting))
