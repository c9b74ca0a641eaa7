"""Says why plain data is not what a description allows: which member is missing, wrong or not known."""

from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple, cast

from fait._schema.acceptance import accepts
from fait._schema.compare import in_words
from fait._schema.description import (
    Array,
    Description,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    OneOf,
    canonical_json,
    resolve,
)

__all__ = ["Refusal", "refusals"]


class Refusal(NamedTuple):
    """A place where data is not what a description allows.

    Attributes:
        path: the path of the place.
        problem: `missing`, `wrong`, or `unknown` for a member that the description does not have.
        explanation: what is there, or what is expected.
    """

    path: str
    problem: str
    explanation: str

    def __str__(self) -> str:
        """Return a line for a message."""
        return f"{self.problem:<8} {self.path or 'the whole event'}: {self.explanation}"


def refusals(description: Description, value: Any, checked: Collection[str] = ()) -> list[Refusal]:
    """Return why a reader of a description refuses plain data, or would lose a part of it; empty if it does not.

    Args:
        description: the description of the version that reads the data.
        value: the data.
        checked: names of members that are right, and left out of the data.
    """
    root = resolve(description, description.root)
    if isinstance(root, JsonObject) and isinstance(value, dict):
        return list(dict.fromkeys(_in_object(description, root, cast("dict[str, Any]", value), "", checked)))
    return list(dict.fromkeys(_refusals(description, root, value, "")))


def _refusals(description: Description, node: JsonType, value: Any, path: str) -> Iterator[Refusal]:
    node = resolve(description, node)
    if isinstance(node, JsonObject) and isinstance(value, dict):
        yield from _in_object(description, node, cast("dict[str, Any]", value), path)
    elif isinstance(node, OneOf):
        yield from _in_union(description, node, value, path)
    elif isinstance(node, JsonMap) and isinstance(value, dict):
        yield from _in_map(description, node, cast("dict[str, Any]", value), path)
    elif isinstance(node, Array | FixedArray) and isinstance(value, list):
        yield from _in_array(description, node, cast("list[Any]", value), path)
    elif not accepts(description.records, node, value):
        yield Refusal(path, "wrong", f"{_shortened(value)} is not allowed; its type is {in_words(node)}")


def _in_object(
    description: Description, node: JsonObject, value: dict[str, Any], path: str, checked: Collection[str] = ()
) -> Iterator[Refusal]:
    for name, member in node.members.items():
        if name in value:
            yield from _refusals(description, member.type, value[name], _inside(path, name))
        elif name not in checked and not member.may_be_absent:
            yield Refusal(_inside(path, name), "missing", f"{in_words(resolve(description, member.type))}, required")
    for name in value:
        if name not in node.members:
            inside = _inside(path, name)
            if node.extra is None:
                yield Refusal(inside, "unknown", "the version does not have it")
            else:
                yield from _refusals(description, node.extra, value[name], inside)


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _in_union(description: Description, node: OneOf, value: Any, path: str) -> Iterator[Refusal]:
    """Yield the refusals of the alternative that is the nearest."""
    best: list[Refusal] | None = None
    for each in node.types:
        found = list(_refusals(description, each, value, path))
        if not found:
            return
        if best is None or _severity(found) < _severity(best):
            best = found
    yield from best or ()


def _severity(found: list[Refusal]) -> tuple[int, int]:
    return sum(each.problem != "unknown" for each in found), len(found)


def _in_map(description: Description, node: JsonMap, value: dict[str, Any], path: str) -> Iterator[Refusal]:
    before = len(value)
    for name, part in value.items():
        if not accepts(description.records, node.keys, name):
            yield Refusal(path, "wrong", f"the key {_shortened(name)} is not allowed")
        yield from _refusals(description, node.values, part, f"{path}[]")
    if before < node.min_size or (node.max_size is not None and before > node.max_size):
        yield Refusal(path, "wrong", f"{before} entries are not allowed")


def _in_array(description: Description, node: Array | FixedArray, value: list[Any], path: str) -> Iterator[Refusal]:
    found: list[Refusal] = []
    for index, part in enumerate(value):
        if isinstance(node, Array):
            found += _refusals(description, node.items, part, f"{path}[]")
        elif index < len(node.items):
            found += _refusals(description, node.items[index], part, f"{path}[{index}]")
    if not found and not accepts(description.records, node, value):
        found.append(Refusal(path, "wrong", f"{_shortened(value)} is not allowed; its type is {in_words(node)}"))
    yield from found


def _shortened(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…"


_MAX_SHOWN_CHARS: Final = 60
"""Maximum length of a wrong value in a message."""
