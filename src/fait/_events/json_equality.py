"""Equality of JSON values, for the question whether two events, or the arguments of two commands, are the same.

Two texts may encode one value: keys in another order, 10 and 10.0, and the members of a set, whose order differs from
process to process. Events that contain sets are encoded with sorted members; see `order_sets`.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import msgspec

from fait._events.validation import members_of

__all__ = ["order_sets", "same_json", "same_value"]

_encode = msgspec.json.Encoder(decimal_format="string", order="deterministic").encode
_decode = msgspec.json.decode


def same_json(one: str, other: str) -> bool:
    """Return whether two JSON texts encode the same value."""
    return one == other or same_value(_decode(one), _decode(other))


def same_value(one: Any, other: Any, source: Any = None) -> bool:
    """Return whether two decoded JSON values are the same: 10 and 10.0 are, true and 1 are not.

    Args:
        one: a decoded JSON value.
        other: a decoded JSON value.
        source: the Python value that the first one was encoded from, if it is known: where it has a set, the order of
            the members does not matter; where it has a datetime or a Decimal, their values are compared, so that the
            same instant in another time zone is the same, and so are 1.0 and 1.00.
    """
    if isinstance(one, list) and isinstance(other, list):
        return _same_lists(cast("list[Any]", one), cast("list[Any]", other), source)
    if isinstance(one, dict) and isinstance(other, dict):
        sources = _sources_by_name(source, cast("dict[str, Any]", one))
        return one.keys() == other.keys() and all(
            same_value(one[name], other[name], sources.get(name)) for name in cast("dict[str, Any]", one)
        )
    if isinstance(source, datetime | Decimal) and isinstance(other, str):
        return one == other or _is_equal(source, other)
    # fault: true-is-one
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _is_equal(value: datetime | Decimal, text: str) -> bool:
    try:
        # fault: instants-compared-as-text
        return msgspec.convert(text, type(value)) == value
    except (msgspec.ValidationError, ArithmeticError):  # another kind of text, or a signaling NaN
        return False


def _same_lists(one: list[Any], other: list[Any], source: Any) -> bool:
    if isinstance(source, set | frozenset):
        return _sorted_arrays(one) == _sorted_arrays(other)
    members = [member for _, member in _with_sources(source, one)]
    return len(one) == len(other) and all(map(same_value, one, other, members))


def order_sets(value: Any, encoded: Any) -> Any:
    """Return a decoded JSON value with the members of each set in one order, which does not depend on the process.

    Args:
        value: the Python value.
        encoded: the JSON value that it was encoded to.
    """
    if isinstance(encoded, dict):
        sources = _sources_by_name(value, cast("dict[str, Any]", encoded))
        return {name: order_sets(sources.get(name), each) for name, each in cast("dict[str, Any]", encoded).items()}
    if isinstance(encoded, list):
        ordered = [order_sets(member, each) for each, member in _with_sources(value, cast("list[Any]", encoded))]
        # fault: sets-in-any-order
        return sorted(ordered, key=_encode) if isinstance(value, set | frozenset) else ordered
    return encoded


def _sources_by_name(value: Any, encoded: dict[str, Any]) -> dict[str, Any]:
    """Return the Python values that the members of a JSON object were encoded from, as far as they are known."""
    if isinstance(value, dict):
        return dict(zip(encoded, cast("dict[Any, Any]", value).values(), strict=False))
    return dict(members_of(value)) or getattr(value, "__dict__", {})


def _with_sources(value: Any, encoded: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the members of a JSON array with the Python values they were encoded from; None if they are not known.

    The array of a tagged Struct with `array_like` begins with its tag, so members are counted from the end.
    """
    members = [member for _, member in members_of(value)]
    unknown = [None] * (len(encoded) - len(members))
    return zip(encoded, [*unknown, *members], strict=False)


def _sorted_arrays(value: Any) -> bytes:
    """Return a text that is the same for values that differ only in the order of arrays, at any depth."""
    if isinstance(value, list):
        return _encode(sorted(map(_sorted_arrays, cast("list[Any]", value))))
    if isinstance(value, dict):
        return _encode({name: _sorted_arrays(each) for name, each in cast("dict[str, Any]", value).items()})
    return _encode(value)
