"""One way in and one way out: events become JSON text when they are appended, and classes again on every read path.

Decoding picks a reader by stored type and schema version, once: for current events it is the class's own decoder;
for older ones the chain of upcasters runs first. Aggregates, read models, handlers, queries and exports all read
through here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from fait._errors import EventTooNew, FaitError, InvalidValue, UndecodableEvent, UnknownEventType, UsageError
from fait._events.envelope import EncodedEvent, Envelope, Metadata, RecordedEvent, Untyped
from fait._events.event import EventType, event_type, is_event_name
from fait._events.registry import HandledTypes, Registry
from fait._events.stream import check_tags
from fait._events.upcast import Upcaster
from fait._events.validation import encode_json, validate

__all__ = [
    "Codec",
    "Decode",
    "DecodeTable",
    "check_event_id",
    "decode_error",
    "encode_metadata",
    "untyped",
    "untyped_decoder",
]

Decode = Callable[[str], Any]

DecodeTable = defaultdict[str, dict[int, Decode | None]]
"""What decodes events, by type and schema version; None = events that are not taken. A key of two parts would be slow:
asking would take a fifth of the time of decoding."""

_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode = msgspec.json.decode


class Codec:
    """Turns events into what a store keeps, and back, with the classes of one registry."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._declared_types: dict[type, EventType] = {}
        self._decoders: DecodeTable = defaultdict(dict)

    def encode(
        self,
        event: object,
        *,
        id: str,
        metadata: str = "{}",
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
    ) -> EncodedEvent:
        """Encode an event and prove that it can be read again. Raises `InvalidValue` with the path to a bad value."""
        declared, expires = self._declared_types.get(type(event)), False
        if declared is not None:
            name, schema, data = declared.name, declared.schema_version, declared.encode(event)
            expires = declared.retention is not None
        elif isinstance(event, Untyped):
            name, schema, data = event.type, event.schema_version, self._encode_untyped(event)
        else:
            declared = self._declared_types[type(event)] = self._declared(event)
            name, schema, data = declared.name, declared.schema_version, declared.encode(event)
            expires = declared.retention is not None
        if occurred_at is not None:
            _check_moment(name, occurred_at)
        known_tags = check_tags(tags) if tags else ()
        return EncodedEvent(name, schema, id, data.decode(), metadata, known_tags, occurred_at, expires)

    def decode(self, stored: RecordedEvent) -> Any:
        """Decode the fact itself. An event of an unknown type is an error; `recorded` can give it as `Untyped`."""
        reader = self.decoder(stored.type, stored.schema_version, stored.stream, stored.version)
        try:
            return reader(stored.data)
        except Exception as problem:
            raise decode_error(problem, stored.stream, stored.version, stored.type) from None

    def decoder(self, name: str, schema: int, stream: str, version: int) -> Decode:
        """What decodes the data of an event type at a schema version; stream and version are for the error's text."""
        reader = self._decoders[name].get(schema)
        if reader is None:
            reader = self._decoders[name][schema] = self._find_decoder(name, schema, stream, version)
        return reader

    def decoder_for(self, taken: HandledTypes, name: str, schema: int, stream: str, version: int) -> Decode | None:
        """What decodes events of a kind for somebody who takes these; None if they are none of his business.

        An undeclared event that he does not take as `Untyped` is an error: it may be one that he ought to know.
        """
        known = name in self.registry.types
        if known and name not in taken.types:
            return None
        if not known and taken.untyped:
            return untyped_decoder(name, schema)
        return self.decoder(name, schema, stream, version)

    def decode_envelope(self, stored: RecordedEvent) -> Envelope[Any]:
        """Decode an event with its envelope; one of an undeclared type comes as `Untyped`."""
        return Envelope(self.decode_any(stored), stored)

    def decode_any(self, stored: RecordedEvent) -> Any:
        """Decode the fact itself; one of an undeclared type comes as `Untyped`."""
        return self.decode(stored) if stored.type in self.registry.types else untyped(stored)

    def _declared(self, event: object) -> EventType:
        cls = type(event)
        declared = event_type(cls)
        if declared is None:
            raise UsageError(
                f"{cls.__module__}.{cls.__qualname__} is not an event: declare it with @fait.event('some-name'), "
                "or use fait.Untyped(type, data) for an event without a class. Nothing was written."
            )
        if self.registry.types.get(declared.name) is not declared:
            self.registry.add(cls)
        return declared

    def _encode_untyped(self, event: Untyped) -> bytes:
        if not is_event_name(event.type):
            raise InvalidValue(f"event type {event.type[:80]!r}", "type", "it is empty, too long, or not printable")
        known = self.registry.types.get(event.type)
        if known is not None and event.schema_version != known.schema_version:
            raise UsageError(
                f"{event.type!r} is at schema version {known.schema_version}: version {event.schema_version} is not written any "
                f"more. "
                "Nothing was written."
            )
        if not isinstance(event.data, msgspec.Raw):
            return encode_json(event.data, event.type)
        data = bytes(event.data)
        validate(data, event.type)
        return data

    def _find_decoder(self, name: str, schema: int, stream: str, version: int) -> Decode:
        declared = self.registry.types.get(name)
        if declared is None:
            why = "no included event has that name; include its class"
            raise UnknownEventType(stream, version, name, why)
        if schema > declared.schema_version:
            known = declared.schema_version
            why = f"it was written as schema version {schema}, this code knows {known}: deploy newer code first"
            raise EventTooNew(stream, version, name, why)
        steps = self.registry.upcasters_from(declared, schema)
        return _upcast_decoder(steps, declared.decode) if steps else declared.decode


