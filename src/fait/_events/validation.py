"""Checks that every backend can store a JSON document exactly: size, depth, NUL characters, surrogates, numbers, UTF-8.

The check is the same for all backends and runs before any of them: otherwise a test on SQLite could pass with a value
that PostgreSQL rejects in production.

A valid document costs only a few byte searches (`precheck`). If one of them has a match, the document is examined value
by value, to find the path for the error message.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeAlias, cast
from uuid import UUID

import msgspec

from fait._errors import InvalidValue
from fait._events.record import fields_of

__all__ = [
    "FREE_FORM",
    "MAX_DEPTH",
    "MAX_EVENT_BYTES",
    "Json",
    "encode_json",
    "find_invalid",
    "invalid_text_reason",
    "members_of",
    "path_and_reason",
    "precheck",
    "validate",
    "validate_slow",
]

MAX_EVENT_BYTES: Final = 1 << 20
"""Maximum size of an event's data, in bytes of JSON."""

MAX_DEPTH: Final = 64
"""Maximum number of nested arrays and objects."""

FREE_FORM: Final = msgspec.Meta(title="Json", description="free-form JSON")
"""Marks a field that may hold any JSON; see `Json`."""

if TYPE_CHECKING:
    Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
else:
    # The recursive alias cannot be resolved in the modules that use it, as its quoted name is not defined there.
    Json = Annotated[Any, FREE_FORM]

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19  # with all digits replaced by zeros: a number that may exceed 64 bits
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_find_surrogate = re.compile("[\ud800-\udfff]").search
_find_naive_time = re.compile(rb'T\d\d:\d\d:\d\d(?:\.\d+)?"').search
_BACKSLASH = ord("\\")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(decimal_format="string").encode


def precheck(
    *, integers: bool = True, deep: bool = True, naive: bool = False, decimals: bool = False
) -> Callable[[bytes], bool]:
    """Return a fast test whether well-formed JSON may contain something that not every backend can store.

    The test has no false negatives: False means that the document is valid. True means that it must be examined.

    Args:
        integers: the document may contain integers, so it may contain integers of more than 64 bits.
        deep: the type of the document does not limit its nesting.
        naive: a datetime may lack its time zone.
        decimals: a Decimal may be infinite.
    """

    def may_be_invalid(data: bytes) -> bool:
        # `int in bytes` searches for a single byte, which is several times as fast as other searches.
        return (
            len(data) > MAX_EVENT_BYTES
            or (_BACKSLASH in data and b"\\u0000" in data)
            or (integers and data.translate(_DIGITS_TO_ZERO).find(_LONG_NUMBER) >= 0)
            or (deep and data.count(b"[") + data.count(b"{") > MAX_DEPTH)
            or (naive and _find_naive_time(data) is not None)
            or (decimals and data.find(b'Infinity"') >= 0)
        )

    return may_be_invalid


_needs_check = precheck()


def validate(data: bytes, subject: str, *, limit: int = MAX_EVENT_BYTES) -> None:
    """Check that every backend can store a JSON document exactly.

    Args:
        data: one JSON document in UTF-8.
        subject: names the document in error messages: "event 'shop.order-placed'".
        limit: maximum size, in bytes.

    Raises:
        InvalidValue: the document is too large, nested deeper than `MAX_DEPTH`, not well-formed JSON or not UTF-8, or
            contains a NUL character, a lone surrogate, an integer of more than 64 bits or a number too large for a
            float.
    """
    if len(data) > limit:
        raise InvalidValue(subject, "$", f"its size of {len(data):,} bytes exceeds the limit of {limit:,}")
    try:
        _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _raise_invalid(data, subject)
    if _needs_check(data):
        _examine(data, subject)


