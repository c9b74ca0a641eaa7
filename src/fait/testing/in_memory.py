"""An empty store in memory with the codec of an app, used without an event loop.

A call of the store in memory never waits, so `complete` runs it like a function. Tests that are not async, and tests in
a running event loop, use the same code as an open system: encoding, appends, loading, decoding and upcasting.
"""

from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from fait._affinity import Affinity
from fait._app import App, declarations_of
from fait._clock import ManualClock, new_id
from fait._decisions.boundary import read_matching_events
from fait._decisions.client import Client
from fait._decisions.load import Loader
from fait._decisions.new_events import NewEvents
from fait._declarations import resolve
from fait._errors import UsageError
from fait._events.append import PAGE_SIZE, StreamWrite, raise_on_conflict
from fait._events.codec import Codec, encode_data
from fait._events.envelope import EncodedEvent, Envelope, RecordedEvent, Untyped
from fait._events.event import event_type
from fait._events.stream import check_stream, check_tags
from fait._events.upcast import Upcaster, declared_in_package
from fait._events.version import Expected, expected_number
from fait._store.open import open_store
from fait._store.ports.store import Store

__all__ = ["START", "GivenEvents", "codec_for", "complete"]

T = TypeVar("T")

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""Time that a clock of a test shows first, if the test sets none."""


def complete(call: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that does not wait, and return its result.

    Raises:
        UsageError: it waits.
    """
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    call.close()
    raise UsageError("the decision waits for something. Decide and evolve must not wait: pass them what they need.")


def codec_for(app: App | None, types: Iterable[type], events: Iterable[object] = (), subject: object = None) -> Codec:
    """Return the codec of an app.

    Args:
        app: the app. None: an app of the subject, with these event types and the upcasters to them.
        types: event types.
        events: events, or `NewEvents`; their types are added.
        subject: what decides or is updated, to check its declaration.
    """
    if app is not None:
        return declarations_of(app).codec
    singles = (event for each in events for event in (each.events if isinstance(each, NewEvents) else [each]))
    classes = [cls for cls in dict.fromkeys([*types, *map(type, singles)]) if event_type(cls) is not None]
    upcasters = [upcaster for cls in classes for upcaster in _upcasters_to(cls)]
    return resolve("test", [*([subject] if subject is not None else []), *classes, *upcasters]).codec


def _upcasters_to(cls: type) -> Iterable[Upcaster]:
    """Yield the upcasters of earlier versions of an event class, declared in its package."""
    declared = event_type(cls)
    assert declared is not None
    upcasters = declared_in_package(cls.__module__.partition(".")[0])
    for name in (declared.name, *declared.was):
        yield from (each for each in upcasters.get(name, ()) if each.from_version < declared.schema_version)


class GivenEvents:
    """A log in memory with given events, and a client that decides on it.

    Args:
        codec: encodes and decodes the events.
        clock: gives the time of decisions, and at which events are recorded.

    Attributes:
        codec: encodes and decodes the events.
        store: the store.
        loader: loads and folds streams.
        client: makes decisions.
    """

    def __init__(self, codec: Codec, clock: ManualClock) -> None:
        self.codec = codec
        self.store: Store = complete(open_store("memory:", clock=clock))
        log = self.store.log
        self.loader: Loader = Loader(log, codec)
        self.client: Client = Client(log, partial(read_matching_events, log), self.loader, clock, affinity=_Anywhere())

    @property
    def head(self) -> int:
        """Position of the last event."""
        return complete(self.store.log.head())

    def append(self, new_events: NewEvents) -> None:
        """Append events; `Untyped` ones as stored, so that they may have an earlier schema version."""
        tags = check_tags(new_events.tags)
        encoded = [self._encode(each, tags, new_events.occurred_at) for each in new_events.events]
        self.append_encoded(new_events.stream, *encoded, expected=new_events.expected)

    def append_encoded(self, stream: str, *events: EncodedEvent, expected: Expected = "any") -> None:
        """Append encoded events."""
        write = StreamWrite(check_stream(stream), events, expected_number(expected))
        raise_on_conflict(complete(self.store.log.append([write])))

    def _encode(self, event: object, tags: tuple[str, ...], occurred_at: datetime | None) -> EncodedEvent:
        if isinstance(event, Untyped):
            data = encode_data(event).decode()
            return EncodedEvent(event.type, event.schema_version, new_id(), data, "{}", tags, occurred_at)
        return self.codec.encode(event, id=new_id(), tags=tags, occurred_at=occurred_at)

    def recorded_events(self, after: int = 0) -> list[RecordedEvent]:
        """Return the recorded events after a position."""
        events, more = list[RecordedEvent](), True
        while more:
            page = complete(self.store.log.read(after, limit=PAGE_SIZE))
            events += page.events
            after, more = page.position, page.more
        return events

    def envelopes(self, after: int = 0) -> list[Envelope[Any]]:
        """Return the events after a position, decoded and upcast."""
        return list(self.codec.decode_selected(self.recorded_events(after)))


class _Anywhere(Affinity):
    """Belongs to no event loop: a store in memory needs none."""

    def __init__(self) -> None:
        pass

    def check(self) -> None:
        pass
