"""Encodes events to JSON text and decodes recorded events to instances of their classes.

A decoder is chosen once per stored type and schema version: the decoder of the class itself for the current schema
version, preceded by the chain of upcasters for older ones. Aggregates, read models, handlers, queries and exports all
decode through this module.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from fait._errors import EventTooNew, FaitError, InvalidValue, UndecodableEvent, UnknownEventType, UsageError
from fait._events.envelope import EncodedEvent, Envelope, Metadata, RecordedEvent, Untyped
from fait._events.event import MAX_EVENT_NAME_CHARS, NOTHING_DECIDED, EventType, event_type, is_event_name, not_an_event
from fait._events.registry import HandledTypes, Registry
from fait._events.stream import check_tags
from fait._events.upcast import Upcaster
from fait._events.validation import encode_json, validate

__all__ = [
    "Codec",
    "Decode",
    "DecodeTable",
    "check_event_id",
    "check_occurred_at",
    "copy_event",
    "decode_error",
    "encode_data",
    "encode_metadata",
    "untyped",
    "untyped_decoder",
]

Decode = Callable[[str], Any]

DecodeTable = defaultdict[str, dict[int, Decode | None]]
"""Decoders by type, then schema version; None: events that are not handled.

Nested, because a lookup by a tuple would take a fifth as long as decoding the event."""

_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode = msgspec.json.decode


class Codec:
    """Encodes and decodes events with the classes and upcasters of one registry.

    Decoders are chosen once, so threads may share a codec.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._types_by_class = {each.cls: each for each in registry.types.values()}
        self._decoders: defaultdict[EventType, dict[int, Decode]] = defaultdict(dict)

    def encode(
        self,
        event: object,
        *,
        id: str,
        metadata: str = "{}",
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
        data: bytes | None = None,
    ) -> EncodedEvent:
        """Encode an event and check that it decodes to an equal event; raise `InvalidValue` if it does not.

        Raises `UsageError` if the registry does not have its class. `data` is the result of an earlier `encode_data`;
        None: encode the event now.
        """
        declared, expires = self._types_by_class.get(type(event)), False
        # fault: event-not-included
        if declared is not None:
            name, schema_version, data = declared.name, declared.schema_version, data or declared.encode(event)
            expires = declared.retention is not None
        elif isinstance(event, Untyped):
            self._check_untyped(event)
            name, schema_version, data = event.type, event.schema_version, data or _encode_untyped(event)
        else:
            raise self._not_included(event)
        if occurred_at is not None:
            check_occurred_at(f"event {name!r}", occurred_at)
        valid_tags = () if tags == () else check_tags(tags)
        return EncodedEvent(name, schema_version, id, data.decode(), metadata, valid_tags, occurred_at, expires)

    def decoder_for(
        self, handled: HandledTypes, name: str, schema_version: int, stream: str, version: int
    ) -> Decode | None:
        """Return the decoder of an event type for a fold or a handler; None if it does not handle the type.

        Raises `UnknownEventType` for an undeclared type unless untyped events are handled: the missing declaration may
        be one that the fold needs. Stream and version are for error messages.
        """
        if declared := handled.types.get(name):
            decode = self._decoders[declared].get(schema_version)
            return decode or self._add_decoder(declared, schema_version, stream, version)
        if name in self.registry.types:
            return None
        if handled.untyped:
            return untyped_decoder(name, schema_version)
        reason = "no included event class has that name. Include its class in the app, with app.include(...)"
        raise UnknownEventType(stream, version, name, reason)

    def decode_envelope(self, recorded: RecordedEvent) -> Envelope[Any]:
        """Decode an event into an envelope; an event of an undeclared type becomes an `Untyped`."""
        return Envelope(self.decode_any(recorded), recorded)

    def decode_any(self, recorded: RecordedEvent) -> Any:
        """Decode an event; one of an undeclared type becomes an `Untyped`."""
        return self._decode(self.registry.types.get(recorded.type), recorded)

    def decode_handled(self, handled: HandledTypes, recorded: RecordedEvent) -> Any:
        """Decode an event of one of the handled types."""
        return self._decode(handled.types.get(recorded.type), recorded)

    def _decode(self, declared: EventType | None, recorded: RecordedEvent) -> Any:
        if declared is None:
            return untyped(recorded)
        schema_version = recorded.schema_version
        decode = self._decoders[declared].get(schema_version) or self._add_decoder(
            declared, schema_version, recorded.stream, recorded.version
        )
        try:
            return decode(recorded.data)
        except Exception as error:
            raise decode_error(error, recorded.stream, recorded.version, recorded.type) from None

    def _not_included(self, event: object) -> UsageError:
        """Return the error for an event whose class the registry does not have."""
        cls = type(event)
        if event_type(cls) is None:
            return not_an_event(event)
        self.registry.handled_types([cls])  # raises if another class of the same name is included
        return UsageError(
            f"the event class {cls.__module__}.{cls.__qualname__} is not included in the app, which would read the "
            f"event as Untyped. Nothing was written: before the app is opened, call app.include({cls.__name__}), or "
            "include an aggregate, a decider, a boundary, a read model or a handler that handles it."
        )

    def _check_untyped(self, event: Untyped) -> None:
        if not is_event_name(event.type):
            raise InvalidValue(
                f"event type {event.type[:80]!r}",
                "$",
                f"it must be 1 to {MAX_EVENT_NAME_CHARS} printable characters, without leading, trailing or double "
                "spaces",
            )
        if event.type == NOTHING_DECIDED:
            raise InvalidValue(f"event type {event.type!r}", "$", "the type is reserved")
        declared = self.registry.types.get(event.type)
        if declared is not None and event.schema_version != declared.schema_version:
            raise UsageError(
                f"{event.type!r} is declared with schema version {declared.schema_version}; an Untyped event of schema "
                f"version {event.schema_version} cannot be appended. Nothing was written: pass data of the declared "
                f"version, with schema_version={declared.schema_version}."
            )

    def _add_decoder(self, declared: EventType, schema_version: int, stream: str, version: int) -> Decode:
        if schema_version > declared.schema_version:
            reason = (
                f"it has schema version {schema_version}, but its class declares version {declared.schema_version}. "
                "Newer code wrote it: deploy that code here too"
            )
            raise EventTooNew(stream, version, declared.name, reason)
        upcasters = self.registry.upcasters_from(declared, schema_version)
        decode = _upcast_decoder(upcasters, declared.decode) if upcasters else declared.decode
        self._decoders[declared][schema_version] = decode
        return decode