def _child_path(path: str, key: object) -> str:
    """Return the path of a member: `$.items`, `$.items[2]`, or `$['two words']` for a key that is not an identifier."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    text = str(key)
    return f"{path}.{text}" if text.isidentifier() else f"{path}[{text[:40]!a}]"


def _raise_invalid(data: bytes, subject: str) -> NoReturn:
    _examine(data, subject)
    raise InvalidValue(subject, "$", "it is not well-formed JSON")


def _examine(data: bytes, subject: str) -> None:
    if _is_deep(data):
        raise InvalidValue(subject, "$", f"it is nested deeper than {MAX_DEPTH} levels")
    import json  # slow to import, and needed only for documents that the precheck finds

    try:
        text = data.decode()
        tree = json.loads(
            text, parse_int=_integer, parse_float=_number, parse_constant=_InvalidNumber, object_pairs_hook=_JsonObject
        )
    except UnicodeDecodeError as error:
        raise InvalidValue(subject, "$", f"byte {error.start} is not UTF-8") from None
    except ValueError as error:
        index = getattr(error, "pos", 0)
        raise InvalidValue(subject, "$", f"it is not well-formed JSON (at character {index})") from None
    for path, reason in _find_invalid_json(tree, "$"):
        raise InvalidValue(subject, path, reason)


def _is_deep(data: bytes) -> bool:
    depth = 0
    for bracket in _STRINGS.sub(b"", data).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


class _InvalidNumber(str):
    """A number that cannot be stored, as text."""


class _JsonObject(list[tuple[str, Any]]):
    """The members of one JSON object, including those with duplicate names."""


def _integer(text: str) -> object:
    return 0 if len(text) <= 20 and _fits(int(text)) else _InvalidNumber(text)


def _number(text: str) -> object:
    return 0 if abs(float(text)) != float("inf") else _InvalidNumber(text)


def _find_invalid_json(node: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, _InvalidNumber):
        yield path, "the number is not finite" if "N" in node or "I" in node else _number_reason(node)
    elif isinstance(node, str):
        if reason := invalid_text_reason(node):
            yield path, reason
    elif isinstance(node, _JsonObject):
        for name, value in node:
            if reason := invalid_text_reason(name):
                yield path, f"one of its keys: {reason}"
            yield from _find_invalid_json(value, _child_path(path, name))
    elif isinstance(node, list):
        for index, value in enumerate(cast("list[object]", node)):
            yield from _find_invalid_json(value, _child_path(path, index))


def _number_reason(text: str) -> str:
    return _TOO_LONG if text.lstrip("-").isdigit() else "the number is too large for a float"


def _fits(number: int) -> bool:
    return -(1 << 63) <= number < 1 << 63


_TOO_LONG = "the integer exceeds 64 bits; use a Decimal or a str field for larger numbers"


def invalid_text_reason(text: str) -> str | None:
    """Return the reason why a string cannot be stored; None if it can be stored."""
    if "\0" in text:
        return "the string contains a NUL character, which PostgreSQL cannot store"
    if not text.isascii() and _find_surrogate(text):
        return "the string contains a lone surrogate, which is not a character"
    return None


def encode_json(data: object, subject: str) -> bytes:
    """Encode free-form data as compact JSON: dicts with string keys, lists, strings, numbers, booleans and None.

    Raises:
        InvalidValue: a value would not decode to an equal value.
    """
    try:
        text = _encode(data)
        if _decode(text) == data and not _needs_check(text):
            return text
    except Exception:  # noqa: S110 - `validate_slow` repeats it and reports the reason
        pass
    return validate_slow(data, subject, type(data), _encode, _decode)


def validate_slow(
    value: Any, subject: str, cls: type, dump: Callable[[Any], bytes], load: Callable[[bytes | str], Any]
) -> bytes:
    """Encode a value as JSON and check it completely; report path and reason of the first part that cannot be stored.

    Args:
        value: the value to encode.
        subject: names the value in error messages.
        cls: the exact class it must have.
        dump: encodes a value.
        load: decodes a value.

    Raises:
        InvalidValue: the value cannot be stored exactly.
    """
    if type(value) is not cls:
        raise InvalidValue(subject, "$", f"it is an instance of {type(value).__qualname__}, not of {cls.__qualname__}")
    for path, reason in find_invalid(value):
        raise InvalidValue(subject, path, reason)
    try:
        data = dump(value)
    except Exception as error:
        for path, reason in _find_unsupported(value, "$"):
            raise InvalidValue(subject, path, reason) from None
        raise InvalidValue(subject, *path_and_reason(error)) from None
    validate(data, subject)
    try:
        decoded = load(data)
    except Exception as error:
        raise InvalidValue(subject, *path_and_reason(error)) from None
    if (difference := _difference(value, decoded, "$")) is not None:
        raise InvalidValue(subject, *difference)
    return data


def find_invalid(value: Any, path: str = "$", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield path and reason of each part of a value that JSON or a backend cannot store exactly."""
    reason = _invalid_reason(value)
    if depth > MAX_DEPTH:
        reason = f"it is nested deeper than {MAX_DEPTH} levels"
    if reason is not None:
        yield path, reason
        return
    for key, member in members_of(value):
        if isinstance(value, dict) and (fault := _invalid_reason(key)):
            yield path, f"one of its keys: {fault}"
        yield from find_invalid(member, _child_path(path, key), depth + 1)


