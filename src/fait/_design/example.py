"""Generates an example of an event type that a person can read: each text says which field it is in.

`fait.schema.samples` generates events at the limits of their types instead, to test code.
"""

from contextlib import suppress
from typing import Any

from fait._schema.acceptance import accepts
from fait._schema.description import (
    Array,
    Choice,
    Description,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    Null,
    Number,
    OneOf,
    Reference,
    Text,
)
from fait._schema.samples import NoSample, samples, simplest

__all__ = ["example"]


def example(description: Description) -> Any:
    """Return an event that a description allows, with all its fields, as plain data; always the same one.

    Raises:
        UsageError: no value was found.
    """
    with suppress(NoSample):
        value = _Builder(description).value(description.root, "text", ())
        if accepts(description.records, description.root, value):
            return value
    return samples(description, 0, count=1)[0]


class _Builder:
    def __init__(self, description: Description) -> None:
        self._records = description.records

    def value(self, node: JsonType, name: str, inside: tuple[str, ...]) -> Any:
        """Return a value of a type, for a field with a name, in records that are not entered again."""
        match node:
            case Reference() if node.name not in inside:
                return self.value(self._records[node.name], name, (*inside, node.name))
            case JsonObject():
                return self._object(node, inside)
            case Array():
                return self._array(node, name, inside)
            case FixedArray():
                names = node.names or (name,) * len(node.items)
                return [self.value(each, label, inside) for each, label in zip(node.items, names, strict=True)]
            case JsonMap():
                return self._map(node, name, inside)
            case OneOf():
                return self._alternative(node, name, inside)
            case _:
                return self._plain(node, name)

    def _object(self, node: JsonObject, inside: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, member in node.members.items():
            try:
                found[name] = self.value(member.type, name, inside)
            except NoSample:
                if member.required:
                    raise
        return found

    def _array(self, node: Array, name: str, inside: tuple[str, ...]) -> list[Any]:
        if node.min_items > 1:
            return simplest(self._records, node)
        if node.max_items == 0:
            return []
        try:
            return [self.value(node.items, name, inside)]
        except NoSample:  # a record that contains itself
            return []

    def _map(self, node: JsonMap, name: str, inside: tuple[str, ...]) -> Any:
        if node.min_size > 1 or node.max_size == 0:
            return simplest(self._records, node)
        return {self._plain(node.keys, "key"): self.value(node.values, name, inside)}

    def _alternative(self, node: OneOf, name: str, inside: tuple[str, ...]) -> Any:
        for each in sorted(node.types, key=lambda each: isinstance(each, Null)):
            with suppress(NoSample):
                return self.value(each, name, inside)
        raise NoSample("a union has no finite value")

    def _plain(self, node: JsonType, name: str) -> Any:
        preferred: dict[type, tuple[Any, ...]] = {Text: (name,), Choice: (), Number: (1, 10, 0.5, "1.00", "1")}
        for each in preferred.get(type(node), ()):
            if accepts(self._records, node, each):
                return each
        return simplest(self._records, node)
