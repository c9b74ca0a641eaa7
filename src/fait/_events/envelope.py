"""The envelope around a fact: which stream, which version, when it happened, when the log learned it, and why.

    your event ──encode──► NewEvent ──append──► StoredEvent ──decode──► Recorded[your event]

`NewEvent` and `StoredEvent` hold JSON text: stores move them without knowing any class. `Recorded` is what handlers
see.
"""

import typing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

import msgspec
from msgspec import Raw, Struct

from fait._events.stream import category_of, id_of

if TYPE_CHECKING:  # a default for the type variable, so that a bare `Recorded` is legal in strict mode
    from typing_extensions import TypeVar

    E_co = TypeVar("E_co", covariant=True, default=Any)
else:
    E_co = typing.TypeVar("E_co", covariant=True)

__all__ = ["CommandRecord", "EncodedEvent", "Envelope", "EventSlice", "Metadata", "RecordedEvent", "Untyped"]


class Untyped(Struct, frozen=True):
    """An event without a Python class: imported, or written by a program in another language.

    Attributes:
        type: its stored name.
        data: its JSON, as plain Python values.
        version: its schema version.
    """

    type: str
    data: Any
    schema_version: int = 1


class CommandRecord(Struct, frozen=True):
    """The command that led to an event.

    Attributes:
        name: "category.method" of an aggregate's command, or the class name of a decider's.
        arguments: its arguments by name, as JSON.
    """

    name: str
    arguments: Raw


class Metadata(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known about an event's making; stored as JSON beside its data.

    Attributes:
        correlation_id: the story it belongs to.
        causation_id: the id of the event or request that caused it.
        actor: who wanted it.
        command: what was asked for.
        key: the idempotency key it was written under.
        traceparent: W3C trace context.
        extra: anything else, by your own names.
    """

    correlation_id: str | None = None
    causation_id: str | None = None
    actor: str | None = None
    command: CommandRecord | None = None
    key: str | None = None
    traceparent: str | None = None
    extra: dict[str, Any] = {}


_decode_metadata = msgspec.json.Decoder(Metadata).decode


class EncodedEvent(Struct, frozen=True, gc=False):
    """An event ready to be appended.

    Attributes:
        type, schema: stored name and schema version.
        id: a UUID as text; the same id appended again is the same append.
        data, metadata: JSON text.
        tags: the other things it belongs to, as "kind:id".
        occurred_at: when it became true; None = when it is recorded.
        expires: whether it may be dropped one day; a fact is kept for ever.
    """

    type: str
    schema_version: int
    id: str
    data: str
    metadata: str = "{}"
    tags: tuple[str, ...] = ()
    occurred_at: datetime | None = None
    expires: bool = False


class RecordedEvent(Struct, frozen=True, gc=False):
    """An event as the log keeps it; `data` and `metadata` are JSON text."""

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
"""What a fold needs of a stored event: version, position, id, type, schema version, data."""


class Envelope(Struct, Generic[E_co], frozen=True, gc=False):
    """An event with its envelope, as handlers and read models see it.

    Attributes:
        event: the fact itself.
        stored: the envelope as the log keeps it; the properties below read from it.
    """

    event: E_co
    recorded_event: RecordedEvent

    @property
    def position(self) -> int:
        """Place in the whole log."""
        return self.recorded_event.position

    @property
    def stream(self) -> str:
        """Name of its stream."""
        return self.recorded_event.stream

    @property
    def category(self) -> str:
        """The stream's category: "order" of "order-7"."""
        return category_of(self.recorded_event.stream)

    @property
    def stream_id(self) -> str:
        """The stream's id: "7" of "order-7"."""
        return id_of(self.recorded_event.stream)

    @property
    def version(self) -> int:
        """Place in its stream, from 1."""
        return self.recorded_event.version

    @property
    def type(self) -> str:
        """Stored name of its type."""
        return self.recorded_event.type

    @property
    def id(self) -> str:
        """UUID, as text."""
        return self.recorded_event.id

    @property
    def tags(self) -> tuple[str, ...]:
        """The other things it belongs to."""
        return self.recorded_event.tags

    @property
    def recorded_at(self) -> datetime:
        """When the log learned it (UTC)."""
        return self.recorded_event.recorded_at

    @property
    def occurred_at(self) -> datetime:
        """When it became true (UTC)."""
        return self.recorded_event.occurred_at

    @property
    def metadata(self) -> Metadata:
        """Who, why and as part of which story. Decoded at each access."""
        return _decode_metadata(self.recorded_event.metadata)