def encode_data(event: object) -> bytes:
    """Encode the fields of an event, and check them as `Codec.encode` does."""
    declared = event_type(type(event))
    if declared is not None:
        return declared.encode(event)
    if isinstance(event, Untyped):
        return _encode_untyped(event)
    raise not_an_event(event)


def copy_event(event: object, data: bytes) -> Any:
    """Return a copy of an event, made of its encoded data, which shares no object with it."""
    if isinstance(event, Untyped):
        return Untyped(event.type, _decode(data), event.schema_version)
    declared = event_type(type(event))
    assert declared is not None
    return declared.decode(data)


def untyped(recorded: RecordedEvent) -> Untyped:
    """Decode an event as plain JSON values, even if its type is declared."""
    return untyped_decoder(recorded.type, recorded.schema_version)(recorded.data)


def untyped_decoder(name: str, schema_version: int) -> Decode:
    """Return a decoder for events of this type as plain JSON values."""
    return lambda text: Untyped(name, _decode(text), schema_version)


def decode_error(error: Exception, stream: str, version: int, name: str) -> FaitError:
    """Return the exception to raise when an event could not be decoded because of `error`."""
    return error if isinstance(error, FaitError) else UndecodableEvent(stream, version, name, _describe(error))


def encode_metadata(metadata: Metadata) -> str:
    """Encode metadata to JSON text; raise `InvalidValue` if `extra` or the command's arguments cannot be stored."""
    if metadata.extra:
        encode_json(metadata.extra, "extra metadata")
    try:
        data = _encode(metadata)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidValue("metadata", "$", f"it cannot be encoded as JSON ({type(error).__name__})") from None
    validate(data, "metadata")
    return data.decode()


_INFINITE = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def _encode_untyped(event: Untyped) -> bytes:
    if not isinstance(event.data, msgspec.Raw):
        return encode_json(event.data, f"event {event.type!r}")
    data = bytes(event.data)
    validate(data, f"event {event.type!r}")
    return data


def check_occurred_at(subject: str, occurred_at: datetime) -> None:
    """Raise `InvalidValue` unless every backend can store the time at which an event occurred."""
    if not isinstance(occurred_at, datetime) or occurred_at.utcoffset() is None:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(subject, "occurred_at", "it is not a datetime with a time zone")
    try:
        is_valid = occurred_at.astimezone(UTC) not in _INFINITE
    except OverflowError:
        is_valid = False
    if not is_valid:  # asyncpg maps datetime.min and datetime.max to -infinity and infinity
        raise InvalidValue(
            subject, "occurred_at", "in UTC, it is not between datetime.min and datetime.max, both excluded"
        )


def check_event_id(text: str) -> str:
    """Return the id as canonical UUID text; raise `InvalidValue` if it is not a UUID."""
    try:
        return str(UUID(text))
    except (ValueError, AttributeError, TypeError):
        raise InvalidValue(f"event id {text!r}", "$", "it is not a UUID") from None


def _upcast_decoder(upcasters: tuple[Upcaster, ...], decode: Callable[[bytes], Any]) -> Decode:
    def upcast_and_decode(text: str) -> Any:
        data = _decode(text)
        for upcaster in upcasters:
            data = upcaster(data)
        return decode(_encode(data))

    return upcast_and_decode


def _describe(error: Exception) -> str:
    # The messages of msgspec contain types and paths. Those of Pydantic quote values, so only the class is shown.
    text = str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
    return f"{text}. If a field was renamed or its type changed, increase the event's version and add an @fait.upcast"
