"""Reads JSON Schemas of others into a `Description`, so that they are compared as event types are.

What is not understood becomes an `Opaque` type, which is compatible with nothing: keywords that are not in the tables
below, references to other documents, and combinations of keywords without one type as their meaning.
"""

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import unquote

from msgspec import UNSET

from fait._errors import UsageError
from fait._schema.acceptance import accepts
from fait._schema.description import (
    Anything,
    Array,
    Boolean,
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
    choices,
    one_of,
)
from fait._schema.overlap import may_overlap

__all__ = ["read_json_schema"]

Schema = Mapping[str, Any]


def read_json_schema(schema: Schema) -> Description:
    """Return the description of the values that a JSON Schema allows.

    Args:
        schema: a JSON Schema of draft 2019-09 or 2020-12, as plain data.

    Raises:
        UsageError: a reference leads nowhere, or the schema is not a JSON object.
    """
    if not _is_object(schema):
        raise UsageError(f"expected a JSON Schema as a dict, got {type(schema).__qualname__}")
    reader = _Reader(schema)
    root = reader.read(schema, "#")
    # fault: one-of-with-overlap
    exclusive = not any(may_overlap(reader.records, types) for types in reader.exclusive)
    return Description(root if exclusive else Opaque("oneOf"), reader.records)


class _Reader:
    def __init__(self, document: Schema) -> None:
        self.records: dict[str, JsonObject | FixedArray] = {}
        self.exclusive: list[list[JsonType]] = []
        """The types of each `oneOf`: a value of two of them is not allowed. Checked when all records are known."""
        self._document = document
        self._names: dict[int, str] = {}
        self._open: list[str] = []

    def read(self, schema: Any, pointer: str) -> JsonType:
        """Read a schema or a part of one; `pointer` names it."""
        if schema is True:
            return Anything()
        if schema is False:
            return OneOf(())
        if not _is_object(schema):
            raise UsageError(f"the JSON Schema is not valid: expected an object or a boolean at {pointer}")
        if unknown := [name for name in schema if name not in _ANNOTATIONS and name not in _KEYWORDS]:
            return Opaque(unknown[0])
        keywords = {name: value for name, value in schema.items() if name not in _ANNOTATIONS}
        if not keywords:
            return Anything()
        for name in ("$ref", "allOf", "anyOf", "oneOf"):
            if name in keywords:
                alone = len(keywords) == 1
                return self._combined(name, keywords[name], pointer) if alone else Opaque(f"{name} with others")
        return (
            self._constants(keywords, pointer) if keywords.keys() & {"enum", "const"} else self._typed(schema, pointer)
        )

    def _combined(self, keyword: str, value: Any, pointer: str) -> JsonType:
        if keyword == "$ref":
            return self._reference(value)
        parts = [self.read(each, f"{pointer}/{keyword}/{n}") for n, each in enumerate(value)]
        if len(parts) == 1:
            return parts[0]
        if keyword == "allOf":
            return Opaque(keyword)
        if keyword == "oneOf":
            self.exclusive.append(parts)
        return next((each for each in parts if isinstance(each, Opaque)), one_of(parts))

    def _reference(self, target: Any) -> JsonType:
        if not isinstance(target, str) or not target.startswith("#"):
            return Opaque("$ref to another document")
        if target in self._open:
            return Opaque("$ref to itself")
        self._open.append(target)
        found = self._find(target)
        result = self.read(found, target)
        self._open.remove(target)
        return result

    def _find(self, pointer: str) -> Any:
        found = cast("Any", self._document)
        for step in pointer.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(name) if isinstance(found, list) else name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise UsageError(f"the JSON Schema has no {pointer}") from None
        return found

    def _constants(self, keywords: Schema, pointer: str) -> JsonType:
        values = keywords["enum"] if "enum" in keywords else [keywords["const"]]
        if any(isinstance(each, list | dict) for each in values):
            return Opaque("enum of arrays or objects")
        others = {name: value for name, value in keywords.items() if name not in ("enum", "const")}
        limits = self.read(others, pointer) if others else Anything()
        if isinstance(limits, Opaque) and "type" in others:
            return limits
        if "type" not in others and others:
            return Opaque(next(iter(others)))
        return choices(each for each in values if accepts(self.records, limits, each))

    def _typed(self, schema: Schema, pointer: str) -> JsonType:
        kinds = schema.get("type")
        if kinds is None:
            return Opaque(next(name for name in schema if name in _KEYWORDS) + " without type")
        names: list[Any] = cast("list[Any]", kinds) if isinstance(kinds, list) else [kinds]
        parts = [self._of_type(name, schema, pointer) for name in names]
        return next((each for each in parts if isinstance(each, Opaque)), one_of(parts))

    def _of_type(self, name: Any, schema: Schema, pointer: str) -> JsonType:
        match name:
            case "null":
                return Null()
            case "boolean":
                return Boolean()
            case "integer" | "number":
                return _number(name, schema)
            case "string":
                return _text(schema)
            case "array":
                return self._array(schema, pointer)
            case "object":
                return self._object(schema, pointer) if "properties" in schema else self._map(schema, pointer)
            case _:
                return Opaque("type")

    def _array(self, schema: Schema, pointer: str) -> JsonType:
        items = schema.get("prefixItems")
        if items is None:
            return Array(
                self.read(schema.get("items", True), f"{pointer}/items"),
                schema.get("minItems", 0),
                schema.get("maxItems"),
                schema.get("uniqueItems", False),
            )
        rest = self.read(schema.get("items", True), f"{pointer}/items")
        types = tuple(self.read(each, f"{pointer}/prefixItems/{n}") for n, each in enumerate(items))
        optional = len(types) - schema.get("minItems", 0)
        if optional < 0 or "maxItems" in schema or schema.get("uniqueItems"):
            return Opaque("prefixItems with others")
        return FixedArray(types, optional, None if rest == OneOf(()) else rest)

    def _map(self, schema: Schema, pointer: str) -> JsonType:
        if schema.get("required"):
            return Opaque("required without properties")
        keys = self.read(schema.get("propertyNames", _STRING), f"{pointer}/propertyNames")
        values = self.read(schema.get("additionalProperties", True), f"{pointer}/additionalProperties")
        low, high = schema.get("minProperties", 0), schema.get("maxProperties")
        return JsonObject({}) if values == OneOf(()) else JsonMap(keys, values, low, high)

    def _object(self, schema: Schema, pointer: str) -> JsonType:
        if id(schema) in self._names:
            return Reference(self._names[id(schema)])
        for name in ("propertyNames", "minProperties", "maxProperties"):
            if name in schema:
                return Opaque(f"{name} with properties")
        required: list[str] = schema.get("required", [])
        if any(name not in schema["properties"] for name in required):
            return Opaque("required without a property")
        self._names[id(schema)] = name = self._free_name(schema.get("title") or pointer.rpartition("/")[2])
        self.records[name] = JsonObject({})  # its place, until its members are known: they may refer to it
        around, self._open = self._open, []
        members = {
            each: Member(
                self.read(part, f"{pointer}/properties/{each}"),
                each in required,
                part.get("default", UNSET) if _is_object(part) else UNSET,
            )
            for each, part in sorted(schema["properties"].items())
        }
        self.records[name] = JsonObject(members, self._extra(schema, pointer))
        self._open = around
        return Reference(name)

    def _extra(self, schema: Schema, pointer: str) -> JsonType | None:
        """Return the type of further members: none if they are allowed in general, or not at all.

        A writer writes only the members that it knows, and a reader ignores others, whatever its schema says. This is
        the meaning that JSON Schemas have in practice: otherwise no member could ever be added or removed.
        """
        extra = schema.get("additionalProperties", True)
        return None if isinstance(extra, bool) else self.read(extra, f"{pointer}/additionalProperties")

    def _free_name(self, wanted: str) -> str:
        taken = sum(name == wanted or name.startswith(f"{wanted} ") for name in self.records)
        return f"{wanted} {taken + 1}" if taken else wanted


