"""The logger of fait, the origin of an append, and the port for metrics and traces.

The current `Origin` is a context variable, so it follows `await`s and tasks. Events appended inside
`with caused_by(...)` carry it in their metadata. While a handler runs, its processor sets the handled event as the
cause.

A system measures nothing unless it is opened with a `Telemetry`. `METRICS` names what it then measures.
"""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Final, Literal, Protocol

from msgspec import Struct

from fait._errors import AppendConditionFailed, Rejected, WrongExpectedVersion

__all__ = [
    "METRICS",
    "NO_ORIGIN",
    "Attributes",
    "Metric",
    "Origin",
    "Telemetry",
    "caused_by",
    "logger",
    "origin",
    "outcome_of",
]

logger = logging.getLogger("fait")


class Origin(Struct, frozen=True, kw_only=True):
    """The origin of an append, stored in the metadata of its events; see `caused_by`.

    Attributes:
        correlation_id: the same for all events of one business operation, such as a request id.
        causation_id: the id of the event or command that is the direct cause.
        actor: the user or service for which the event is appended.
        traceparent: value of the W3C `traceparent` header.
    """

    correlation_id: str | None = None
    causation_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None


NO_ORIGIN = Origin()
_origin: ContextVar[Origin] = ContextVar("fait_origin", default=NO_ORIGIN)


def origin() -> Origin:
    """Return the current origin."""
    return _origin.get()


@contextmanager
def caused_by(
    *,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    actor: str | None = None,
    traceparent: str | None = None,
) -> Generator[Origin]:
    """Set the origin of all events appended inside the block.

    Values that are not given are inherited from the enclosing block.

    Args:
        correlation_id: the same for all events of one business operation, such as a request id.
        causation_id: the id of the event or command that is the direct cause.
        actor: the user or service for which the event is appended.
        traceparent: value of the W3C `traceparent` header.
    """
    outer = _origin.get()
    inner = Origin(
        correlation_id=correlation_id or outer.correlation_id,
        causation_id=causation_id or outer.causation_id,
        actor=actor or outer.actor,
        traceparent=traceparent or outer.traceparent,
    )
    token = _origin.set(inner)
    try:
        yield inner
    finally:
        _origin.reset(token)


Attributes = Mapping[str, str | int]
"""Attributes of a measurement. Their values are names of types, categories and subscriptions, never data of events."""


class Telemetry(Protocol):
    """Receives the measurements and spans of a system; `fait.opentelemetry` passes them on to OpenTelemetry.

    The methods are called in the event loop of the system, and must not block or raise.
    """

    def count(self, name: str, number: int, attributes: Attributes, /) -> None:
        """Add to a counter.

        Args:
            name: name of a counter of `METRICS`.
            number: the number to add.
            attributes: its attributes.
        """
        ...

    def measure(self, name: str, value: float, attributes: Attributes, /) -> None:
        """Record a value of a histogram, or set a gauge.

        Args:
            name: name of a histogram or gauge of `METRICS`.
            value: the value, in the unit of the metric.
            attributes: its attributes.
        """
        ...

    def span(
        self,
        name: str,
        kind: Literal["internal", "consumer"],
        attributes: Attributes,
        /,
        *,
        parent: str | None = None,
        links: Sequence[str] = (),
    ) -> AbstractContextManager[str | None]:
        """Run a block in a span. An exception ends it with the `outcome_of` the exception.

        Args:
            name: name of the span.
            kind: its kind.
            attributes: its attributes.
            parent: `traceparent` of the parent, if no span is current.
            links: `traceparent` of each span to link.

        Returns:
            A context manager whose value is the `traceparent` of the span; None if it is not traced.
        """
        ...


class Metric(Struct, frozen=True):
    """A metric of a system.

    Attributes:
        name: its name. An exporter for Prometheus replaces dots and appends the unit, and `_total` for a counter.
        kind: "counter", "histogram" or "gauge".
        unit: its unit: "s", or what it counts in braces.
        attributes: names of its attributes.
        description: what it measures.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    attributes: tuple[str, ...]
    description: str


METRICS: Final = (
    Metric("fait.events.appended", "counter", "{event}", ("category", "type"), "Events that were appended."),
    Metric("fait.append.duration", "histogram", "s", ("category", "outcome"), "Duration of an append."),
    Metric("fait.append.conflicts", "counter", "{conflict}", ("category",), "Appends rejected because of other ones."),
    Metric("fait.command.duration", "histogram", "s", ("command", "outcome"), "Duration of a command with retries."),
    Metric("fait.store.head_position", "gauge", "{position}", (), "Position up to which the log can be read."),
    Metric("fait.subscription.position", "gauge", "{position}", ("name",), "Position of a subscription."),
    Metric(
        "fait.subscription.lag_events",
        "gauge",
        "{position}",
        ("name",),
        "Positions to the head; messages for a consumer.",
    ),
    Metric("fait.subscription.lag", "gauge", "s", ("name",), "Age of the oldest event that it has not processed."),
    Metric(
        "fait.subscription.failed_keys",
        "gauge",
        "{key}",
        ("name", "state"),
        "Keys of which an event has failed, whose events the lags leave out.",
    ),
    Metric("fait.subscription.outage", "gauge", "s", ("name",), "Time for which it has waited because of an error."),
    Metric("fait.subscription.errors", "counter", "{error}", ("name", "error"), "Failed attempts at events."),
    Metric("fait.handle.duration", "histogram", "s", ("name",), "Duration of handling a batch, before its record."),
)
"""What a system measures. Attributes of all metrics have few values: never ids of streams, entities or events."""


def outcome_of(error: BaseException | None) -> str:
    """Return the outcome of a command or an append as an attribute: "ok", "rejected", "conflict" or "error"."""
    match error:
        case None:
            return "ok"
        case Rejected():
            return "rejected"
        case WrongExpectedVersion() | AppendConditionFailed():
            return "conflict"
        case _:
            return "error"
