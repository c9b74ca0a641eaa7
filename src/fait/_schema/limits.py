"""Compares the limits of two types: which ones became tighter, and which ones looser?"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor, inf
from typing import Any, Final, Literal, TypeAlias

from fait._schema.description import Array, JsonMap, JsonType, Number, Text

__all__ = ["compare_limits", "is_exact_as_double"]

_MAX_EXACT_DOUBLE: Final = 1 << 53
"""Maximum integer up to which a double holds every integer."""

Change: TypeAlias = Literal["tighter", "looser"]


def compare_limits(one: JsonType, other: JsonType) -> Iterator[tuple[str, Change]]:
    """Yield the limits that differ from the first type to the second one, each with what it became.

    Two spellings of one limit do not differ: more than 4 and at least 5, of integers.
    """
    match one, other:
        case Number(), Number():
            integers = one.type == "integer"
            yield from _changed("minimum", _lower_bound(one, integers), _lower_bound(other, integers))
            yield from _changed("maximum", _upper_bound(one, integers), _upper_bound(other, integers))
            yield from _changed("max_digits", *_at_most(one.max_digits, other.max_digits))
            yield from _changed("decimal_places", *_at_most(one.decimal_places, other.decimal_places))
            yield from _multiples(one, other)
        case Text(), Text():
            yield from _sizes("length", one.min_length, other.min_length, one.max_length, other.max_length)
            yield from _patterns(one, other)
        case Array(), Array():
            yield from _sizes("number of items", one.min_items, other.min_items, one.max_items, other.max_items)
            yield from _changed("unique items", one.unique, other.unique)
        case JsonMap(), JsonMap():
            yield from _sizes("number of entries", one.min_size, other.min_size, one.max_size, other.max_size)
        case _:
            pass


def _changed(name: str, before: Any, after: Any) -> Iterator[tuple[str, Change]]:
    """Compare two values of which the greater one allows less."""
    # fault: tighter-limit
    if after > before:
        yield name, "tighter"
    elif after < before:
        yield name, "looser"


def _sizes(name: str, low: int, new_low: int, high: int | None, new_high: int | None) -> Iterator[tuple[str, Change]]:
    yield from _changed(f"minimum {name}", low, new_low)
    yield from _changed(f"maximum {name}", *_at_most(high, new_high))


def _at_most(before: int | None, after: int | None) -> tuple[float, float]:
    return -inf if before is None else -before, -inf if after is None else -after


def _lower_bound(node: Number, integers: bool) -> tuple[float, bool]:
    """Return a bound as (value, exclusive); as an inclusive one if the values are integers."""
    low, above = node.minimum, node.exclusive_minimum
    inclusive = -inf if low is None else ceil(low) if integers else low
    exclusive = -inf if above is None else floor(above) + 1 if integers else above
    # fault: both-bounds
    return max((inclusive, False), (exclusive, not integers and above is not None))


def _upper_bound(node: Number, integers: bool) -> tuple[float, bool]:
    """Return the negative bound, so that the greater one allows less, too."""
    high, below = node.maximum, node.exclusive_maximum
    inclusive = -inf if high is None else -floor(high) if integers else -high
    exclusive = -inf if below is None else 1 - ceil(below) if integers else -below
    return max((inclusive, False), (exclusive, not integers and below is not None))


def is_exact_as_double(node: Number) -> bool:
    """Return whether the limits of integers allow only those that a double holds exactly."""
    return min(_lower_bound(node, integers=True)[0], _upper_bound(node, integers=True)[0]) >= -_MAX_EXACT_DOUBLE


def _multiples(one: Number, other: Number) -> Iterator[tuple[str, Change]]:
    before = 1 if one.type == "integer" and one.multiple_of is None else one.multiple_of
    after = 1 if one.type == "integer" and other.multiple_of is None else other.multiple_of
    if before == after:
        return
    if after is None or (before is not None and _is_multiple(before, after)):
        yield "multiple_of", "looser"
    else:
        yield "multiple_of", "tighter"


def _is_multiple(value: float, of: float) -> bool:
    return (Fraction(repr(value)) / Fraction(repr(of))).denominator == 1


def _patterns(one: Text, other: Text) -> Iterator[tuple[str, Change]]:
    if one.pattern != other.pattern:
        yield "pattern", "looser" if other.pattern is None else "tighter"
