"""How far a worker's listeners are behind what happened, in events and in seconds."""

import time
from collections import Counter as Count
from dataclasses import dataclass
from uuid import UUID

from prometheus_client import Gauge

__all__ = ["EventLag", "Key"]

Key = tuple[str, str, UUID]  # lane, source, tenant

_LABELS = ["service", "lane", "source"]
_EVENTS = Gauge(
    "kv_erp_event_lag_events", "Events not looked at yet, of all tenants together.", _LABELS
)
_SECONDS = Gauge(
    "kv_erp_event_lag_seconds",
    "Age of the oldest event that has had no effect yet, of the tenant that waits longest.",
    _LABELS,
)
_TENANTS = Gauge("kv_erp_event_lag_tenants", "Tenants whose events wait.", _LABELS)
_HEARD = Gauge(
    "kv_erp_event_heads_last_read_timestamp_seconds",
    "When the source last said how far its events go.",
    ["service", "source"],
)


@dataclass
class _Behind:
    """What is known of events that wait."""

    head: int
    position: int
    # Wall clock: when the oldest happened, or until it is read, when we learned of it.
    since: float


class EventLag:
    """What a worker knows of events that wait: it looks at every tenant's, whoever applies them.

    Args:
        service: whose worker.
        lanes: lane and source of its listeners.
    """

    def __init__(self, service: str, lanes: list[tuple[str, str]]) -> None:
        self._service = service
        self._lanes = lanes
        self._behind: dict[Key, _Behind] = {}

    def heard(self, source: str) -> None:
        """The source has answered."""
        _HEARD.labels(self._service, source).set_to_current_time()

    def noticed(self, key: Key, head: int, position: int) -> None:
        """There are events up to `head`, looked at up to `position`."""
        behind = self._behind.get(key)
        if behind is None:
            self._behind[key] = _Behind(head, position, time.time())
        else:
            behind.head = max(behind.head, head)

    def read(self, key: Key, head: int, position: int, oldest: float) -> None:
        """The first event after `position` happened at this time (wall clock)."""
        behind = self._behind.setdefault(key, _Behind(head, position, oldest))
        behind.head, behind.position = max(behind.head, head), position
        behind.since = oldest

    def applied(self, key: Key, position: int) -> None:
        """Everything up to here has had its effect, or needs none."""
        behind = self._behind.get(key)
        if behind is None:
            return
        behind.position = max(behind.position, position)
        if behind.position >= behind.head:
            del self._behind[key]

    def show(self) -> None:
        """Tell Prometheus."""
        events, tenants = Count[tuple[str, str]](), Count[tuple[str, str]]()
        oldest: dict[tuple[str, str], float] = {}
        for (lane, source, _), behind in self._behind.items():
            place = (lane, source)
            events[place] += behind.head - behind.position
            tenants[place] += 1
            oldest[place] = min(behind.since, oldest.get(place, behind.since))
        now = time.time()
        for place in self._lanes:
            labels = (self._service, *place)
            _EVENTS.labels(*labels).set(events[place])
            _TENANTS.labels(*labels).set(tenants[place])
            _SECONDS.labels(*labels).set(max(now - oldest.get(place, now), 0.0))
