"""Hypothesis strategies for the events of an application, from the descriptions of their types.

    @hypothesis.given(events_of(OrderPlaced, OrderPaid))
    def test_tax_is_never_negative(event: OrderPlaced | OrderPaid) -> None: ...

Every generated event is valid: it respects limits and patterns, and it is equal after it is stored and read.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final, TypeVar, cast

import msgspec
from hypothesis import assume
from hypothesis import strategies as st

from fait._app import App
from fait._decisions.aggregate import Aggregate
from fait._decisions.decider import Decider
from fait._errors import UsageError
from fait._events.event import event_type
from fait._schema.acceptance import accepts
from fait._schema.describe import describe
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
    OneOf,
    Opaque,
    Reference,
    Text,
    canonical_json,
)
from fait.testing.commands import Call, SubjectCommands

__all__ = ["events_of", "histories"]

T = TypeVar("T")
Strategy = st.SearchStrategy[Any]

_MAX_INT: Final = (1 << 63) - 1
_encode = msgspec.json.encode


def events_of(*classes: type[T]) -> st.SearchStrategy[T]:
    """Return a strategy for events of these classes.

    Args:
        *classes: event classes.

    Raises:
        UsageError: a class is no event.
        DeclarationError: a type has no description; see `fait.schema.describe`.
    """
    return st.one_of([_events(each) for each in classes])


def histories(
    subject: type[Aggregate] | Decider[Any, Any, Any],
    *,
    app: App | None = None,
    max_commands: int = 10,
    arguments: Mapping[Callable[..., Any], st.SearchStrategy[tuple[Any, ...]]] | None = None,
) -> st.SearchStrategy[list[Any]]:
    """Return a strategy for histories of a stream: events that commands decide one after another.

    Commands get arguments of their annotated types. Those that are rejected decide nothing.

    Args:
        subject: an aggregate or a decider.
        app: the app that it belongs to; see `given`.
        max_commands: maximum number of commands.
        arguments: strategies for the arguments of commands, as tuples: `{Account.withdraw: st.tuples(amounts)}`. The
            other commands get arguments of their annotated types.

    Raises:
        DeclarationError: an argument has no annotation, or its type has no description.
    """
    commands, chosen = SubjectCommands(subject), arguments or {}
    given = {each.name: chosen[each.command] for each in commands.types if each.command in chosen}

    def call(name: str, cls: type) -> Strategy:
        if name in given:
            return given[name].map(lambda values: Call(name, dict(enumerate(values))))
        events: Strategy = cast("Any", events_of)(cls)
        return events.map(lambda event: Call(name, commands.arguments(event)))

    calls = st.one_of([call(each.name, each.arguments) for each in commands.types])
    return st.lists(calls, max_size=max_commands).map(lambda each: commands.history(each, app))


def _events(cls: type[T]) -> st.SearchStrategy[T]:
    description, declared = describe(cls), event_type(cls)
    assert declared is not None
    values = _Values(description.records).of(description.root)

    @st.composite
    def events(draw: st.DrawFn) -> T:
        value = draw(values)
        assume(accepts(description.records, description.root, value))
        try:  # a class may refuse what its types allow
            event = declared.decode(_encode(value).decode())
            declared.encode(event)
        except Exception:
            assume(False)
            raise
        return cast("T", event)

    return events()


class _Values:
    """Strategies for values of types, as plain data."""

    def __init__(self, records: Mapping[str, JsonObject | FixedArray]) -> None:
        self._records = records
        self._strategies: dict[str, Strategy] = {}
        self._open = list[str]()  # records whose strategies are being made

    def of(self, node: JsonType) -> Strategy:
        match node:
            case Reference():
                return self._record(node.name)
            case JsonObject():
                return self._object(node)
            case FixedArray():
                return self._fixed_array(node)
            case OneOf():
                return st.one_of([self.of(each) for each in node.types])
            case Array():
                unique, largest = canonical_json if node.unique else None, self._max_size(node, node.min_items)
                largest = largest if node.max_items is None else node.max_items
                return st.lists(self.of(node.items), min_size=node.min_items, max_size=largest, unique_by=unique)
            case JsonMap():
                keys, values, largest = self.of(node.keys), self.of(node.values), self._max_size(node, node.min_size)
                largest = largest if node.max_size is None else node.max_size
                return st.dictionaries(keys, values, min_size=node.min_size, max_size=largest)
            case _:
                return _simple(node)

    def _record(self, name: str) -> Strategy:
        if name not in self._strategies:
            self._strategies[name] = st.deferred(lambda: self._strategies[f"{name}:"])
            self._open.append(name)
            self._strategies[f"{name}:"] = self.of(self._records[name])
            self._open.pop()
        return self._strategies[name]

    def _max_size(self, node: JsonType, min_size: int) -> int | None:
        """Return the maximum size of a collection that may contain itself: so that most values are finite."""
        return min_size + 1 if self._references(node, set()) & {*self._open} else None

    def _references(self, node: JsonType, found: set[str]) -> set[str]:
        """Return the names of all records that a type refers to, also through others."""
        if isinstance(node, Reference) and node.name not in found:
            found.add(node.name)
            self._references(self._records[node.name], found)
        for each in _parts(node):
            self._references(each, found)
        return found

    def _object(self, node: JsonObject) -> Strategy:
        required = {name: self.of(each.type) for name, each in node.members.items() if each.required}
        optional = {name: self.of(each.type) for name, each in node.members.items() if not each.required}
        return st.fixed_dictionaries(required, optional=optional)

    def _fixed_array(self, node: FixedArray) -> Strategy:
        items = [self.of(each) for each in node.items]
        lengths = st.integers(len(items) - node.optional, len(items))
        return lengths.flatmap(lambda length: st.tuples(*items[:length]).map(list))


def _parts(node: JsonType) -> Sequence[JsonType]:
    match node:
        case OneOf():
            return node.types
        case Array() | FixedArray():
            return (node.items,) if isinstance(node, Array) else node.items
        case JsonMap():
            return node.keys, node.values
        case JsonObject():
            return [each.type for each in node.members.values()]
        case _:
            return ()


def _simple(node: JsonType) -> Strategy:
    match node:
        case Null():
            return st.none()
        case Boolean():
            return st.booleans()
        case Choice():
            return st.sampled_from(node.values)
        case Anything():
            return _ANYTHING
        case Number():
            return _numbers(node)
        case Text():
            return _texts(node)
        case Opaque():
            raise UsageError(f"the keyword {node.keyword} is not understood: write a strategy for this type by hand")
        case _:
            raise AssertionError(node)


def _numbers(node: Number) -> Strategy:
    if node.type == "integer":
        step = int(node.multiple_of or 1)
        return _multiples(node, step, _MAX_INT // step)
    if node.type == "decimal":
        return _decimals(node)
    if node.multiple_of is not None:
        return _multiples(node, node.multiple_of, 1 << 20)
    low, high = _largest(node.minimum, node.exclusive_minimum), _smallest(node.maximum, node.exclusive_maximum)
    return st.floats(
        low,
        high,
        allow_nan=False,
        allow_infinity=False,
        exclude_min=low is not None and low == node.exclusive_minimum,
        exclude_max=high is not None and high == node.exclusive_maximum,
    )


def _multiples(node: Number, step: float, limit: int) -> Strategy:
    """Return multiples of a number within the limits of a type, or below a limit; exclusive limits are included."""
    low, high = _largest(node.minimum, node.exclusive_minimum), _smallest(node.maximum, node.exclusive_maximum)
    lowest = -limit if low is None else ceil(Fraction(low) / Fraction(step))
    highest = limit if high is None else floor(Fraction(high) / Fraction(step))
    return st.integers(lowest, highest).map(lambda number: number * step)


def _decimals(node: Number) -> Strategy:
    low, high = _largest(node.minimum, node.exclusive_minimum), _smallest(node.maximum, node.exclusive_maximum)
    bounds = [None if each is None else Decimal(repr(each)) for each in (low, high)]
    places = st.integers(0, 4 if node.decimal_places is None else node.decimal_places)
    return places.flatmap(
        lambda count: st.decimals(*bounds, allow_nan=False, allow_infinity=False, places=count).map(str)
    )


def _texts(node: Text) -> Strategy:
    if node.format in _FORMATS:
        return _FORMATS[node.format]
    if node.format == "base64":
        return st.binary(min_size=node.min_length, max_size=node.max_length).map(
            lambda raw: base64.b64encode(raw).decode()
        )
    if node.format not in ("", "utf8"):
        raise UsageError(f"no value of the format {node.format!r} is known: write a strategy for this type by hand")
    if node.pattern is not None:
        return st.from_regex(node.pattern, alphabet=_CHARACTERS)
    return st.text(_CHARACTERS, min_size=node.min_length, max_size=node.max_length)


def _largest(*bounds: float | None) -> float | None:
    return max((each for each in bounds if each is not None), default=None)


def _smallest(*bounds: float | None) -> float | None:
    return min((each for each in bounds if each is not None), default=None)


def _as_json(value: object) -> Any:
    """Return what a value is in JSON."""
    return msgspec.to_builtins(value)


_CHARACTERS: Final = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
_ANYTHING: Final[Strategy] = st.recursive(
    st.none() | st.booleans() | st.integers(-_MAX_INT, _MAX_INT) | st.text(_CHARACTERS),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(_CHARACTERS), values, max_size=3),
    max_leaves=5,
)
_FORMATS: Final[Mapping[str, Strategy]] = {
    "date-time": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(_as_json),  # noqa: DTZ001
    "date": st.dates(date(1, 1, 1), date(9999, 12, 31)).map(_as_json),
    "time": st.times().map(_as_json),
    "duration": st.timedeltas(timedelta(-10_000), timedelta(10_000)).map(_as_json),
    "uuid": st.uuids().map(_as_json),
    "integer": st.integers(-_MAX_INT, _MAX_INT).map(str),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
}
