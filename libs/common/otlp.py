"""Spans to a collector, by OpenTelemetry's SDK: it batches, retries, drops when it must."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

if TYPE_CHECKING:
    from common.spans import Span

_SEND_SECONDS = 5.0
_EVERY_MILLISECONDS = 1000


def exporting(url: str, process: str) -> tuple[Callable[["Span"], None], Callable[[], None]]:
    """What takes a span, and what sends those that are left and ends it.

    Args:
        url: of the collector, such as http://collector:4318/v1/traces.
        process: the name under which it knows us.
    """
    resource = Resource({"service.name": process, "service.namespace": "kv-erp"})
    exporter = OTLPSpanExporter(endpoint=url, timeout=_SEND_SECONDS)
    sender = BatchSpanProcessor(exporter, schedule_delay_millis=_EVERY_MILLISECONDS)

    def take(span: "Span") -> None:
        sender.on_end(_readable(span, resource))

    return take, sender.shutdown


def _readable(span: "Span", resource: Resource) -> ReadableSpan:
    trace = span.trace
    return ReadableSpan(
        name=span.name,
        context=_context(trace.trace_id, trace.span_id, trace.flags),
        parent=_context(trace.trace_id, trace.parent_id, trace.flags) if trace.parent_id else None,
        resource=resource,
        attributes=span.attributes,
        kind=SpanKind[span.kind.value],
        status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
        start_time=span.started_ns,
        end_time=span.ended_ns,
    )


def _context(trace_id: str, span_id: str, flags: str) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(int(flags, 16))
    )
