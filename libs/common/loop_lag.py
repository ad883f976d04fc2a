"""How late the event loop is: everything in a process waits as long as this, whatever it does."""

import asyncio

from prometheus_client import Histogram

__all__ = ["watch"]

_EVERY_SECONDS = 0.25
_LAG = Histogram(
    "kv_erp_event_loop_lag_seconds",
    "How late the event loop came to what was due.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


async def watch() -> None:
    """Look four times a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _EVERY_SECONDS
        await asyncio.sleep(_EVERY_SECONDS)
        _LAG.observe(max(loop.time() - due, 0.0))
