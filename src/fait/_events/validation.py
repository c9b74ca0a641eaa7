"""What every store can keep: the one verdict about a piece of JSON, the same on every backend.

A store that accepts what another refuses makes tests pass that production fails. So the question is asked here, once,
before any store sees the bytes: size, depth, NUL characters, lone surrogates, numbers, UTF-8.

Good input pays for a handful of searches in bytes; only when one of them finds something is the document looked at
value by value, to find the path that the error names.
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

__all__ = [
    "FREE_FORM",
    "MAX_DEPTH",
    "MAX_EVENT_BYTES",
    "Json",
    "encode_json",
    "find_invalid",
    "precheck",
    "validate",
    "validate_slow",
]

MAX_EVENT_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 64

FREE_FORM: Final = msgspec.Meta(title="Json", description="free-form JSON")
"""Marks the one place where any JSON may stand; see `Json`."""

if TYPE_CHECKING:
    Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
else:
    # The recursive alias cannot be resolved in the modules that use it: its quoted name is unknown there.
    Json = Annotated[Any, FREE_FORM]

_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_ZONELESS = re.compile(rb'T\d\d:\d\d:\d\d(?:\.\d+)?"').search
_BACKSLASH = ord("\\")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(decimal_format="string").encode


def precheck(
    *, integers: bool = True, deep: bool = True, naive: bool = False, decimals: bool = False
) -> Callable[[bytes], bool]:
    """Makes the quick question: can well-formed JSON hold what not every store keeps? No is certain, yes is not.

    Args:
        integers: integers may be in it, so large ones too.
        deep: its type does not bound how deep it nests.
        naive: a datetime in it may lack its time zone.
        decimals: a Decimal in it may be infinite.
    """

    def doubtful(data: bytes) -> bool:
        # A number on the left of `in` is a search for one byte, several times as fast as any other.
        return (
            len(data) > MAX_EVENT_BYTES
            or (_BACKSLASH in data and b"\\u0000" in data)
            or (integers and data.translate(_DIGITS_ALIKE).find(_LONG_NUMBER) >= 0)
            or (deep and data.count(b"[") + data.count(b"{") > MAX_DEPTH)
            or (naive and _ZONELESS(data) is not None)
            or (decimals and data.find(b'Infinity"') >= 0)
        )

    return doubtful


_needs_check = precheck()


def validate(data: bytes, what: str, *, limit: int = MAX_EVENT_BYTES) -> None:
    """Accepts a JSON document that every store keeps exactly, and refuses any other.

    Args:
        data: one JSON document in UTF-8.
        what: what it is, for the message: "event 'shop.order-placed'".
        limit: the largest size, in bytes.

    Raises:
        InvalidValue: it is too large, nested deeper than `MAX_DEPTH`, not JSON or not UTF-8, or holds a NUL character,
            a lone surrogate, an integer outside 64 bits or a number that no float can hold.
    """
    if len(data) > limit:
        raise InvalidValue(what, "$", f"it takes {len(data):,} bytes, more than the limit of {limit:,}")
    try:
        _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _raise_invalid(data, what)
    if _needs_check(data):
        _examine(data, what)


def _child_path(path: str, key: object) -> str:
    """The path of a member: `$.items`, `$.items[2]`, or `$["two words"]` for a key that is no identifier."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    text = str(key)
    return f"{path}.{text}" if text.isidentifier() else f"{path}[{text[:40]!a}]"


def _raise_invalid(data: bytes, what: str) -> NoReturn:
    _examine(data, what)
    raise InvalidValue(what, "$", "it is not well-formed JSON")


