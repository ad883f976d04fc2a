"""Prometheus metrics of a process, and the port on which it is asked for them."""

from prometheus_client import (
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)

from common.settings import Address, SettingsError

__all__ = ["RpcMetrics", "expose"]

disable_created_metrics()  # type: ignore[no-untyped-call]

_REQUESTS = Counter("kv_erp_rpc_requests_total", "Calls answered.", ["service", "method", "code"])
_RETRIED = Counter(
    "kv_erp_rpc_retried_total",
    "Calls that came again because their caller had no answer to the one before.",
    ["service", "method"],
)
_RUNNING = Gauge("kv_erp_rpc_running", "Calls being worked on.", ["service"])
_PROCESS = Gauge("kv_erp_process_info", "1, with the name of the process.", ["process"])
_DURATION = Histogram(
    "kv_erp_rpc_duration_seconds",
    "Time from a call's arrival to its answer.",
    ["service", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


class RpcMetrics:
    """Counts the calls of one service."""

    def __init__(self, service: str) -> None:
        self._service = service
        # Looking a child up by its labels costs more than counting.
        self._counters: dict[tuple[str, str], Counter] = {}
        self._durations: dict[str, Histogram] = {}
        self.running = _RUNNING.labels(service)

    def retried(self, method: str) -> None:
        """Note that a call has been sent before."""
        _RETRIED.labels(self._service, method).inc()

    def observe(self, method: str, code: str, seconds: float) -> None:
        """Count one call."""
        counter = self._counters.get((method, code))
        if counter is None:
            counter = self._counters[method, code] = _REQUESTS.labels(self._service, method, code)
        duration = self._durations.get(method)
        if duration is None:
            duration = self._durations[method] = _DURATION.labels(self._service, method)
        counter.inc()
        duration.observe(seconds)


def expose(address: Address | None, process: str) -> None:
    """Answer Prometheus on this address, from a thread of its own, until the process ends.

    Raises:
        SettingsError: the address is taken.
    """
    if address is None or not address.port:
        return
    _PROCESS.labels(process).set(1)
    try:
        start_http_server(address.port, address.host)
    except OSError as error:
        problem = f"KV_ERP_METRICS_BIND: cannot listen on {address} ({error.strerror})."
        raise SettingsError(problem) from None
