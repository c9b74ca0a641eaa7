"""Readable differences between expected and actual events, rows and other records: field by field.

`given(...).then(...)` uses them, and so does pytest for `assert events == [...]` where fait is installed.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import chain
from typing import Any, cast

from fait._decisions.aggregate import Aggregate
from fait._decisions.new_events import NewEvents
from fait._events.envelope import Untyped
from fait._events.event import event_type
from fait._events.record import fields_of, is_record
from fait._subscriptions.read_model import ReadModel

__all__ = ["different_fields", "different_items", "explain"]


def different_fields(expected: object, actual: object, path: str = "") -> Iterator[str]:
    """Yield a line for each part of a value that differs.

    Args:
        expected: the expected value.
        actual: the actual value.
        path: the place of the values in the whole, such as `items[0].price`.
    """
    is_same_type = type(expected) is type(actual)
    if is_same_type and expected == actual:
        return
    steps = _steps(expected, actual) if is_same_type else None
    if steps is None:
        yield f"{path or 'value'}: expected {expected!r}, got {actual!r}"
    else:
        for step, one, other in steps:
            yield from different_fields(one, other, f"{path}{step}".removeprefix("."))


def different_items(
    expected: Sequence[object], actual: Sequence[object], identity: Callable[[Any], Hashable] = type
) -> list[str]:
    """Return lines for the differences between two sequences of events or rows; [] if they are equal.

    Items are aligned, so that a missing one does not make all later ones differ.

    Args:
        expected: the expected items.
        actual: the actual items.
        identity: returns what two items that are compared with each other have in common: by default their class.
    """
    kinds = [[identity(each) for each in items] for items in (expected, actual)]
    lines = list[str]()
    for operation, low, high, other_low, other_high in SequenceMatcher(None, *kinds, autojunk=False).get_opcodes():
        if operation == "equal":
            pairs = zip(expected[low:high], actual[other_low:other_high], strict=True)
            lines += [line for one, other in pairs for line in _compared(one, other)]
        else:
            lines += [f"- {each!r}  (expected, and missing)" for each in expected[low:high]]
            lines += [f"+ {each!r}  (not expected)" for each in actual[other_low:other_high]]
    return lines if any(not line.startswith("= ") for line in lines) else []


def explain(actual: object, expected: object) -> list[str] | None:
    """Return lines that explain why two events, rows or lists of them differ; None if the values are something else."""
    wanted, got = _as_list(expected), _as_list(actual)
    if not (wanted or got) or not all(map(_is_declared, chain(wanted, got))):
        return None
    lines = different_items(wanted, got)
    return ["the left side (got) differs from the right side (expected):", *lines] if lines else None


def _as_list(value: object) -> list[Any]:
    return list(cast("list[Any]", value)) if isinstance(value, list) else [value]


def _is_declared(item: object) -> bool:
    return isinstance(item, Aggregate | NewEvents | ReadModel | Untyped) or event_type(type(item)) is not None


def _compared(expected: object, actual: object) -> list[str]:
    lines = [f"    {line}" for line in different_fields(expected, actual)]
    return [f"! {type(expected).__name__}", *lines] if lines else [f"= {expected!r}"]


def _steps(expected: Any, actual: Any) -> Iterable[tuple[str, Any, Any]] | None:
    """Return the parts of two values of one type with their paths; None if they have no comparable parts."""
    if isinstance(expected, dict):
        entries = cast("dict[Any, Any]", expected)
        if entries.keys() != actual.keys():
            return None
        return ((f"[{key!r}]", each, actual[key]) for key, each in entries.items())
    if is_record(type(expected)):
        names = [each.name for each in fields_of(type(expected))]
        return ((f".{each}", getattr(expected, each), getattr(actual, each)) for each in names) if names else None
    if isinstance(expected, list | tuple) and len(cast("list[Any]", expected)) == len(actual):
        items: list[Any] = list(cast("list[Any]", expected))
        return ((f"[{number}]", each, actual[number]) for number, each in enumerate(items))
    return None