def _examine(data: bytes, what: str) -> None:
    if _is_deep(data):
        raise InvalidValue(what, "$", f"it is nested deeper than {MAX_DEPTH} levels")
    # Only a document with something odd in it comes here: the import stays off the path of every program's start.
    import json

    try:
        text = data.decode()
        tree = json.loads(
            text, parse_int=_integer, parse_float=_number, parse_constant=_InvalidNumber, object_pairs_hook=_JsonObject
        )
    except UnicodeDecodeError as error:
        raise InvalidValue(what, "$", f"byte {error.start} is not UTF-8") from None
    except ValueError as error:
        at = getattr(error, "pos", 0)
        raise InvalidValue(what, "$", f"it is not well-formed JSON (at character {at})") from None
    for path, reason in _find_text_faults(tree, "$"):
        raise InvalidValue(what, path, reason)


def _is_deep(data: bytes) -> bool:
    depth = 0
    for bracket in _STRINGS.sub(b"", data).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


class _InvalidNumber(str):
    """A number that cannot be kept, as it was written."""


class _JsonObject(list[tuple[str, Any]]):
    """The members of one JSON object, twice-named ones included."""


def _integer(text: str) -> object:
    return 0 if len(text) <= 20 and _fits(int(text)) else _InvalidNumber(text)


def _number(text: str) -> object:
    return 0 if abs(float(text)) != float("inf") else _InvalidNumber(text)


def _find_text_faults(node: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, _InvalidNumber):
        yield path, "the number is not finite" if "N" in node or "I" in node else _number_reason(node)
    elif isinstance(node, str):
        if reason := _text_fault(node):
            yield path, reason
    elif isinstance(node, _JsonObject):
        for name, value in node:
            if reason := _text_fault(name):
                yield path, f"a key in it: {reason}"
            yield from _find_text_faults(value, _child_path(path, name))
    elif isinstance(node, list):
        for index, value in enumerate(cast("list[object]", node)):
            yield from _find_text_faults(value, _child_path(path, index))


def _number_reason(text: str) -> str:
    return _TOO_LONG if text.lstrip("-").isdigit() else "the number is larger than any float"


def _fits(number: int) -> bool:
    return -(1 << 63) <= number < 1 << 63


_TOO_LONG = "the integer does not fit into 64 bits; declare a Decimal or a str for larger ones"


def _text_fault(text: str) -> str | None:
    """Why a text cannot be stored, or None."""
    if "\0" in text:
        return "the text holds a NUL character, which PostgreSQL cannot store"
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return "the text holds half of a surrogate pair, which is not a character"
    return None


def encode_json(data: object, what: str) -> bytes:
    """Compact JSON of free-form data: dicts with text keys, lists, texts, numbers, booleans and None.

    Raises:
        InvalidValue: something in it would be stored as something else, or not at all; with the path.
    """
    try:
        text = _encode(data)
        if _decode(text) == data and not _needs_check(text):
            return text
    except Exception:  # noqa: S110 - done again below, slowly, to say what is wrong
        pass
    return validate_slow(data, what, type(data), _encode, _decode)


def validate_slow(
    value: Any, what: str, cls: type, dump: Callable[[Any], bytes], load: Callable[[bytes | str], Any]
) -> bytes:
    """The slow and careful form of the proof: the JSON of a value, or the error that says what is wrong with it where.

    Args:
        value: what shall be stored.
        what: what it is, for the message.
        cls: the exact class it must have.
        dump: makes JSON of it.
        load: makes it of JSON.

    Raises:
        InvalidValue: it cannot be stored exactly.
    """
    if type(value) is not cls:
        raise InvalidValue(what, "$", f"it is a {type(value).__qualname__}, not a {cls.__qualname__}")
    for path, reason in find_invalid(value):
        raise InvalidValue(what, path, reason)
    try:
        data = dump(value)
    except Exception as problem:
        for path, reason in _find_unsupported(value, "$"):
            raise InvalidValue(what, path, reason) from None
        raise InvalidValue(what, *_path_and_reason(problem)) from None
    validate(data, what)
    try:
        again = load(data)
    except Exception as problem:
        raise InvalidValue(what, *_path_and_reason(problem)) from None
    if (found := _difference(value, again, "$")) is not None:
        raise InvalidValue(what, *found)
    return data


