"""Log lines: JSON on standard output, each with its tenant, request and trace."""
# ruff: noqa: E402 (structlog is imported under a condition, the rest after it)

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

# structlog takes rich along where it is installed: 6 MB and 150 ms a process, for colours that
# no log collector sees.
_rich = sys.modules.get("rich")
if _rich is None:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog

if _rich is None:
    del sys.modules["rich"]
import orjson
from google.protobuf.message import Message

from common import caller, tracing
from common.secret_fields import redacted
from common.settings import Settings

__all__ = ["configure"]

Line = MutableMapping[str, Any]


def configure(settings: Settings, process: str) -> None:
    """Send the lines of structlog and of the standard library to standard output from now on."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _Context(process),
            *_rendering(settings.log_format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_Forward()], force=True)


def _rendering(format_name: str) -> list[Any]:
    if format_name == "text":
        return [
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), timestamp_key="time"),
            _encode,
        ]
    return [structlog.processors.format_exc_info, _as_json]


def _as_json(_logger: object, _method: str, line: Line) -> bytes:
    return orjson.dumps(line, default=_as_text)


def _as_text(value: object) -> str:
    # Whoever logs a message must not have to know which of its fields are secret.
    return redacted(value) if isinstance(value, Message) else str(value)


def _encode(_logger: object, _method: str, line: str) -> bytes:
    return line.encode()


class _Context:
    """Says of every line when it was written, by which process, and for whom.

    One processor rather than three: a line a call is written on the event loop.
    """

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: object, method: str, line: Line) -> Line:
        line["time"] = datetime.now(UTC).isoformat()
        line["level"] = method
        line["process"] = self._process
        who = caller.current_or_none()
        if who is not None:
            line["tenant"] = str(who.tenant_id) if who.tenant_id else None
            line["subject"] = who.subject
            line["request_id"] = who.request_id
        trace = tracing.current()
        if trace is not None:
            line["trace_id"] = trace.trace_id
            line["span_id"] = trace.span_id
        return line


class _Forward(logging.Handler):
    """Passes what libraries log through the standard library on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )
