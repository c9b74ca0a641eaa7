"""Encodes events to JSON text and decodes recorded events to instances of their classes.

A decoder is chosen once per stored type and schema version: the decoder of the class itself for the current schema
version, preceded by the chain of upcasters for older ones. Aggregates, read models, handlers, queries and exports all
decode through this module.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from fait._arguments import check_type, described
from fait._errors import FaitError, InvalidValue, UndecodableEvent, UsageError
from fait._events.conversion import Decode, DecodeTable, unknown_type
from fait._events.envelope import EncodedEvent, Envelope, Metadata, RecordedEvent, Untyped
from fait._events.event import (
    MAX_EVENT_NAME_CHARS,
    MAX_SCHEMA_VERSION,
    NOTHING_DECIDED,
    EventType,
    event_type,
    is_event_name,
    is_schema_version,
    not_an_event,
)
from fait._events.query import EVERYTHING, Query
from fait._events.registry import HandledTypes, Registry
from fait._events.stored_names import StoredNames
from fait._events.stream import check_tags
from fait._events.unknown_keys import decode_known_keys, decoded_type
from fait._events.validation import encode_json, path_and_reason, validate

__all__ = [
    "Codec",
    "Decode",
    "DecodeTable",
    "check_event_id",
    "check_occurred_at",
    "copy_event",
    "decode_again",
    "decode_error",
    "decode_recorded",
    "encode_data",
    "encode_metadata",
    "untyped",
    "untyped_decoder",
]

_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode = msgspec.json.decode


class Codec:
    """Encodes and decodes events with the classes and upcasters of one registry.

    Decoders are chosen once, so threads may share a codec.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._types_by_class = {each.cls: each for each in registry.types.values()}
        self._other_names = {each: registry.names.others(each) for each in registry.types}
        self._readable = registry.readable

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
            declared = self._check_untyped(event)
            name, schema_version, data = event.type, event.schema_version, data or _encode_untyped(event)
            if declared is not None:
                # fault: undecodable-untyped-appended
                _check_decodable(declared, data.decode())
                expires = declared.retention is not None
        else:
            raise self._not_included(event)
        if occurred_at is not None:
            check_occurred_at(f"event {name!r}", occurred_at)
        others = self._other_names.get(name, ())
        return EncodedEvent(
            name, schema_version, id, data.decode(), metadata, check_tags(tags), occurred_at, expires, others
        )

    def decoder_for(
        self, handled: HandledTypes, name: str, schema_version: int, stream: str, version: int
    ) -> Decode | None:
        """Return the decoder of an event type for a fold or a handler; None if it does not handle the type.

        Raises `UnknownEventType` for an undeclared type unless untyped events are handled: the missing declaration may
        be one that the fold needs. Stream and version are for error messages. Events that `convert` replaces have no
        decoder.
        """
        registry = handled.registry
        if name in handled.stored_names:
            conversion = registry.conversion(name, schema_version, stream, version)
            assert conversion.declared is not None
            return conversion.decode if conversion.declared.name in handled.types else None
        if name in registry.names.known:
            return None
        if handled.untyped:
            return untyped_decoder(name, schema_version)
        raise unknown_type(name, stream, version, registry.types)

    def convert(self, handled: HandledTypes, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        """Replace the events that no decoder can read alone by the current events that they are read as.

        Such an event is split, or an upcaster takes its envelope. A page without one costs a look at its types.
        """
        converted = handled.registry.names.converted
        if not converted or converted.isdisjoint([each.type for each in events]):
            return events
        return [result for each in events for result in self._results(handled, each)]

    def needs_conversion(
        self, handled: HandledTypes, name: str, schema_version: int, stream: str, version: int
    ) -> bool:
        """Return whether `convert` replaces events of a stored type; the arguments are those of `decoder_for`."""
        if name not in handled.registry.names.converted or name not in handled.stored_names:
            return False
        return handled.registry.conversion(name, schema_version, stream, version).decode is None

    def _results(self, handled: HandledTypes, recorded: RecordedEvent) -> Sequence[RecordedEvent]:
        type, schema_version, stream, version = (
            recorded.type,
            recorded.schema_version,
            recorded.stream,
            recorded.version,
        )
        if not self.needs_conversion(handled, type, schema_version, stream, version):
            return (recorded,)
        try:
            return handled.registry.convert(recorded)
        except Exception as error:
            raise decode_error(error, stream, version, type) from None

    def decode_all(self, recorded: RecordedEvent, handled: HandledTypes) -> list[Envelope[Any]]:
        """Decode an event into the envelopes of handled types that it is read as: usually one."""
        try:  # the usual case first: it must cost next to nothing
            decode = handled.decoders[recorded.type][recorded.schema_version]
        except KeyError:
            return self._decode_results(recorded, handled)
        if decode is None:
            return []
        try:
            return [Envelope(decode(recorded.data), recorded)]
        except Exception as error:
            return [Envelope(_decode_again(decode, recorded, error), recorded)]

    def _decode_results(self, recorded: RecordedEvent, handled: HandledTypes) -> list[Envelope[Any]]:
        name, schema_version, stream, version = (
            recorded.type,
            recorded.schema_version,
            recorded.stream,
            recorded.version,
        )
        if self.needs_conversion(handled, name, schema_version, stream, version):
            results = self._results(handled, recorded)
            return [envelope for each in results for envelope in self.decode_all(each, handled)]
        handled.decoders[name][schema_version] = self.decoder_for(handled, name, schema_version, stream, version)
        return self.decode_all(recorded, handled)

    def decode_selected(
        self, events: Iterable[RecordedEvent], queries: Sequence[Query] = (EVERYTHING,)
    ) -> Iterator[Envelope[Any]]:
        """Decode events that one of the queries selects; events of undeclared types become `Untyped`.

        An event may be read as several; those are left out whose type none of the queries names. A query that names a
        retired type selects all of them.
        """
        readable, names = self._readable, self.registry.names
        for each in events:
            for envelope in self.decode_all(each, readable):
                if not names.may_change_type or any(_selects(query, names, each, envelope) for query in queries):
                    yield envelope

    def _not_included(self, event: object) -> UsageError:
        """Return the error for an event whose class the registry does not have."""
        cls = type(event)
        if event_type(cls) is None:
            return not_an_event(event)
        self.registry.check_together([cls])  # raises if another class of the same name is included
        return UsageError(
            f"the event class {cls.__module__}.{cls.__qualname__} is not included in the app, which would read the "
            f"event as Untyped. Nothing was written: before the app is opened, call app.include({cls.__name__}), or "
            "include an aggregate, a decider, a boundary, a read model or a handler that handles it."
        )

    def _check_untyped(self, event: Untyped) -> EventType | None:
        """Return the declared type of an untyped event, or None."""
        _check_untyped_fields(event)
        declared = self.registry.types.get(event.type)
        if declared is None and event.type in self.registry.names.known:
            current = self.registry.names.current(event.type)
            renamed = f"it is named {current!r} now" if current != event.type else "it has no class any more"
            raise UsageError(
                f"an Untyped event of type {event.type!r} cannot be appended: {renamed}. Nothing was written."
            )
        if declared is not None and event.schema_version != declared.schema_version:
            raise UsageError(
                f"{event.type!r} is declared with schema version {declared.schema_version}; an Untyped event of schema "
                f"version {event.schema_version} cannot be appended. Nothing was written: pass data of the declared "
                f"version, with schema_version={declared.schema_version}."
            )
        return declared


def _check_untyped_fields(event: Untyped) -> None:
    """Raise `UsageError` or `InvalidValue` unless the type and the schema version can be stored."""
    check_type("the type of an Untyped event", event.type, str, "a str")
    if not is_event_name(event.type):
        raise InvalidValue(
            f"event type {event.type[:80]!r}",
            "$",
            f"it must be 1 to {MAX_EVENT_NAME_CHARS} printable characters, without leading, trailing or double spaces",
        )
    if event.type == NOTHING_DECIDED:
        raise InvalidValue(f"event type {event.type!r}", "$", "the type is reserved")
    if not is_schema_version(event.schema_version):
        raise UsageError(
            f"the schema_version of an Untyped event must be an integer from 1 to {MAX_SCHEMA_VERSION}, not "
            f"{described(event.schema_version)}. Nothing was written."
        )


def _check_decodable(declared: EventType, text: str) -> None:
    """Raise `InvalidValue` unless the class of a declared type can decode the data, which no class has encoded."""
    try:
        declared.decode(text)
        return
    except Exception as error:
        first_error = error
    try:
        decode_known_keys(declared, text, first_error)
    except Exception as error:
        name, cls = declared.name, declared.cls.__qualname__
        raise InvalidValue(
            f"event {name!r}", "$", f"the class {cls} cannot decode its data ({_reason(error)})"
        ) from None


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


def decode_again(decode: Decode, text: str, error: Exception, stream: str, version: int, name: str) -> Any:
    """Decode an event again without keys that its class does not know, or raise why it could not be decoded.

    Args:
        decode: the decoder that failed.
        text: the JSON text.
        error: why it failed.
        stream: name of the event's stream, for the error.
        version: version of the event in the stream, for the error.
        name: stored name of its type, for the error.

    Raises:
        FaitError: the event cannot be decoded, for another reason than an unknown key.
    """
    try:
        if (declared := decoded_type(decode)) is not None:
            return decode_known_keys(declared, text, error)
    except Exception as next_error:
        error = next_error
    raise decode_error(error, stream, version, name) from None


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
        raise InvalidValue(f"event id {described(text, show_text=True)}", "$", "it is not a UUID") from None


def decode_recorded(decode: Decode, recorded: RecordedEvent) -> Any:
    """Decode a recorded event; raise `UndecodableEvent` if that fails."""
    try:
        return decode(recorded.data)
    except Exception as error:
        return _decode_again(decode, recorded, error)


def _decode_again(decode: Decode, recorded: RecordedEvent, error: Exception) -> Any:
    return decode_again(decode, recorded.data, error, recorded.stream, recorded.version, recorded.type)


def _selects(query: Query, names: StoredNames, recorded: RecordedEvent, envelope: Envelope[Any]) -> bool:
    """Return whether a query selects a recorded event, as the type that it is read as or the retired one."""
    declared = event_type(cast("Any", type(envelope.event)))
    # fault: split-selected-as-stored
    types = {envelope.type if declared is None else declared.name, *({recorded.type} & names.retired)}
    untyped_query = Query((), query.tags, query.category)
    return untyped_query.matches(recorded) and any(names.selects(query, each) for each in types)


def _reason(error: Exception) -> str:
    # The messages of msgspec contain types and paths. Those of Pydantic quote values, so only the class is shown.
    if not isinstance(error, msgspec.ValidationError):
        return type(error).__name__
    # fault: value-in-the-error-of-an-undecodable-event
    path, reason = path_and_reason(error)
    return reason if path == "$" else f"{reason} - at `{path}`"


def _describe(error: Exception) -> str:
    advice = "If a field was renamed or its type changed, increase the event's version and add an @fait.upcast"
    return f"{_reason(error)}. {advice}"
