"""Decides whether one JSON value may have two types, so that a reader could take it for either."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from fait._schema.description import (
    Array,
    Boolean,
    Choice,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    Member,
    Null,
    Number,
    Reference,
    Text,
    canonical_json,
)

__all__ = ["json_type_of", "may_be_both", "may_overlap"]

Records = Mapping[str, JsonObject | FixedArray]


def json_type_of(node: JsonType) -> str:
    """Return the word of JSON Schema for the values of a type; `any` if they have several."""
    match node:
        case Null():
            return "null"
        case Boolean():
            return "boolean"
        case Number():
            return "string" if node.type == "decimal" else "number"
        case Text():
            return "string"
        case Choice():
            return _type_of_constant(node.values[0])
        case Array() | FixedArray():
            return "array"
        case JsonMap() | JsonObject():
            return "object"
        case _:
            return "any"


def _type_of_constant(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def may_overlap(records: Records, types: Sequence[JsonType]) -> bool:
    """Return whether a value may have two of these types; False only if it is certain that none has."""
    resolved = [records[each.name] if isinstance(each, Reference) else each for each in types]
    return any(may_be_both(one, other) for one, other in combinations(resolved, 2))


def may_be_both(one: JsonType, other: JsonType) -> bool:
    """Return whether a value may have both types, which are no references."""
    kinds = {json_type_of(one), json_type_of(other)}
    if len(kinds) > 1:
        return "any" in kinds
    if isinstance(one, Choice) and isinstance(other, Choice):
        return bool({canonical_json(each) for each in one.values} & {canonical_json(each) for each in other.values})
    if isinstance(one, JsonObject) and isinstance(other, JsonObject):
        return not any(
            _distinguishes(one.members[name], other.members[name]) for name in one.members.keys() & other.members
        )
    return True


def _distinguishes(one: Member, other: Member) -> bool:
    """Return whether a member that both objects must have is a constant, and another one in each: a tag."""
    constants = isinstance(one.type, Choice) and isinstance(other.type, Choice)
    return constants and one.required and other.required and not may_be_both(one.type, other.type)