def find_invalid(value: Any, path: str = "$", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Path and reason of all in a value that JSON or some store would change or refuse, whatever its type says."""
    reason = _invalid_reason(value)
    if depth > MAX_DEPTH:
        reason = f"it is nested deeper than {MAX_DEPTH} levels"
    if reason is not None:
        yield path, reason
        return
    for key, member in _members(value):
        if isinstance(value, dict) and (fault := _invalid_reason(key)):
            yield path, f"a key in it: {fault}"
        yield from find_invalid(member, _child_path(path, key), depth + 1)


_LEAVES: Final = frozenset(
    {str, int, float, bool, type(None), bytes, Decimal, datetime, date, time, timedelta, UUID, msgspec.UnsetType}
)


def _invalid_reason(value: Any) -> str | None:
    match value:
        case str():
            return _text_fault(value)
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


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    """The parts of a value by their JSON name, key or index."""
    match value:
        case dict():
            yield from cast("dict[Any, Any]", value).items()
        case tuple() | list() | set() | frozenset():
            yield from enumerate(cast("list[Any]", value))
        case msgspec.Struct():
            names = value.__struct_encode_fields__
            yield from ((name, getattr(value, attr)) for name, attr in zip(names, value.__struct_fields__, strict=True))
        case _:
            for name in _field_names(cast("Any", type(value))):
                yield name, getattr(value, name, None)
            yield from (getattr(value, "__pydantic_extra__", None) or {}).items()


def _field_names(cls: Any) -> Iterator[str]:
    if hasattr(cls, "__attrs_attrs__"):
        return (field.name for field in cls.__attrs_attrs__)
    return iter(getattr(cls, "__pydantic_fields__", None) or getattr(cls, "__dataclass_fields__", None) or ())


def _find_unsupported(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if type(value) in _LEAVES or isinstance(value, Enum):
        return
    members = list(_members(value))
    if not members and not isinstance(value, dict | list | tuple | set | frozenset | msgspec.Struct):
        yield path, f"a {type(value).__qualname__} has no JSON form"
    for key, member in members:
        yield from _find_unsupported(member, _child_path(path, key))


def _path_and_reason(problem: Exception) -> tuple[str, str]:
    """Path and reason from the error of an encoder or decoder, without the values that some of them quote."""
    if isinstance(problem, msgspec.ValidationError):
        text, _, path = str(problem).partition(" - at `")
        return path.rstrip("`") or "$", _QUOTED_VALUE.sub(r"\1", text)
    errors = getattr(problem, "errors", None)
    if callable(errors):
        first = cast("list[dict[str, Any]]", errors())[0]
        path = "$"
        for key in first["loc"]:
            path = _child_path(path, key)
        return path, str(first["msg"])
    return "$", f"{type(problem).__name__} when it was turned into JSON or back"


_QUOTED_VALUE = re.compile(r"^(Invalid (?:enum )?value)\b.*", re.DOTALL)


def _difference(one: Any, two: Any, path: str) -> tuple[str, str] | None:
    """Where a value and what was read back differ. None if they only seem to."""
    if _equal(one, two):
        return None
    if type(one) is not type(two):
        return path, f"it is a {type(one).__qualname__} and would read back as a {type(two).__qualname__}"
    if isinstance(one, datetime) and one.astimezone(UTC) == two.astimezone(UTC):
        # In the hour that a clock change repeats, Python calls equal moments of different zones unequal.
        return None
    ours, theirs = list(_members(one)), list(_members(two))
    if isinstance(one, set | frozenset) or [key for key, _ in ours] != [key for key, _ in theirs]:
        return path, "its members would read back differently"
    if not ours:
        return path, "it would read back as another value"
    unequal = False
    for (key, mine), (_, other) in zip(ours, theirs, strict=True):
        if (found := _difference(mine, other, _child_path(path, key))) is not None:
            return found
        unequal = unequal or not _equal(mine, other)
    return None if unequal else (path, "it would read back unequal, though its fields are equal: see its __eq__")


def _equal(one: Any, two: Any) -> bool:
    try:
        return bool(one == two)
    except Exception:
        return False
