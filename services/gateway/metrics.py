"""What Prometheus is told about the requests from outside."""

from prometheus_client import Counter, Gauge, Histogram

from common import caller
from common.labels import Bounded
from gateway.http_request import HttpRequest

# The first so many tenants that come to a process have a name in its metrics.
MOST_TENANTS = 200

WAITING = Gauge("kv_erp_http_requests_waiting", "Requests that wait for their turn.")
WAITED = Histogram(
    "kv_erp_http_turn_wait_seconds",
    "How long requests waited for their turn, those that had to wait.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_REQUESTS = Counter(
    "kv_erp_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
_DURATION = Histogram(
    "kv_erp_http_request_duration_seconds",
    "Time from a request's headers to its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_USED = Counter(
    "kv_erp_tenant_requests_total",
    "Requests of each tenant that were let in, by how they ended: ok, refused (4xx) or failed.",
    ["tenant", "outcome"],
)
_USED_SECONDS = Counter(
    "kv_erp_tenant_request_seconds_total", "Time spent on each tenant's requests.", ["tenant"]
)
_OTHER = "other"


class HttpMetrics:
    """Counts requests by route, never by path: there is no end of paths."""

    def __init__(self) -> None:
        # Looking a child up by its labels costs more than counting.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._durations: dict[tuple[str, str], Histogram] = {}
        self._tenants = Bounded(MOST_TENANTS)
        self._uses: dict[tuple[str, str], tuple[Counter, Counter]] = {}

    def observe(self, request: HttpRequest, status: int, seconds: float) -> None:
        """Count one request, for the caller at hand if there is one."""
        route = request.route
        verb, template = (route.verb, route.template) if route else (_OTHER, _OTHER)
        counter = self._counters.get((verb, template, status))
        if counter is None:
            counter = self._counters[verb, template, status] = _REQUESTS.labels(
                verb, template, str(status)
            )
        duration = self._durations.get((verb, template))
        if duration is None:
            duration = self._durations[verb, template] = _DURATION.labels(verb, template)
        counter.inc()
        duration.observe(seconds)
        who = caller.current_or_none()
        if who is not None and who.tenant_id is not None:
            self._count_use(str(who.tenant_id), status, seconds)

    def _count_use(self, tenant: str, status: int, seconds: float) -> None:
        label, outcome = self._tenants.of(tenant), _OUTCOMES[status // 100]
        use = self._uses.get((label, outcome))
        if use is None:
            use = self._uses[label, outcome] = (
                _USED.labels(label, outcome),
                _USED_SECONDS.labels(label),
            )
        requests, time_spent = use
        requests.inc()
        time_spent.inc(seconds)


_OUTCOMES = ("failed", "ok", "ok", "ok", "refused", "failed")