def untyped(stored: RecordedEvent) -> Untyped:
    """The event as plain JSON values, whatever classes there are."""
    return untyped_decoder(stored.type, stored.schema_version)(stored.data)


def untyped_decoder(name: str, schema: int) -> Decode:
    """What decodes an event of this type as plain JSON values."""
    return lambda text: Untyped(name, _decode(text), schema)


def decode_error(problem: Exception, stream: str, version: int, name: str) -> FaitError:
    """What is told when an event could not be decoded."""
    return problem if isinstance(problem, FaitError) else UndecodableEvent(stream, version, name, _describe(problem))


def encode_metadata(metadata: Metadata) -> str:
    """JSON text of the metadata. Raises `InvalidValue` when `extra` or a command's arguments cannot be stored."""
    if metadata.extra:
        encode_json(metadata.extra, "metadata extra")
    try:
        data = _encode(metadata)
    except (TypeError, ValueError, OverflowError, RecursionError) as problem:
        raise InvalidValue("metadata", "$", f"JSON cannot hold it ({type(problem).__name__})") from None
    validate(data, "metadata")
    return data.decode()


_UNSTORABLE_MOMENTS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def _check_moment(name: str, occurred_at: datetime) -> None:
    if not isinstance(occurred_at, datetime) or occurred_at.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(name, "occurred_at", "it is not a datetime with a time zone")
    try:
        known = occurred_at.astimezone(UTC) not in _UNSTORABLE_MOMENTS
    except OverflowError:
        known = False
    if not known:  # to a database they may be infinite
        raise InvalidValue(name, "occurred_at", "it is the first or the last moment that there is, or beyond")


def check_event_id(text: str) -> str:
    """The id as canonical UUID text, or `InvalidValue`."""
    try:
        return str(UUID(text))
    except (ValueError, AttributeError, TypeError):
        raise InvalidValue(f"event id {text!r}", "id", "it is not a UUID") from None


def _upcast_decoder(steps: tuple[Upcaster, ...], decode: Callable[[bytes], Any]) -> Decode:
    def read(text: str) -> Any:
        data = _decode(text)
        for step in steps:
            data = step(data)
        return decode(_encode(data))

    return read


def _describe(problem: Exception) -> str:
    # A decoder's message names types and paths; a Pydantic one would quote the input, so only its class is told.
    text = str(problem) if isinstance(problem, msgspec.ValidationError) else type(problem).__name__
    return f"{text}. Was a field renamed or its type changed? Then raise the version and add @fait.upcast"
