"""Converts a line of a JSONL file to an event, and an event back to the same line.

    {"stream": "case-891", "type": "received", "time": "2010-10-02T09:20:39+02:00", "data": {...}}
    {"id": "1", "type": "place order", "time": "…", "tags": ["order:990001", "item:880001"], "data": {...}}

An `id` that is a UUID is the id of the event. `data` is stored byte for byte. What an event cannot represent (unknown
keys, the original form of the time) is stored in the metadata under `extra.imported_line`, as key and JSON value. The
value null marks a key that was absent.
"""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, Struct

from fait._errors import InvalidValue
from fait._events.codec import check_occurred_at
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.event import MAX_SCHEMA_VERSION
from fait._events.stream import check_stream, check_tag
from fait._events.validation import validate

__all__ = ["EventLine", "InvalidLine", "canonical_time", "format_line", "parse_line"]

_NULL: Final = Raw(b"null")

_decode_line = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode
_decode_uuid = msgspec.json.Decoder(UUID).decode
_decode_tags = msgspec.json.Decoder(list[str]).decode
_decode_schema_version = msgspec.json.Decoder(Annotated[int, Meta(ge=1, le=MAX_SCHEMA_VERSION)]).decode
_encode = msgspec.json.encode


class _Extra(Struct, frozen=True):
    imported_line: dict[str, Raw] = {}


class _ImportMetadata(Struct, frozen=True):
    """The part of `Metadata` that an import writes, with values in their original form."""

    extra: _Extra = _Extra()


_decode_import_metadata = msgspec.json.Decoder(_ImportMetadata).decode


class InvalidLine(Exception):
    """A line is not a valid event. The text gives the reason."""


class EventLine(Struct, frozen=True):
    """A line of a file as an event.

    Attributes:
        number: line number, from 1.
        stream: name of the stream.
        event: the encoded event.
        size_bytes: size of the line.
    """

    number: int
    stream: str
    event: EncodedEvent
    size_bytes: int


def parse_line(number: int, raw: bytes, category: str | None) -> EventLine:
    """Parse a line. Importing the file again gives the same ids of events.

    Args:
        number: line number, from 1.
        raw: the line without its line ending.
        category: kind of the tag that names the stream, for lines without a stream.

    Raises:
        InvalidLine: the line is not a valid event.
    """
    try:
        return _parse(number, raw, category)
    except InvalidValue as error:
        prefix = "" if error.path == "$" else f"{error.path}: "
        raise InvalidLine(f"{prefix}{error.reason}") from None


def format_line(event: RecordedEvent) -> bytes:
    """Format an event as a line without line ending. An imported event gives the line it was imported from."""
    try:
        imported = _decode_import_metadata(event.metadata).extra.imported_line
    except msgspec.ValidationError:  # the application uses `extra` for its own data
        imported = {}
    fields: dict[str, Any] = {"stream": event.stream, "type": event.type}
    if event.schema_version != 1:
        fields["schema_version"] = event.schema_version
    fields["time"] = canonical_time(event.occurred_at)
    if event.tags:
        fields["tags"] = event.tags
    restored = {name: imported.get(name, value) for name, value in fields.items()}
    unknown = {name: value for name, value in imported.items() if name not in fields}
    line = {name: value for name, value in {**unknown, **restored}.items() if value != _NULL or name not in fields}
    line["data"] = Raw(event.data.encode())
    encoded = _encode(line)
    return msgspec.json.format(encoded, indent=-1) if b"\n" in encoded else encoded


