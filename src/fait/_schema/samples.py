"""Generates values of a description: sample events as plain data, for tests and proofs.

The values are those at the limits of each type, in turn, and of every alternative. The same seed gives the same samples
in every version of Python: only `Random.random` is used, which is guaranteed to be repeatable.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from itertools import cycle
from random import Random
from typing import Any, Final

from msgspec import UNSET

from fait._errors import UsageError
from fait._schema.acceptance import accepts
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
from fait._schema.patterns import matching_text

__all__ = ["NoSample", "numbers_near", "samples", "simplest", "text_of_length"]

Records = Mapping[str, JsonObject | FixedArray]

_MAX_DEPTH: Final = 4
"""Maximum depth of records that contain themselves."""

_MAX_VALUES: Final = 1_000
"""Maximum number of values in a sample, after which its remaining members are as simple as possible."""

_MAX_ATTEMPTS: Final = 50
"""Maximum number of attempts to find a value that is valid and differs from its neighbors."""


class NoSample(Exception):
    """No value of a type was found: it has none, or its pattern is too difficult."""


def samples(description: Description, seed: int, *, count: int = 20) -> list[Any]:
    """Return events that a description allows, as plain data.

    The first one has all members, the second one only those that are required. The others are mixed: values at the
    limits of their types, each alternative of a union and each constant of an enum in turn.

    Args:
        description: the result of `describe`.
        seed: an integer; the same seed gives the same samples.
        count: the number of samples.

    Raises:
        UsageError: no value was found, because limits exclude each other or a pattern is too difficult.
    """
    source = _Source(description.records, Random(seed))  # noqa: S311 - samples are no secrets
    try:
        return [source.sample(description.root, number) for number in range(count)]
    except NoSample as error:
        raise UsageError(f"no sample of the event type was found: {error}. Write one by hand.") from None


def simplest(records: Records, node: JsonType) -> Any:
    """Return a simple value of a type, always the same one; raise `NoSample` if none is found."""
    return _Source(records, None).value(node, 0)


class _Source:
    def __init__(self, records: Records, random: Random | None) -> None:
        self._records = records
        self._random = random
        self._presence = 0.0
        self._left = 0
        self._turns: dict[int, Iterator[Any]] = {}
        self._open: list[str] = []

    def sample(self, node: JsonType, number: int) -> Any:
        self._presence = (1.0, 0.0)[number] if number < 2 else 0.7
        self._left = _MAX_VALUES
        return self.value(node, 0)

    def value(self, node: JsonType, depth: int) -> Any:
        """Return a value of a type at a depth of nested types."""
        self._left -= 1
        turn = self._turns.get(id(node))
        return self._new_value(node, depth) if turn is None else next(turn)

    def _new_value(self, node: JsonType, depth: int) -> Any:
        match node:  # the most frequent types first
            case Reference():
                return self._referenced(node.name, depth)
            case JsonObject():
                return self._object(node, depth)
            case OneOf():
                return self._alternative(node, depth)
            case Array():
                return self._array(node, depth)
            case Number() | Text():
                return next(self._turn(node, self._valid_values(node)))
            case Choice():
                return next(self._turn(node, node.values))
            case Null():
                return next(self._turn(node, (None,)))
            case Boolean():
                return next(self._turn(node, (False, True)))
            case Anything():
                return next(self._turn(node, _ANYTHING))
            case FixedArray():
                required = len(node.items) - (node.optional if self._is_absent() else 0)
                return [self.value(each, depth + 1) for each in node.items[:required]]
            case JsonMap():
                return self._map(node, depth)
            case Opaque():
                raise NoSample(f"the keyword {node.keyword} is not understood")

    def _choose(self, count: int) -> int:
        return 0 if self._random is None else int(self._random.random() * count)

    def _is_absent(self) -> bool:
        # fault: deep-members
        return self._random is None or self._left <= 0 or self._random.random() >= self._presence

    def _turn(self, owner: object, values: Sequence[Any]) -> Iterator[Any]:
        """Return values in turn without an end, from a random one on; without a random source, the first one alone."""
        if not values:
            raise NoSample(f"no value of {owner}")
        first = self._choose(len(values))
        turn = cycle(values[:1] if self._random is None else (*values[first:], *values[:first]))
        self._turns[id(owner)] = turn
        return turn

    def _valid_values(self, node: Number | Text) -> Sequence[Any]:
        others = (each for each in self._random_values(node) if accepts(self._records, node, each))
        return tuple(dict.fromkeys((*_values_at_limits(node), *others)))

    def _random_values(self, node: Number | Text) -> Iterable[Any]:
        if isinstance(node, Text):
            return () if node.pattern is None else self._matching_texts(node.format, node.pattern)
        if self._random is None:
            return ()
        low, high = node.minimum or node.exclusive_minimum or -1000, node.maximum or node.exclusive_maximum or 1000
        numbers = [int(low + self._random.random() * (high - low)) for _ in range(4)]
        return map(str, numbers) if node.type == "decimal" else numbers

    def _matching_texts(self, format: str, pattern: str) -> Iterator[str]:
        attempts = _MAX_ATTEMPTS if self._random else 1
        for _ in range(attempts if format in _PLAIN_FORMATS else 0):
            yield matching_text(pattern, self._choose)

    def _alternative(self, node: OneOf, depth: int) -> Any:
        if self._random is not None and self._left > 0:
            turn = self._turns.get(id(node.types)) or self._turn(node.types, node.types)
            try:
                return self.value(next(turn), depth)
            except NoSample:
                pass  # another alternative may have a value
        for each in node.types:
            with suppress(NoSample):
                return self.value(each, depth)
        raise NoSample("a union has no finite value")

    def _array(self, node: Array, depth: int) -> list[Any]:
        count = node.min_items if self._is_absent() else node.min_items + 1 + self._choose(2)
        if node.max_items is not None:
            count = min(count, node.max_items)
        source, found = self, list[Any]()
        if self._random is None and node.unique and count > 1:  # the simplest value is always the same one
            source = _Source(self._records, Random(0))  # noqa: S311
        for _ in range(_MAX_ATTEMPTS):
            if len(found) == count:
                break
            try:
                each = source.value(node.items, depth + 1)
            except NoSample:
                if len(found) < node.min_items:
                    raise
            else:
                if not node.unique or each not in found:
                    found.append(each)
        if len(found) < node.min_items:
            raise NoSample(f"an array of {node.min_items} items")
        return found

    def _map(self, node: JsonMap, depth: int) -> dict[str, Any]:
        keys = self._array(Array(node.keys, node.min_size, node.max_size, unique=True), depth)
        found: dict[str, Any] = {}
        for key in keys:
            try:
                found[key] = self.value(node.values, depth + 1)
            except NoSample:
                if len(found) < node.min_size:
                    raise
        return found

    def _object(self, node: JsonObject, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, member in node.members.items():
            if member.required:
                found[name] = self.value(member.type, depth)
            elif not self._is_absent():
                found.update(self._optional(name, member, depth))
        if node.extra is not None and not self._is_absent():
            found["another_member"] = self.value(node.extra, depth)
        return found

    def _optional(self, name: str, member: Member, depth: int) -> dict[str, Any]:
        try:
            value = self.value(member.type, depth)
        except NoSample:
            return {}
        is_left_out = member.omitted and member.default is not UNSET and value == member.default
        return {} if is_left_out else {name: value}

    def _referenced(self, name: str, depth: int) -> Any:
        if self._open.count(name) > (0 if self._random is None or depth > _MAX_DEPTH else _MAX_DEPTH):
            raise NoSample(f"{name} contains itself without an end")
        self._open.append(name)
        try:
            return self._new_value(self._records[name], depth + 1)
        finally:
            self._open.pop()


@lru_cache(maxsize=1_000)
def _values_at_limits(node: Number | Text) -> Sequence[Any]:
    """Return values at the limits of a type and usual ones, without those that the type does not allow."""
    return tuple(each for each in _candidates(node) if accepts({}, node, each))


def _candidates(node: Number | Text) -> Iterable[Any]:
    if isinstance(node, Number):
        near = numbers_near(node)
        return (*_DECIMALS, *(str(Decimal(repr(each))) for each in near)) if node.type == "decimal" else near
    if node.format in _FORMATTED:
        return _FORMATTED[node.format]
    if node.format == "base64":
        return (base64.b64encode(each.encode()[:length]).decode() for length, each in _texts(node))
    # Of a format that fait does not write, no value is known.
    return (text for _, text in _texts(node)) if node.format in _PLAIN_FORMATS and node.pattern is None else ()


def _texts(node: Text) -> Iterator[tuple[int, str]]:
    lengths = (node.min_length, node.min_length + 1, node.min_length + 5, node.max_length or 0)
    for alphabet in _ALPHABETS:
        yield from ((length, text_of_length(length, alphabet)) for length in lengths if length < 1_000)


def text_of_length(length: int, alphabet: str = "text") -> str:
    """Return a string of a length."""
    return (alphabet * (length // len(alphabet) + 1))[:length]


def numbers_near(node: Number) -> list[int | float]:
    """Return numbers at and around the limits of a type, and others; some of them violate the limits."""
    limits = (node.minimum, node.exclusive_minimum, node.maximum, node.exclusive_maximum)
    step = node.multiple_of or 1
    near: list[int | float] = []
    for limit in limits:
        if limit is not None:
            below = limit // step * step
            near += [limit, below, below + step, below - step, limit + 1, limit - 1]
            near += [] if node.type == "integer" else [limit + 0.5, limit - 0.5]
    if node.type == "integer":
        near.append((1 << 53) // step * step + step)  # the first one that a double may not hold
    others = _INTEGERS if node.type == "integer" else _FLOATS
    return [*others[:3], step, *near, *others[3:]]


_INTEGERS: Final = (0, 1, -1, 42, (1 << 63) - 1, -(1 << 63))
_FLOATS: Final = (0, 1, -1, 0.5, -1.5, 0.1, 1e-9, 1.5e300, -1.5e300)
_PLAIN_FORMATS: Final = ("", "utf8")
_DECIMALS: Final = ("0", "1", "-1", "1.10", "-0.5", "12345678901234567890.123456789", "1E+3")
_ALPHABETS: Final = ("text", "0123456789", 'äß€𝄞 "\\/\n\t', "A b")
_ANYTHING: Final[tuple[Any, ...]] = (None, True, 0, "text", [], {}, [1, "a", None], {"name": {"deep": [1.5]}})
_FORMATTED: Final[Mapping[str, tuple[str, ...]]] = {
    "date-time": (
        "2024-02-29T12:00:00Z",
        "2024-01-15T12:30:00.000001Z",
        "1969-12-31T23:59:59.999999Z",
        "0001-01-02T00:00:00Z",
        "9999-12-30T23:59:59.999999Z",
        "2024-01-15T12:30:00+05:30",
    ),
    "date": ("2024-02-29", "0001-01-01", "9999-12-31"),
    "time": ("12:30:00", "00:00:00", "23:59:59.999999"),
    "duration": ("P1D", "PT0.000001S", "-P1D", "PT1S", "P1DT0.000001S", "P30D"),
    "uuid": (
        "018f3b1c-7d2a-7c3e-9f4b-2a1d0c9e8b7a",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ),
    "integer": ("0", "1", "-1", "9223372036854775807", "-9223372036854775808"),
    "decimal": ("0", "1", "-1.5", "1.10"),
}
