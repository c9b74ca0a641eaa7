"""Makes an event that breaks smaller, guided by its description, as long as it breaks in the same way."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, cast

from fait._schema.acceptance import accepts
from fait._schema.description import (
    Array,
    Description,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    OneOf,
    Reference,
    Text,
    canonical_json,
)
from fait._schema.samples import NoSample, simplest

__all__ = ["shrink"]

_MAX_ATTEMPTS: Final = 500
"""Maximum number of smaller events that are tried."""

Records = Mapping[str, JsonObject | FixedArray]


def shrink(description: Description, value: Any, fails: Callable[[Any], bool]) -> Any:
    """Return a smaller event that the description allows and that still fails; the given one if there is none.

    Args:
        description: the description of the event.
        value: the event that fails, as plain data.
        fails: whether an event fails in the same way. It gets a value that it may change.
    """
    attempts = _MAX_ATTEMPTS
    candidates = _smaller(description.records, description.root, value)
    while attempts and (candidate := next(candidates, None)) is not None:
        candidate = candidate[0]
        if _size(candidate) >= _size(value) or not accepts(description.records, description.root, candidate):
            continue
        attempts -= 1
        if fails(candidate):
            value = candidate
            candidates = _smaller(description.records, description.root, value)
    return value


def _size(value: Any) -> tuple[int, str]:
    text = canonical_json(value)
    return len(text), text


def _smaller(records: Records, node: JsonType, value: Any) -> Iterator[tuple[Any]]:
    """Yield simpler values, each in a tuple: a value may be None."""
    with suppress(NoSample):
        yield (simplest(records, node),)
    match node:
        case Reference():
            yield from _smaller(records, records[node.name], value)
        case OneOf():
            for each in node.types:
                if accepts(records, each, value):
                    yield from _smaller(records, each, value)
                else:
                    with suppress(NoSample):
                        yield (simplest(records, each),)
        case JsonObject() if isinstance(value, dict):
            yield from _smaller_objects(records, node, cast("dict[str, Any]", value))
        case JsonMap() if isinstance(value, dict):
            yield from _smaller_maps(records, node, cast("dict[str, Any]", value))
        case Array() | FixedArray() if isinstance(value, list):
            yield from _smaller_arrays(records, node, cast("list[Any]", value))
        case Text() if isinstance(value, str):
            yield from ((value[:length],) for length in (1, len(value) // 2, len(value) - 1) if length > 0)
        case _:
            pass


def _smaller_objects(records: Records, node: JsonObject, value: dict[str, Any]) -> Iterator[tuple[Any]]:
    for name in value:
        yield ({key: part for key, part in value.items() if key != name},)
    for name, part in value.items():
        if name in node.members:
            for (each,) in _smaller(records, node.members[name].type, part):
                yield ({**value, name: each},)


def _smaller_maps(records: Records, node: JsonMap, value: dict[str, Any]) -> Iterator[tuple[Any]]:
    for name in value:
        yield ({key: part for key, part in value.items() if key != name},)
    for name, part in value.items():
        for (each,) in _smaller(records, node.values, part):
            yield ({**value, name: each},)


def _smaller_arrays(records: Records, node: Array | FixedArray, value: list[Any]) -> Iterator[tuple[Any]]:
    for index in range(len(value)):
        yield ([*value[:index], *value[index + 1 :]],)
    for index, part in enumerate(value):
        inside = node.items if isinstance(node, Array) else node.items[index] if index < len(node.items) else None
        if inside is not None:
            for (each,) in _smaller(records, inside, part):
                yield ([*value[:index], each, *value[index + 1 :]],)
