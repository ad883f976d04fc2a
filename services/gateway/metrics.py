"""What Prometheus is told about the requests from outside."""

from prometheus_client import Counter, Gauge, Histogram

from gateway.http_request import HttpRequest

WAITING = Gauge("http_requests_waiting", "Requests that wait for their turn.")
_REQUESTS = Counter("http_requests_total", "Requests answered.", ["method", "route", "status"])
_DURATION = Histogram(
    "http_request_duration_seconds",
    "Time from a request's headers to its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_OTHER = "other"


class HttpMetrics:
    """Counts requests by route, never by path: there is no end of paths."""

    def __init__(self) -> None:
        # Looking a child up by its labels costs more than counting.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._durations: dict[tuple[str, str], Histogram] = {}

    def observe(self, request: HttpRequest, status: int, seconds: float) -> None:
        """Count one request."""
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
