"""Metrics and traces of a system in OpenTelemetry: `App.open(url, telemetry=OpenTelemetry())`.

    from fait.opentelemetry import OpenTelemetry

    async with shop.open(url, telemetry=OpenTelemetry()) as s: ...

fait needs only the API of OpenTelemetry (`pip install fait[opentelemetry]`). The program chooses the SDK and its
exporters; without them, nothing is recorded. The names are in `docs/observe.md`.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final, Literal

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fait._telemetry import METRICS, Attributes, Metric, outcome_of

__all__ = ["OpenTelemetry"]

_KINDS: Final = {"internal": SpanKind.INTERNAL, "consumer": SpanKind.CONSUMER}

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Boundaries of the buckets of durations: an append takes below a millisecond on SQLite."""

_W3C: Final = TraceContextTextMapPropagator()


class OpenTelemetry:
    """Passes the metrics and spans of a system on to OpenTelemetry.

    Args:
        tracer_provider: gives the tracer; None: the global one.
        meter_provider: gives the meter; None: the global one.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = trace.get_tracer("fait", version("fait"), tracer_provider)
        meter = metrics.get_meter("fait", version("fait"), meter_provider)
        self._instruments = {metric.name: _instrument(meter, metric) for metric in METRICS}

    def count(self, name: str, number: int, attributes: Attributes, /) -> None:
        """Add to a counter."""
        counter = self._instruments[name]
        assert isinstance(counter, Counter)
        counter.add(number, attributes)

    def measure(self, name: str, value: float, attributes: Attributes, /) -> None:
        """Record a value of a histogram, or set a gauge."""
        instrument = self._instruments[name]
        if isinstance(instrument, Histogram):
            instrument.record(value, attributes)
        elif not isinstance(instrument, Counter):
            instrument.set(value, attributes)

    @contextmanager
    def span(
        self,
        name: str,
        kind: Literal["internal", "consumer"],
        attributes: Attributes,
        /,
        *,
        parent: str | None = None,
        links: Sequence[str] = (),
    ) -> Generator[str | None]:
        """Run a block in a span; yield its `traceparent`, or None if it is not recorded.

        An exception gives the span its class and its outcome. Its text may contain data, and is left out.
        """
        remote = None if parent is None or trace.get_current_span().get_span_context().is_valid else _context(parent)
        linked = [Link(trace.get_current_span(_context(each)).get_span_context()) for each in links]
        with self._tracer.start_as_current_span(
            name, remote, _KINDS[kind], attributes, linked, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield _traceparent()
            except BaseException as error:
                span.set_attributes({"fait.outcome": outcome_of(error), "error.type": type(error).__qualname__})
                if outcome_of(error) == "error":
                    span.set_status(Status(StatusCode.ERROR))
                raise
            span.set_attribute("fait.outcome", outcome_of(None))


def _instrument(meter: Meter, metric: Metric) -> "Counter | Histogram | metrics._Gauge":
    if metric.kind == "counter":
        return meter.create_counter(metric.name, metric.unit, metric.description)
    if metric.kind == "histogram":
        return meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=_SECONDS
        )
    return meter.create_gauge(metric.name, metric.unit, metric.description)


def _context(traceparent: str) -> Context:
    return _W3C.extract({"traceparent": traceparent})


def _traceparent() -> str | None:
    carrier = dict[str, str]()
    _W3C.inject(carrier)
    return carrier.get("traceparent")