def canonical_time(time: datetime) -> str:
    """Format a time in UTC with microseconds. A line with this form needs no copy of the original."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _parse(number: int, raw: bytes, category: str | None) -> EventLine:
    """Take the known keys out of the line. The remaining keys go into the metadata."""
    keys = _decode_object(raw)
    data = keys.pop("data", None)
    type = _check_name("type", _pop_string(keys, "type"))
    time = _parse_time(_pop_string(keys, "time"), keys)
    tags = _pop_tags(keys)
    stream = check_stream(_pop_string(keys, "stream")) if "stream" in keys else _stream_of(tags, category, keys)
    schema_version = _pop_schema_version(keys)
    id = _event_id(number, raw, keys.get("id"))
    if data is None:
        raise InvalidLine('"data" is missing')
    content = bytes(data)
    validate(content, "data")
    metadata = _encode_metadata(keys) if keys else "{}"
    event = EncodedEvent(type, schema_version, id, content.decode(), metadata, tags, time)
    return EventLine(number, stream, event, len(raw))


def _decode_object(raw: bytes) -> dict[str, Raw]:
    try:
        raw.decode()
        return _decode_line(raw)
    except UnicodeDecodeError as error:
        raise InvalidLine(f"invalid UTF-8 at byte {error.start}") from None
    except msgspec.ValidationError:
        raise InvalidLine("expected a JSON object") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidLine(f"invalid JSON: {error}") from None


def _pop_string(keys: dict[str, Raw], key: str) -> str:
    value = keys.pop(key, None)
    if value is None:
        raise InvalidLine(f'"{key}" is missing')
    try:
        return _decode_string(value)
    except msgspec.MsgspecError:
        raise InvalidLine(f'"{key}" is not a string') from None


def _check_name(key: str, text: str) -> str:
    try:
        return check_tag(text)  # event types and tags have the same restrictions
    except InvalidValue as error:
        raise InvalidLine(f'"{key}" cannot be stored: {error.reason}') from None


def _parse_time(text: str, keys: dict[str, Raw]) -> datetime:
    """Parse an ISO 8601 time.

    If an export would format the time differently, keep its text in `keys`, which become metadata.
    """
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise InvalidLine('"time" has no time zone: append Z for UTC, or an offset such as +02:00')
        time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidLine('"time" is not a valid ISO 8601 time') from None
    # fault: infinite-time-imported
    _check_time(time)
    if not text.endswith("Z") or text != canonical_time(time):
        keys["time"] = Raw(_encode(text))
    return time


def _check_time(time: datetime) -> None:
    try:
        check_occurred_at("time", time)
    except InvalidValue:
        raise InvalidLine(
            '"time" must be later than 0001-01-01T00:00:00Z and earlier than 9999-12-31T23:59:59.999999Z'
        ) from None


def _pop_tags(keys: dict[str, Raw]) -> tuple[str, ...]:
    value = keys.pop("tags", None)
    if value is None:
        return ()
    try:
        tags = tuple(_check_name("tags", tag) for tag in _decode_tags(value))
    except msgspec.MsgspecError:
        raise InvalidLine('"tags" is not a list of strings') from None
    if not tags:
        keys["tags"] = value
    return tags


def _stream_of(tags: tuple[str, ...], category: str | None, keys: dict[str, Raw]) -> str:
    """Derive the stream from the first tag of the kind `category`, or else from the first tag with a kind and an id."""
    parts = [tag.partition(":") for tag in tags]
    candidates = [(kind, id) for kind, _, id in parts if kind and id]
    if not candidates:
        raise InvalidLine('"stream" is missing, and no tag of the form "kind:id" can replace it')
    kind, id = next((each for each in candidates if each[0] == category), candidates[0])
    keys["stream"] = _NULL
    return check_stream(f"{kind}-{id}")


def _pop_schema_version(keys: dict[str, Raw]) -> int:
    """Return the schema version, and remove it from the keys if it is greater than 1.

    An explicit 1 and a value of another type stay: they go into the metadata, so that an export restores them.
    """
    value = keys.get("schema_version")
    if value is None:
        return 1
    try:
        schema_version = _decode_schema_version(value)
    except msgspec.MsgspecError:
        return 1
    if schema_version > 1:
        del keys["schema_version"]
    return schema_version


def _encode_metadata(unknown: dict[str, Raw]) -> str:
    metadata = _encode(_ImportMetadata(_Extra(unknown)))
    validate(metadata, "other keys")
    return metadata.decode()


def _event_id(number: int, raw: bytes, given: Raw | None) -> str:
    """Return the given id if it is a UUID; otherwise a UUIDv8 made of a hash of the line and its number."""
    # fault: given-id-ignored
    if given is not None:
        with suppress(msgspec.MsgspecError):
            return str(_decode_uuid(given))
    digest = hashlib.sha256(b"%d\0" % number + raw).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
