"""Traces from the commit to the last healthy pod, by the standard ``OTEL_*`` variables; off by default at no cost.

Hub and spoke hand each other a W3C ``traceparent`` as plain text (stream metadata is sent only once, so it rides in the
messages). The OpenTelemetry SDK is imported only where an OTLP endpoint is configured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from felloe import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import SpanContext

Attribute = str | int | float | bool


class Span(Protocol):
    """One step of a trace. It ends once; what comes after its end is ignored."""

    @property
    def traceparent(self) -> str:
        """Return the W3C trace context that makes another span its child; empty where tracing is off."""
        ...

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""
        ...

    def fail(self, message: str) -> None:
        """Mark the step as failed; `message` is shown to people and holds no secret."""
        ...

    def end(self, at_ns: int | None = None) -> None:
        """End the step, now or at a time in nanoseconds since 1970."""
        ...


class Tracer(Protocol):
    """Makes spans; `parent` and `links` are traceparents, empty ones are left out."""

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        links: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """Start a span that its holder ends. `start_ns` is its beginning in nanoseconds since 1970, else now."""
        ...

    def shutdown(self) -> None:
        """Send what is still to be sent."""
        ...


@contextmanager
def traced(
    tracer: Tracer,
    name: str,
    *,
    parent: str = "",
    links: Sequence[str] = (),
    attributes: Mapping[str, Attribute] | None = None,
) -> Iterator[Span]:
    """Trace a block; an exception that leaves it marks the span as failed with the exception's type and message."""
    span = tracer.start(name, parent=parent, links=links, attributes=attributes)
    try:
        yield span
    except Exception as error:
        span.fail(f"{type(error).__name__}: {error}")
        raise
    finally:
        span.end()


def tracer(service: str, environ: Mapping[str, str]) -> Tracer:
    """Return a tracer that exports by OTLP/HTTP where `environ` names an endpoint, else one that does nothing."""
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return _OtelTracer(environ.get("OTEL_SERVICE_NAME") or service) if endpoint and not off else OFF


class _NoSpan:
    __slots__ = ()

    @property
    def traceparent(self) -> str:
        return ""

    def set(self, name: str, value: Attribute) -> None:
        """Do nothing."""

    def fail(self, message: str) -> None:
        """Do nothing."""

    def end(self, at_ns: int | None = None) -> None:
        """Do nothing."""


class _NoTracer:
    __slots__ = ("_span",)

    def __init__(self) -> None:
        self._span = _NoSpan()

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        links: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
        start_ns: int | None = None,
    ) -> Span:
        return self._span

    def shutdown(self) -> None:
        """Do nothing."""


OFF: Tracer = _NoTracer()
"""The tracer that does nothing."""


class _OtelSpan:
    __slots__ = ("_span",)

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)

    def fail(self, message: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, message))

    def end(self, at_ns: int | None = None) -> None:
        self._span.end(at_ns)


class _OtelTracer:
    def __init__(self, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": service, "service.version": __version__})
        self._provider: TracerProvider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("felloe", __version__)

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        links: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
        start_ns: int | None = None,
    ) -> Span:
        from opentelemetry.context import Context
        from opentelemetry.trace import Link, NonRecordingSpan, set_span_in_context

        above = _span_context(parent)
        context = set_span_in_context(NonRecordingSpan(above), Context()) if above else Context()
        linked = [Link(other) for link in links if (other := _span_context(link))]
        span = self._tracer.start_span(
            name, context=context, links=linked, attributes=dict(attributes or {}), start_time=start_ns
        )
        return _OtelSpan(span)

    def shutdown(self) -> None:
        self._provider.shutdown()


def _span_context(traceparent: str) -> SpanContext | None:
    """Return the span context of a W3C traceparent (https://www.w3.org/TR/trace-context/), None for an invalid one."""
    from opentelemetry.trace import SpanContext, TraceFlags

    parts = traceparent.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2]:
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:4])
    except ValueError:
        return None
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None
