"""Spans of sampled traces on their way to whoever collects them, by OTLP."""

import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

from common import tracing
from common.settings import Settings, SettingsError
from common.tracing import Trace

__all__ = ["Kind", "Span", "record", "start", "stop"]


class Kind(Enum):
    """On which side of what a span was, as OpenTelemetry calls it."""

    SERVER = "SERVER"
    CONSUMER = "CONSUMER"


class Span(NamedTuple):
    """A piece of work that has ended."""

    name: str
    kind: Kind
    trace: Trace
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, str | int]
    failed: bool = False


class _Collector:
    take: Callable[[Span], None] | None = None
    close: Callable[[], None] | None = None


def record(
    name: str,
    kind: Kind,
    trace: Trace | None,
    seconds: float,
    attributes: Mapping[str, str | int],
    *,
    failed: bool = False,
) -> None:
    """Tell of work that has just ended, if its trace is sampled and somebody collects spans."""
    if _Collector.take is None or trace is None or not trace.is_sampled:
        return
    now = time.time_ns()
    begun = now - round(seconds * 1e9)
    _Collector.take(Span(name, kind, trace, begun, now, attributes, failed))


def start(settings: Settings, process: str) -> None:
    """Send spans to `settings.traces_url` from now on, in the background; without it nowhere.

    Raises:
        SettingsError: there is one and the extra `tracing` is not installed.
    """
    if settings.traces_url is None:
        return
    try:
        # Megabytes, for those who collect spans.
        from common import otlp  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            "KV_ERP_TRACES_URL needs the extra `tracing`: pip install kv-erp[tracing]."
        ) from None
    tracing.sample(settings.traces_ratio)
    _Collector.take, _Collector.close = otlp.exporting(settings.traces_url, process)


def stop() -> None:
    """Send what is left."""
    if _Collector.close is not None:
        _Collector.close()
    _Collector.take = _Collector.close = None