def _is_object(schema: object) -> bool:
    return isinstance(schema, Mapping)


def _number(name: Any, schema: Schema) -> JsonType:
    minimum, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    maximum, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if isinstance(above, bool) or isinstance(below, bool):
        return Opaque("exclusiveMinimum or exclusiveMaximum of draft 4")
    if schema.get("format", "double") not in _NUMBER_FORMATS:
        return Opaque("format of a number")
    if minimum is not None and above is not None:
        minimum, above = (minimum, None) if minimum > above else (None, above)
    if maximum is not None and below is not None:
        maximum, below = (maximum, None) if maximum < below else (None, below)
    return Number(name, minimum, above, maximum, below, schema.get("multipleOf"))


def _text(schema: Schema) -> JsonType:
    format, encoding = schema.get("format", ""), schema.get("contentEncoding", "")
    if format and encoding:
        return Opaque("contentEncoding with format")
    if format == "decimal":
        return Number("decimal") if not schema.keys() & {"minLength", "maxLength", "pattern"} else Opaque("format")
    if encoding and schema.keys() & {"minLength", "maxLength", "pattern"}:
        return Opaque("contentEncoding with limits")
    return Text(format or encoding, schema.get("minLength", 0), schema.get("maxLength"), schema.get("pattern"))


_NUMBER_FORMATS: Final = frozenset({"int32", "int64", "float", "double"})
"""Formats of OpenAPI that say how a program holds a number; they exclude no value of interest."""

_STRING: Final[Schema] = {"type": "string"}
_ANNOTATIONS: Final = frozenset(
    {
        "$anchor", "$comment", "$defs", "$id", "$schema", "default", "definitions", "deprecated", "description",
        "discriminator", "examples", "readOnly", "title", "writeOnly",
    }
)  # fmt: skip
_KEYWORDS: Final = frozenset(
    {
        "$ref", "additionalProperties", "allOf", "anyOf", "const", "contentEncoding", "enum", "exclusiveMaximum",
        "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems",
        "minLength", "minProperties", "minimum", "multipleOf", "oneOf", "pattern", "prefixItems", "properties",
        "propertyNames", "required", "type", "uniqueItems",
    }
)  # fmt: skip
