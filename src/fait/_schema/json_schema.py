"""Writes a description as a JSON Schema, of draft 2020-12."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from fait._schema.description import (
    Anything,
    Array,
    Boolean,
    Choice,
    Description,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    Member,
    Null,
    Number,
    OneOf,
    Opaque,
    Reference,
    Text,
)

__all__ = ["DIALECT", "json_schema"]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema(description: Description, *, closed: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of the events that a description describes, as fait stores them.

    Decimals and durations are strings. Bytes are base64, except those of Pydantic models.

    Args:
        description: the result of `describe`.
        closed: whether objects allow only the members that they name. A reader that ignores members it does not know
            can read later versions; a writer writes no others.
    """
    definitions = {name: _schema_of(record, closed) for name, record in description.records.items()}
    return {"$schema": DIALECT, **_schema_of(description.root, closed), "$defs": definitions}


def _schema_of(node: JsonType, closed: bool) -> dict[str, Any]:
    match node:
        case Null():
            return {"type": "null"}
        case Boolean():
            return {"type": "boolean"}
        case Number():
            return _number_schema(node)
        case Text():
            return _text_schema(node)
        case Choice():
            return {"enum": list(node.values)}
        case Array():
            return _given(
                {"type": "array", "items": _schema_of(node.items, closed)},
                minItems=node.min_items or None,
                maxItems=node.max_items,
                uniqueItems=node.unique or None,
            )
        case FixedArray():
            return _tuple_schema(node, closed)
        case JsonMap():
            types = {"propertyNames": _schema_of(node.keys, closed)} if node.keys != Text() else {}
            schema = {"type": "object", **types, "additionalProperties": _schema_of(node.values, closed)}
            return _given(schema, minProperties=node.min_size or None, maxProperties=node.max_size)
        case JsonObject():
            return _object_schema(node, closed)
        case OneOf():
            return {"anyOf": [_schema_of(each, closed) for each in node.types]}
        case Anything():
            return {}
        case Reference():
            return {"$ref": f"#/$defs/{escape_pointer(node.name)}"}
        case Opaque():
            raise AssertionError("a description of a class has no opaque part")


def escape_pointer(name: str) -> str:
    """Return a name as one step of a JSON pointer in a URL fragment."""
    from urllib.parse import quote

    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~")


def _given(schema: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    return schema | {name: value for name, value in keywords.items() if value is not None}


def _number_schema(node: Number) -> dict[str, Any]:
    if node.type == "decimal":  # JSON Schema has no words for the limits of a number in a string
        return {"type": "string", "format": "decimal"}
    return _given(
        {"type": "integer" if node.type == "integer" else "number"},
        minimum=node.minimum,
        exclusiveMinimum=node.exclusive_minimum,
        maximum=node.maximum,
        exclusiveMaximum=node.exclusive_maximum,
        multipleOf=node.multiple_of,
    )


def _text_schema(node: Text) -> dict[str, Any]:
    low, high, keywords = node.min_length, node.max_length, dict[str, Any]()
    if node.format == "base64":  # the limits are those of the bytes, of which three become four characters
        low, high, keywords = _base64_length(low), None if high is None else _base64_length(high), _BASE64
    elif node.format:
        keywords = {"format": node.format}
        low = (low + 3) // 4 if node.format == "utf8" else low  # a character has up to four bytes
    return _given({"type": "string", **keywords}, minLength=low or None, maxLength=high, pattern=node.pattern)


_BASE64: Final[Mapping[str, Any]] = {"contentEncoding": "base64"}


def _base64_length(count: int) -> int:
    return (count + 2) // 3 * 4


def _tuple_schema(node: FixedArray, closed: bool) -> dict[str, Any]:
    rest = False if node.rest is None else _schema_of(node.rest, closed)
    items = [_schema_of(each, closed) for each in node.items]
    return {"type": "array", "prefixItems": items, "minItems": len(items) - node.optional, "items": rest}


def _object_schema(node: JsonObject, closed: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _member_schema(each, closed) for name, each in node.members.items()},
        "required": [name for name, each in node.members.items() if each.required],
    }
    if node.extra is not None:
        return {**schema, "additionalProperties": _schema_of(node.extra, closed)}
    return {**schema, "additionalProperties": False} if closed or node.strict else schema


def _member_schema(member: Member, closed: bool) -> dict[str, Any]:
    default = {} if member.default is UNSET else {"default": member.default}
    return {**_schema_of(member.type, closed), **default}
