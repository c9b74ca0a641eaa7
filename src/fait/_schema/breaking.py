"""Finds a value that one type allows and another one does not."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from msgspec import UNSET

from fait._schema.acceptance import accepts
from fait._schema.description import (
    Array,
    Choice,
    Description,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    Number,
    OneOf,
    Reference,
    Text,
    resolve,
)
from fait._schema.samples import NoSample, numbers_near, simplest, text_of_length

__all__ = ["breaking_value"]


def breaking_value(writer: Description, node: JsonType, reader: Description, other: JsonType) -> Any:
    """Return a value of the type `node` of `writer` that the type `other` of `reader` refuses; UNSET if none is found.

    Both types have no members of their own to look into: those are compared one by one.
    """
    for value in _candidates(writer.records, resolve(writer, node), resolve(reader, other)):
        if accepts(writer.records, node, value) and not accepts(reader.records, other, value):
            return value
    return UNSET


def _candidates(records: Mapping[str, JsonObject | FixedArray], node: JsonType, other: JsonType) -> Iterator[Any]:
    """Yield values that may be of the first type: simple ones, and those at the limits of both types."""
    match node:
        case Number():
            numbers = [*numbers_near(node), *(numbers_near(other) if isinstance(other, Number) else ())]
            yield from map(str, numbers) if node.type == "decimal" else numbers
        case Text():
            yield from _texts(node, other)
        case Choice():
            yield from node.values
        case OneOf():
            for each in node.types:
                yield from _candidates(records, records[each.name] if isinstance(each, Reference) else each, other)
        case Array():
            yield from _arrays(records, node, other)
        case FixedArray():
            with suppress(NoSample):
                yield [simplest(records, each) for each in node.items]
        case JsonMap():
            yield from _maps(records, node, other)
        case _:
            pass
    with suppress(NoSample):
        yield simplest(records, node)
    yield from (None, True, 0, 0.5, "", [], {})


def _texts(node: Text, other: JsonType) -> Iterator[str]:
    lengths = {node.min_length, node.max_length or 1}
    if isinstance(other, Text):
        lengths |= {other.min_length, other.min_length - 1, (other.max_length or 0) + 1}
    for alphabet in ("text", "A", "0", "_"):
        yield from (text_of_length(length, alphabet) for length in sorted(lengths) if 0 <= length <= 100_000)


def _arrays(records: Mapping[str, JsonObject | FixedArray], node: Array, other: JsonType) -> Iterator[list[Any]]:
    counts = {node.min_items, node.min_items + 1, 2}
    if isinstance(other, Array):
        counts |= {other.min_items - 1, (other.max_items or 0) + 1}
    with suppress(NoSample):
        value = simplest(records, node.items)
        yield from ([value] * count for count in sorted(counts) if 0 <= count <= 1_000)
    for count in sorted(counts):
        with suppress(NoSample):
            if 0 <= count <= 1_000:
                unique = Array(node.items, count, count, unique=True)
                yield cast("list[Any]", simplest(records, unique))


def _maps(records: Mapping[str, JsonObject | FixedArray], node: JsonMap, other: JsonType) -> Iterator[dict[str, Any]]:
    counts = {node.min_size, 1}
    if isinstance(other, JsonMap):
        counts |= {other.min_size - 1, (other.max_size or 0) + 1}
    for count in sorted(counts):
        with suppress(NoSample):
            if 0 <= count <= 1_000:
                yield cast("dict[str, Any]", simplest(records, JsonMap(node.keys, node.values, count, count)))
