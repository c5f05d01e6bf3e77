"""Traces for OpenTelemetry: where the environment names a collector, requests and their steps are spans.

Without one nothing of the SDK is imported, and a step is a few numbers that nobody looks at.
"""

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from opentelemetry import trace
from opentelemetry.trace import Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_LAST_EXPORT_S = 5.0

Attributes = Mapping[str, str | int]

log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a request's way, between two points of `time.monotonic()`."""

    name: str
    began_s: float
    ended_s: float
    attributes: Attributes = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.ended_s - self.began_s


def tracer_provider(pod: str) -> "TracerProvider | None":
    """Return what exports spans as the OTEL_* variables say; None where they name no collector, or it can't be.

    Traces never keep a worker from serving: what is wrong with them is logged.
    """
    if not _asked_for():
        return None
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        log.warning("no traces: this protocol isn't spoken", protocol=protocol, spoken=_PROTOCOL)
        return None
    try:
        return _provider(pod)
    except ImportError as error:
        log.warning("no traces: install reranker-worker[tracing]", error=str(error))
        return None


def _asked_for() -> bool:
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(os.environ.get(name) for name in _ENDPOINTS)


def _provider(pod: str) -> "TracerProvider":
    # Half a second of imports that only traces need.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = {"service.name": "reranker-worker", "service.version": version("reranker-worker"), "k8s.pod.name": pod}
    own = Resource.create({name: value for name, value in named.items() if value})
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def close(provider: "TracerProvider | None") -> None:
    """Send what is left; a collector that is away doesn't hold the process up for longer than that may take."""
    if provider is not None:
        # The SDK's own shutdown has no time limit of its own.
        last = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(_LAST_EXPORT_S)


def record(tracer: Tracer | None, steps: Iterable[Step]) -> None:
    """Make the steps children of the current span, unless that one isn't kept."""
    if tracer is None or not trace.get_current_span().is_recording():
        return
    epoch_ns = time.time_ns() - time.monotonic_ns()
    for step in steps:
        span = tracer.start_span(step.name, start_time=epoch_ns + _ns(step.began_s), attributes=dict(step.attributes))
        span.end(epoch_ns + _ns(step.ended_s))


def annotate(attributes: Attributes) -> None:
    """Add to the current span, if there is one."""
    trace.get_current_span().set_attributes(dict(attributes))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
