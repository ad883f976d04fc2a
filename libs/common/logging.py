"""Log lines: JSON on standard output, each with its tenant, request and trace."""
# ruff: noqa: E402 (structlog is imported under a condition, the rest after it)

import logging
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
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

__all__ = ["configure", "say"]

Line = MutableMapping[str, Any]

# Passwords in URLs, bearer tokens, API tokens, cookies, password=… of a connection string. Nobody
# logs them on purpose; what a library says of its own failure may hold one.
_SECRET = re.compile(
    rb"(?P<url>://[^\s:/@\"]*:)[^\s@\"/]+(?=@)"
    rb"|(?P<bearer>[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"
    rb"|(?P<token>\bkv_)[A-Za-z0-9_-]{43}"
    rb"|(?P<cookie>__Host-[a-z]+=)[^\s;\"\\]+"
    rb"|(?P<word>\b(?:password|passwd|secret)=)[^\s;&\"\\]+"
)
# Nothing is a secret in a line without one of these, as most are: found faster than by trying.
_SECRET_MARKS = (b"://", b"earer ", b"kv_", b"__Host-", b"passw", b"secret=")
# Begin a line or a command on some screens, and JSON lets them pass.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_IN_A_TRACEBACK = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BYTES = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


def configure(settings: Settings, process: str) -> None:
    """Send the lines of structlog and of the standard library to standard output from now on."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            _Context(process),
            *_rendering(settings.log_format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_Forward()], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _last_words


def say(sentence: str) -> None:
    """Write a line about the process itself."""
    structlog.get_logger().info(sentence)


def _last_words(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    structlog.get_logger().critical("process broke", error=kind.__name__, exc_info=error)


def _rendering(format_name: str) -> list[Any]:
    if format_name == "text":
        plain = structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(),
            timestamp_key="time",
            exception_formatter=structlog.dev.plain_traceback,
        )
        return [structlog.processors.format_exc_info, _escape, plain, _encode]
    return [structlog.processors.format_exc_info, _as_json]


def _as_json(_logger: object, _method: str, line: Line) -> bytes:
    written = _without_secrets(orjson.dumps(line, default=_as_text))
    if written.isascii() and b"\x7f" not in written:
        return written
    return _CONTROL_BYTES.sub(lambda found: _escaped(found[0].decode()).encode(), written)


def _as_text(value: object) -> str:
    if isinstance(value, Message):
        # Whoever logs a message must not have to know which of its fields are secret.
        return redacted(value)
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _encode(_logger: object, _method: str, line: str) -> bytes:
    return _without_secrets(line.encode(errors="backslashreplace"))


def _without_secrets(line: bytes) -> bytes:
    if not any(mark in line for mark in _SECRET_MARKS):
        return line
    return _SECRET.sub(lambda found: (found[str(found.lastgroup)] or b"") + b"***", line)


def _escape(_logger: object, _method: str, line: Line) -> Line:
    """Keep what a stranger wrote on its line, and from the terminal of whoever reads it."""
    for name, value in line.items():
        if isinstance(value, str | bytes | Message):
            unwanted = _CONTROL_IN_A_TRACEBACK if name == "exception" else _CONTROL
            line[name] = unwanted.sub(lambda found: _escaped(found[0]), _as_text(value))
    return line


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


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