_LEAVES: Final = frozenset(
    {str, int, float, bool, type(None), bytes, Decimal, datetime, date, time, timedelta, UUID, msgspec.UnsetType}
)


def _invalid_reason(value: Any) -> str | None:
    match value:
        case str():
            return invalid_text_reason(value)
        case bool():
            return None
        case int():
            return None if _fits(value) else _TOO_LONG
        case float():
            return None if isfinite(value) else "the number is not finite"
        case Decimal():
            return None if value.is_finite() else "the number is not finite"
        case datetime():
            return "the datetime has no time zone" if value.utcoffset() is None else None
        case _:
            return None


def members_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the members of a value with their JSON name, key or index."""
    match value:
        case dict():
            yield from cast("dict[Any, Any]", value).items()
        case tuple() | list() | set() | frozenset():
            yield from enumerate(cast("list[Any]", value))
        case _:
            yield from ((field.encoded_name, getattr(value, field.name, None)) for field in fields_of(type(value)))
            yield from (getattr(value, "__pydantic_extra__", None) or {}).items()


def _find_unsupported(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if type(value) in _LEAVES or isinstance(value, Enum):
        return
    members = list(members_of(value))
    if not members and not isinstance(value, dict | list | tuple | set | frozenset | msgspec.Struct):
        yield path, f"{type(value).__qualname__} cannot be stored as JSON"
    for key, member in members:
        yield from _find_unsupported(member, _child_path(path, key))


def path_and_reason(error: Exception) -> tuple[str, str]:
    """Return path and reason from the error of an encoder or decoder, without the values that msgspec quotes."""
    if isinstance(error, msgspec.ValidationError):
        text, _, path = str(error).partition(" - at `")
        return path.rstrip("`") or "$", _QUOTED_VALUE.sub(r"\1", text)
    errors = getattr(error, "errors", None)
    if callable(errors):
        first = cast("list[dict[str, Any]]", errors())[0]
        path = "$"
        for key in first["loc"]:
            path = _child_path(path, key)
        return path, str(first["msg"])
    return "$", f"{type(error).__name__} during encoding or decoding"


_QUOTED_VALUE = re.compile(r"^(Invalid (?:enum )?value)\b.*", re.DOTALL)


def _difference(value: Any, decoded: Any, path: str) -> tuple[str, str] | None:
    """Return path and reason of the first difference between a value and its decoded form; None if they are equal."""
    if _equal(value, decoded):
        return None
    if type(value) is not type(decoded):
        return path, f"{type(value).__qualname__} would be decoded as {type(decoded).__qualname__}"
    if isinstance(value, datetime) and value.astimezone(UTC) == decoded.astimezone(UTC):
        # Within the hour that a clock change repeats, Python compares equal times of different zones as unequal.
        return None
    members, decoded_members = list(members_of(value)), list(members_of(decoded))
    if isinstance(value, set | frozenset) or [key for key, _ in members] != [key for key, _ in decoded_members]:
        return path, "its members would be decoded differently"
    if not members:
        return path, "it would be decoded as another value"
    unequal = False
    for (key, member), (_, decoded_member) in zip(members, decoded_members, strict=True):
        if (difference := _difference(member, decoded_member, _child_path(path, key))) is not None:
            return difference
        unequal = unequal or not _equal(member, decoded_member)
    return None if unequal else (path, "the decoded value compares unequal although its fields are equal: check __eq__")


def _equal(value: Any, decoded: Any) -> bool:
    try:
        return bool(value == decoded)
    except Exception:
        return False
