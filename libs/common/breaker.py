"""Spares callers the wait for something that is away."""

import time

__all__ = ["Breaker"]


class Breaker:
    """Lets calls through until some fail in a row; then one in a while, to see if it is back.

    Args:
        failures: how many in a row mean that it is away.
        probe_seconds: how often to try while it is.
    """

    def __init__(self, failures: int = 3, probe_seconds: float = 1.0) -> None:
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
        self._failures = 0

    def failed(self) -> None:
        """It did not answer, or not in time."""
        self._failures += 1
        if self._failures == self._most_failures:
            self._next_probe = time.monotonic() + self._probe_seconds
