"""A line of a JSONL file is an event: how it becomes one, and how an event becomes that line again.

    {"stream": "case-891", "type": "received", "time": "2010-10-02T09:20:39+02:00", "data": {...}}
    {"id": "1", "type": "place order", "time": "…", "tags": ["order:990001", "item:880001"], "data": {...}}

`data` is kept byte by byte. What else stands in the line and has no place in an event (other keys, the time as it was
written) is kept in the metadata, under `extra.imported_line`, as key and JSON value; null for a key that was absent.
"""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from fait._errors import InvalidValue
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.stream import check_stream, check_tag
from fait._events.validation import validate

__all__ = ["BadLine", "EventLine", "canonical_time", "format_line", "parse_line"]

_NULL: Final = Raw(b"null")

_decode_line = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_tags = msgspec.json.Decoder(list[str]).decode
_decode_schema = msgspec.json.Decoder(Annotated[int, Meta(ge=1, lt=1 << 31)]).decode
_encode = msgspec.json.encode


class _Extra(Struct, frozen=True):
    imported_line: dict[str, Raw] = {}


class _ImportMetadata(Struct, frozen=True):
    """The part of `Metadata` that is an import's, with values as they were written."""

    extra: _Extra = _Extra()


_decode_kept = msgspec.json.Decoder(_ImportMetadata).decode


class BadLine(Exception):
    """A line that is no event, with the reason."""


class EventLine(Struct, frozen=True):
    """A line of a file as an event.

    Attributes:
        number: of the line, from 1.
        stream: where it goes.
        event: what is stored.
        size: of the line, in bytes.
    """

    number: int
    stream: str
    event: EncodedEvent
    size: int


def parse_line(number: int, raw: bytes, category: str | None) -> EventLine:
    """The event that a line means; its id is made of the line and its number, so the same file gives the same ids.

    Args:
        number: of the line, from 1.
        raw: the line, without its end.
        category: of the tag that names the stream, where the line names none.

    Raises:
        BadLine: it is no event.
    """
    try:
        return _read(number, raw, category)
    except InvalidValue as problem:
        where = "" if problem.path == "$" else f"{problem.path}: "
        raise BadLine(f"{where}{problem.reason}") from None


def format_line(stored: RecordedEvent) -> bytes:
    """The line of an event, without its end: the one it was imported from, if it was imported."""
    try:
        kept = _decode_kept(stored.metadata).extra.imported_line
    except msgspec.ValidationError:  # somebody else's `extra`
        kept = {}
    known: dict[str, Any] = {"stream": stored.stream, "type": stored.type}
    if stored.schema_version != 1:
        known["schema"] = stored.schema_version
    known["time"] = canonical_time(stored.occurred_at)
    if stored.tags:
        known["tags"] = stored.tags
    changed = {name: kept.get(name, value) for name, value in known.items()}
    others = {name: value for name, value in kept.items() if name not in known}
    line = {name: value for name, value in {**others, **changed}.items() if value != _NULL or name not in known}
    line["data"] = Raw(stored.data.encode())
    encoded = _encode(line)
    return msgspec.json.format(encoded, indent=-1) if b"\n" in encoded else encoded


def canonical_time(moment: datetime) -> str:
    """A moment in UTC, to the microsecond: the form that needs no further keeping."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _read(number: int, raw: bytes, category: str | None) -> EventLine:
    rest = _object(raw)
    data = rest.pop("data", None)
    name = _check_name("type", _text(rest, "type"))
    moment = _moment(_text(rest, "time"), rest)
    tags = _tags(rest)
    stream = check_stream(_text(rest, "stream")) if "stream" in rest else _stream_of(tags, category, rest)
    schema = _schema(rest)
    if data is None:
        raise BadLine('it has no "data"')
    content = bytes(data)
    validate(content, "data")
    metadata = _encode_kept(rest) if rest else "{}"
    event = EncodedEvent(name, schema, _event_id(number, raw), content.decode(), metadata, tags, moment)
    return EventLine(number, stream, event, len(raw))


def _object(raw: bytes) -> dict[str, Raw]:
    try:
        raw.decode()
        return _decode_line(raw)
    except UnicodeDecodeError as problem:
        raise BadLine(f"byte {problem.start} is not UTF-8") from None
    except msgspec.ValidationError:
        raise BadLine("it is JSON, but not an object") from None
    except (msgspec.DecodeError, RecursionError) as problem:
        raise BadLine(f"it is not JSON: {problem}") from None


def _text(rest: dict[str, Raw], key: str) -> str:
    value = rest.pop(key, None)
    if value is None:
        raise BadLine(f'it has no "{key}"')
    try:
        return _decode_text(value)
    except msgspec.MsgspecError:
        raise BadLine(f'its "{key}" is not text') from None


def _check_name(key: str, text: str) -> str:
    try:
        return check_tag(text)  # what a database can keep as a name is the same for types and tags
    except InvalidValue as problem:
        raise BadLine(f'its "{key}" cannot be stored: {problem.reason}') from None


def _moment(text: str, rest: dict[str, Raw]) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise BadLine('its "time" has no zone: it would mean another moment on every machine')
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadLine('its "time" is not an ISO 8601 moment') from None
    if not text.endswith("Z") or text != canonical_time(moment):
        rest["time"] = Raw(_encode(text))
    return moment


def _tags(rest: dict[str, Raw]) -> tuple[str, ...]:
    value = rest.pop("tags", None)
    if value is None:
        return ()
    try:
        tags = tuple(_check_name("tags", tag) for tag in _decode_tags(value))
    except msgspec.MsgspecError:
        raise BadLine('its "tags" are not a list of texts') from None
    if not tags:
        rest["tags"] = value
    return tags


def _stream_of(tags: tuple[str, ...], category: str | None, rest: dict[str, Raw]) -> str:
    parts = [tag.partition(":") for tag in tags]
    named = [(kind, id) for kind, _, id in parts if kind and id]
    if not named:
        raise BadLine('it has no "stream", and no tag of the form "kind:id" to name one')
    kind, id = next((each for each in named if each[0] == category), named[0])
    rest["stream"] = _NULL
    return check_stream(f"{kind}-{id}")


def _schema(rest: dict[str, Raw]) -> int:
    value = rest.get("schema")
    if value is None:
        return 1
    try:
        schema = _decode_schema(value)
    except msgspec.MsgspecError:
        return 1
    if schema > 1:
        del rest["schema"]
    return schema


def _encode_kept(rest: dict[str, Raw]) -> str:
    metadata = _encode(_ImportMetadata(_Extra(rest)))
    validate(metadata, "other keys")
    return metadata.decode()


def _event_id(number: int, raw: bytes) -> str:
    """A UUIDv8 of the line's hash."""
    digest = hashlib.sha256(b"%d\0" % number + raw).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
