"""The forms of an event: encoded for an append, recorded in the log, and decoded in an envelope.

    event ──encode──► EncodedEvent ──append──► RecordedEvent ──decode──► Envelope[event]

`EncodedEvent` and `RecordedEvent` contain JSON text, so stores do not need the event classes. Handlers and read models
get an `Envelope`.
"""

import typing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

import msgspec
from msgspec import Raw, Struct

from fait._events.stream import category_of, id_of

if TYPE_CHECKING:  # a default for the type variable, so that strict type checkers accept a bare `Envelope`
    from typing_extensions import TypeVar

    E_co = TypeVar("E_co", covariant=True, default=Any)
else:
    E_co = typing.TypeVar("E_co", covariant=True)

__all__ = ["CommandRecord", "EncodedEvent", "Envelope", "EventSlice", "Metadata", "RecordedEvent", "Untyped", "size_of"]


class Untyped(Struct, frozen=True):
    """An event without a Python class: imported, or written by a program in another language.

    Attributes:
        type: stored name of its type.
        data: its JSON value, as dicts, lists, strings, numbers, booleans and None.
        schema_version: its schema version.
    """

    type: str
    data: Any
    schema_version: int = 1


class CommandRecord(Struct, frozen=True):
    """The command that an event resulted from, as stored in the event's metadata.

    Attributes:
        name: "category.method" for a command of an aggregate, "category.Class" for one of a decider, "name.Class" for
            one of a boundary.
        arguments: the arguments by name, as JSON.
    """

    name: str
    arguments: Raw


class Metadata(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Metadata of an event; stored as JSON, separate from its data.

    Attributes:
        correlation_id: the same for all events of one business operation.
        causation_id: the id of the event or command that directly caused it.
        actor: the user or service for which the event was appended.
        command: the command it resulted from.
        key: the idempotency key it was appended with.
        scope: the scope of the key.
        traceparent: value of the W3C `traceparent` header.
        extra: further entries, chosen by the application.
    """

    correlation_id: str | None = None
    causation_id: str | None = None
    actor: str | None = None
    command: CommandRecord | None = None
    key: str | None = None
    scope: str = ""
    traceparent: str | None = None
    extra: dict[str, Any] = {}


_decode_metadata = msgspec.json.Decoder(Metadata).decode


class EncodedEvent(Struct, frozen=True, gc=False):
    """An event as JSON text with an id, ready to be appended.

    Attributes:
        type: stored name of its type.
        schema_version: its schema version.
        id: a UUID as text. Appending the same ids again is recognized as a repetition.
        data: JSON text.
        metadata: JSON text.
        tags: further entities it belongs to, as "kind:id".
        occurred_at: the time the fact became true; None: the time it is recorded.
        expires: whether it is a message, which may be dropped after its retention.
        other_types: other stored names under which earlier or newer code may have appended the same event.
    """

    type: str
    schema_version: int
    id: str
    data: str
    metadata: str = "{}"
    tags: tuple[str, ...] = ()
    occurred_at: datetime | None = None
    expires: bool = False
    other_types: tuple[str, ...] = ()


class RecordedEvent(Struct, frozen=True, gc=False):
    """An event with its place in the log; still JSON text.

    Attributes:
        position: its position in the log.
        stream: name of its stream.
        version: its version in the stream, from 1.
        type: stored name of its type.
        schema_version: its schema version.
        id: its id, a UUID as text.
        data: JSON text.
        metadata: JSON text.
        tags: further entities it belongs to.
        recorded_at: the time the log stored it, in UTC.
        occurred_at: the time the fact became true, in UTC.
    """

    position: int
    stream: str
    version: int
    type: str
    schema_version: int
    id: str
    data: str
    metadata: str
    tags: tuple[str, ...]
    recorded_at: datetime
    occurred_at: datetime


EventSlice = tuple[int, int, str, str, int, str]
"""The part of a recorded event that a fold needs: version, position, id, type, schema version, data."""


def size_of(event: RecordedEvent) -> int:
    """Return the number of characters in the data, the metadata and the tags of an event."""
    return len(event.data) + len(event.metadata) + (sum(map(len, event.tags)) if event.tags else 0)


class Envelope(Struct, Generic[E_co], frozen=True, gc=False):
    """A decoded event with its stream, version, position, times and metadata.

    Attributes:
        event: the event, an instance of its class, or `Untyped`.
        recorded_event: the event as stored; the other properties are taken from it. If an upcaster splits the event or
            takes its envelope, this is its result: type, schema version, data and, after a split, the id are those of
            the event that was made.
    """

    event: E_co
    recorded_event: RecordedEvent

    @property
    def position(self) -> int:
        """Position in the log."""
        return self.recorded_event.position

    @property
    def stream(self) -> str:
        """Name of its stream, such as "order-7"."""
        return self.recorded_event.stream

    @property
    def category(self) -> str:
        """Category of its stream: "order" for "order-7"."""
        return category_of(self.recorded_event.stream)

    @property
    def stream_id(self) -> str:
        """Id of its stream: "7" for "order-7"."""
        return id_of(self.recorded_event.stream)

    @property
    def version(self) -> int:
        """Version in its stream, from 1."""
        return self.recorded_event.version

    @property
    def type(self) -> str:
        """Stored name of its type."""
        return self.recorded_event.type

    @property
    def schema_version(self) -> int:
        """Schema version that it is stored with; that of its class after a split or an upcaster with the envelope."""
        return self.recorded_event.schema_version

    @property
    def id(self) -> str:
        """Id of the event, a UUID as text; for the results of a split "<id>/0", "<id>/1" and so on."""
        return self.recorded_event.id

    @property
    def tags(self) -> tuple[str, ...]:
        """Further entities it belongs to, as "kind:id"."""
        return self.recorded_event.tags

    @property
    def recorded_at(self) -> datetime:
        """The time the log stored it, in UTC."""
        return self.recorded_event.recorded_at

    @property
    def occurred_at(self) -> datetime:
        """The time the fact became true, in UTC."""
        return self.recorded_event.occurred_at

    @property
    def metadata(self) -> Metadata:
        """Correlation id, causation id, actor, command and entries of the application. Decoded at each access."""
        return _decode_metadata(self.recorded_event.metadata)
