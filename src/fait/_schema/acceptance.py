"""Decides whether a value has a type: what a strict reader would accept.

It knows nothing of comparisons, so it can check their result: a value that breaks must have the old type and not the
new one.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Annotated, Any, Final, cast
from uuid import UUID

import msgspec

from fait._schema.description import (
    Anything,
    Array,
    Boolean,
    Choice,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    Null,
    Number,
    NumberType,
    OneOf,
    Opaque,
    Reference,
    Text,
    canonical_json,
)

__all__ = ["accepts"]

Records = Mapping[str, JsonObject | FixedArray]


def accepts(records: Records, node: JsonType, value: Any) -> bool:
    """Return whether a JSON value, as plain data, has a type.

    Args:
        records: the records that the type refers to.
        node: the type.
        value: dicts, lists, strings, numbers, booleans and None.
    """
    match node:  # the most frequent types first
        case Number():
            return _is_number(node, value)
        case Text():
            return isinstance(value, str) and _is_text(node, value)
        case Reference():
            return accepts(records, records[node.name], value)
        case JsonMap() | JsonObject():
            return isinstance(value, dict) and _is_object(records, node, cast("dict[str, Any]", value))
        case OneOf():
            return any(accepts(records, each, value) for each in node.types)
        case Choice():
            return not isinstance(value, list | dict) and _is_constant(node, value)
        case Array() | FixedArray():
            return isinstance(value, list) and _is_array(records, node, cast("list[Any]", value))
        case Null():
            return value is None
        case Boolean():
            return isinstance(value, bool)
        case Anything():
            return True
        case Opaque():
            return False


def _is_constant(node: Choice, value: Any) -> bool:
    exact = int(value) if isinstance(value, float) and value.is_integer() else value
    return any(type(each) is type(exact) and each == exact for each in node.values)  # 1 and True are not one value


def _is_number(node: Number, value: Any) -> bool:
    if node.type == "decimal":
        return isinstance(value, str) and _converts(value, Decimal) and _is_decimal(node, Decimal(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if node.type == "integer" and value != int(value):
        return False
    if node.type == "double" and isinstance(value, int) and not _is_exact_double(value):
        return False
    # The usual case, without an exact value.
    return node == _WITHOUT_LIMITS[node.type] or _is_within(node, _decimal(value))


_WITHOUT_LIMITS: Final[Mapping[NumberType, Number]] = {
    "integer": Number(),
    "double": Number("double"),
    "number": Number("number"),
}


def _is_exact_double(value: int) -> bool:
    # fault: integers-as-doubles
    return abs(value) < 1 << 1023 and float(value) == value


def _is_decimal(node: Number, value: Decimal) -> bool:
    if not value.is_finite():
        return False
    _, digits, exponent = value.as_tuple()
    places = max(0, -int(exponent))
    count = max(len(digits) + max(0, int(exponent)), places)
    return (
        (node.decimal_places is None or places <= node.decimal_places)
        and (node.max_digits is None or count <= node.max_digits)
        and _is_within(node, value)
    )


def _is_within(node: Number, value: Decimal) -> bool:
    return (
        (node.minimum is None or value >= _decimal(node.minimum))
        and (node.exclusive_minimum is None or value > _decimal(node.exclusive_minimum))
        and (node.maximum is None or value <= _decimal(node.maximum))
        and (node.exclusive_maximum is None or value < _decimal(node.exclusive_maximum))
        and (node.multiple_of is None or _is_multiple(value, _decimal(node.multiple_of)))
    )


def _is_multiple(value: Decimal, of: Decimal) -> bool:
    try:
        return _EXACT.remainder(value, of) == 0
    except InvalidOperation:  # a decimal with more digits than a double can have before and after the point
        return False


_EXACT: Final = Context(prec=700)
"""Precision in which the quotient of two doubles is exact."""


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))  # 0.1 is meant, and not the binary fraction next to it


def _is_text(node: Text, value: str) -> bool:
    length = len(value)
    if node.format == "base64":
        if not _converts(value, bytes):
            return False
        length = len(msgspec.convert(value, bytes))
    elif node.format == "utf8":
        length = len(value.encode())
    elif node.format in _FORMATS and not _converts(value, _FORMATS[node.format]):
        return False
    return (
        node.min_length <= length
        and (node.max_length is None or length <= node.max_length)
        and (node.pattern is None or re.search(node.pattern, value) is not None)
    )


def _converts(value: str, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=kind is not int)
    except (msgspec.ValidationError, ArithmeticError):
        return False
    return True


_FORMATS: Final[Mapping[str, Any]] = {
    "date-time": Annotated[datetime, msgspec.Meta(tz=True)],
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "decimal": Decimal,
    "integer": int,
}
"""The formats that fait writes, with their Python types. In other schemas, a format is an annotation."""


def _is_array(records: Records, node: Array | FixedArray, value: list[Any]) -> bool:
    if isinstance(node, FixedArray):
        rest = value[len(node.items) :]
        return (
            len(value) >= len(node.items) - node.optional
            and all(accepts(records, each, part) for each, part in zip(node.items, value, strict=False))
            and all(node.rest is not None and accepts(records, node.rest, part) for part in rest)
        )
    return (
        node.min_items <= len(value)
        and (node.max_items is None or len(value) <= node.max_items)
        and (not node.unique or len(set(map(canonical_json, value))) == len(value))
        and all(accepts(records, node.items, part) for part in value)
    )


def _is_object(records: Records, node: JsonMap | JsonObject, value: dict[str, Any]) -> bool:
    if isinstance(node, JsonMap):
        return (
            node.min_size <= len(value)
            and (node.max_size is None or len(value) <= node.max_size)
            and all(accepts(records, node.keys, name) for name in value)
            and all(accepts(records, node.values, part) for part in value.values())
        )
    others = [part for name, part in value.items() if name not in node.members]
    return (
        not (others and node.strict)
        and (node.extra is None or all(accepts(records, node.extra, part) for part in others))
        and all(
            accepts(records, member.type, value[name]) if name in value else member.may_be_absent
            for name, member in node.members.items()
        )
    )
