"""Types of descriptions in words, for tables of fields."""

from collections.abc import Iterator, Mapping
from typing import Final

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

__all__ = ["type_in_words"]


def type_in_words(node: JsonType) -> str:
    """Return a type in words: "integer >= 0", "list of Line", "text of 1 to 3 characters", "EUR | USD"."""
    match node:
        case Number():
            return " ".join(("float" if node.type == "double" else node.type, *_number_limits(node)))
        case Text():
            return " ".join((node.format or "text", *_text_limits(node)))
        case Choice():
            return " | ".join(map(canonical_json, node.values))
        case Array() | FixedArray() | JsonMap():
            return _container(node)
        case OneOf():
            return " | ".join(map(type_in_words, node.types))
        case Reference():
            return node.name
        case Opaque():
            return f"not understood: {node.keyword}"
        case _:
            return _OTHERS[type(node)]


_OTHERS: Final[Mapping[type, str]] = {Null: "null", Boolean: "boolean", Anything: "any JSON", JsonObject: "object"}


def _container(node: Array | FixedArray | JsonMap) -> str:
    if isinstance(node, FixedArray):
        return f"({', '.join(map(type_in_words, node.items))})"
    if isinstance(node, Array):
        counted = _range(node.min_items, node.max_items, "items")
        return f"{'set' if node.unique else 'list'}{counted} of {type_in_words(node.items)}"
    counted = _range(node.min_size, node.max_size, "entries")
    return f"dict{counted} from {type_in_words(node.keys)} to {type_in_words(node.values)}"


def _number_limits(node: Number) -> Iterator[str]:
    limits = {">=": node.minimum, ">": node.exclusive_minimum, "<=": node.maximum, "<": node.exclusive_maximum}
    yield from (f"{sign} {value}" for sign, value in limits.items() if value is not None)
    if node.multiple_of is not None:
        yield f"multiple of {node.multiple_of}"
    if node.max_digits is not None:
        yield f"up to {node.max_digits} digits"
    if node.decimal_places is not None:
        yield f"up to {node.decimal_places} decimal places"


def _text_limits(node: Text) -> Iterator[str]:
    unit = "bytes" if node.format in ("base64", "utf8") else "characters"
    if counted := _range(node.min_length, node.max_length, unit):
        yield counted.strip()
    if node.pattern is not None:
        yield f"with {node.pattern}"


def _range(low: int, high: int | None, unit: str) -> str:
    if high is None:
        return f" of at least {low} {unit}" if low else ""
    return f" of {low} to {high} {unit}" if low else f" of up to {high} {unit}"
