"""Spares callers the wait for something that is away."""

import time

from prometheus_client import Counter, Gauge

__all__ = ["Breaker"]

_OPEN = Gauge("kv_erp_breaker_open", "1 while what it guards is taken to be away.", ["breaker"])
_OPENED = Counter("kv_erp_breaker_opened_total", "How often it was taken to be away.", ["breaker"])


class Breaker:
    """Lets calls through until some fail in a row; then one in a while, to see if it is back.

    Args:
        name: what it guards, in metrics.
        failures: how many in a row mean that it is away.
        probe_seconds: how often to try while it is.
    """

    def __init__(self, name: str, failures: int = 3, probe_seconds: float = 1.0) -> None:
        self._open, self._opened = _OPEN.labels(name), _OPENED.labels(name)
        self._most_failures = failures
        self._probe_seconds = probe_seconds
        self._failures = 0
        self._next_probe = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is taken to be away."""
        return self._failures >= self._most_failures

    def lets_through(self) -> bool:
        """Whether to call now. Whoever is let through reports how it went."""
        if not self.is_open:
            return True
        now = time.monotonic()
        if now < self._next_probe:
            return False
        self._next_probe = now + self._probe_seconds
        return True

    def succeeded(self) -> None:
        """It answered."""
        if self.is_open:
            self._open.set(0)
        self._failures = 0

    def failed(self) -> None:
        """It did not answer, or not in time."""
        self._failures += 1
        if self._failures == self._most_failures:
            self._next_probe = time.monotonic() + self._probe_seconds
            self._open.set(1)
            self._opened.inc()
