"""Tests of handlers: calls one for an event, and returns its effects.

effects = await handled(reserve_stock, recorded(OrderPlaced("c-1"), stream="order-7"), app=shop)
effects.then(OrderCanceled("sold out"))
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, TypeVar

from msgspec import Struct

from fait._app import App
from fait._clock import ManualClock, new_id
from fait._decisions.new_events import NewEvents
from fait._events.codec import encode_data, encode_metadata
from fait._events.envelope import EncodedEvent, Envelope, Metadata, RecordedEvent, Untyped
from fait._events.event import event_type
from fait._events.stream import check_tags
from fait._store.ports.unit_of_work import HandlerStatement
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.handler_calls import Handler
from fait._subscriptions.reactor import HANDLER_TIMEOUT_S, Reactor, ReactorDefinition
from fait.testing.decisions import check_events
from fait.testing.in_memory import START, GivenEvents, codec_for
from fait.testing.read_models import FirstAttempt

__all__ = ["Effects", "handled", "recorded"]

E = TypeVar("E")

_NO_METADATA: Final = Metadata()


class Effects(Struct, frozen=True):
    """What a handler did through its context: what a store would write in the transaction of its checkpoint.

    Attributes:
        events: the appended events, stored and decoded, in order.
        statements: the SQL statements of `ctx.execute` with their values, in order. They have not run.
    """

    events: list[Envelope[Any]]
    statements: list[HandlerStatement]

    def then(self, *expected: object) -> "Effects":
        """Check that the handler appended these events, in this order, and no others.

        Args:
            *expected: events; or all of them as `NewEvents`, of which stream and tags are compared as well.

        Raises:
            AssertionError: it appended other events; the text shows the fields that differ.
        """
        __tracebackhide__ = True
        check_events(expected, self.events)
        return self


async def handled(
    handler: Handler,
    event: Envelope[Any],
    /,
    *,
    given: Iterable[NewEvents] = (),
    app: App | None = None,
    attempt: int = 1,
    clock: ManualClock | None = None,
    timeout_s: float = HANDLER_TIMEOUT_S,
) -> Effects:
    """Call a handler for an event, as an open system does, on a log in memory.

    Args:
        handler: the handler, `async` or not.
        event: the event to handle, as `recorded` returns it. Its version and position follow from the given events.
        given: events recorded before it.
        app: the app of the handler, with the types of the events that it reads and appends. None: the types of the
            given events and of the handled one.
        attempt: number of the attempt, as `ctx.attempt`.
        clock: the clock of decisions. None: one that shows 2024-01-01 00:00 UTC.
        timeout_s: timeout for the handler, in seconds.

    Returns:
        The effects.

    Raises:
        Exception: the handler raised it, so that it would be called again.
        TimeoutError: the handler did not return in time.
    """
    before, types = list(given), tuple[type](map(type, [event.event]))
    codec = codec_for(app, types, before)
    memory = GivenEvents(codec, clock or ManualClock(START))
    for each in before:
        memory.append(each)
    memory.append_encoded(event.stream, _encoded(event.recorded_event))
    definition = ReactorDefinition("test", types, handler, "now", FailurePolicy(), timeout_s, 1)
    reactor = Reactor(definition, codec, memory.store.log, memory.client)
    outcome = await reactor.handle(memory.recorded_events()[-1:], FirstAttempt(attempt))
    if outcome.error is not None:
        raise outcome.error
    head = memory.head
    for stream, appended in outcome.append.events if outcome.append else ():
        memory.append_encoded(stream, appended)
    return Effects(memory.envelopes(head), list(outcome.statements))


def _encoded(event: RecordedEvent) -> EncodedEvent:
    return EncodedEvent(
        event.type, event.schema_version, event.id, event.data, event.metadata, event.tags, event.occurred_at
    )


def recorded(
    event: E,
    /,
    *,
    stream: str = "test-1",
    version: int = 1,
    position: int = 1,
    tags: Iterable[str] = (),
    recorded_at: datetime = START,
    occurred_at: datetime | None = None,
    metadata: Metadata = _NO_METADATA,
) -> Envelope[E]:
    """Return an event as the log returns it: for `handled`, or for calls of `evolve` and `key_of` of a read model.

    Args:
        event: the event.
        stream: name of its stream.
        version: its version in the stream.
        position: its position in the log.
        tags: further entities it belongs to, as "kind:id".
        recorded_at: the time the log stored it.
        occurred_at: the time the fact became true; None: `recorded_at`.
        metadata: its metadata.

    Raises:
        UsageError: this is not an event.
        InvalidValue: the event cannot be stored.
    """
    data, declared = encode_data(event).decode(), event_type(type(event))
    if isinstance(event, Untyped):
        name, schema_version = event.type, event.schema_version
    else:
        assert declared is not None  # `encode_data` refuses other classes
        name, schema_version = declared.name, declared.schema_version
    recorded_event = RecordedEvent(
        position, stream, version, name, schema_version, new_id(), data, encode_metadata(metadata), check_tags(tags),
        recorded_at, occurred_at or recorded_at,
    )  # fmt: skip
    return Envelope(event, recorded_event)
