"""Compares plain data before and after it was an instance of a class: the same values, perhaps in another form."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

import msgspec

__all__ = ["changed_paths"]


def changed_paths(before: Any, after: Any) -> list[str]:
    """Return the paths of values that differ. A member that is absent on one side has its default.

    Args:
        before: plain data.
        after: what came back.
    """
    return list(_changed(before, after, ""))


def _changed(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        fields = cast("dict[str, Any]", after)
        for name, part in cast("dict[str, Any]", before).items():
            # A text, the most frequent value, needs no further look if it is the same.
            if name in fields and not (isinstance(part, str) and part == fields[name]):
                yield from _changed(part, fields[name], f"{path}.{name}" if path else name)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _changed_items(cast("list[Any]", before), cast("list[Any]", after), path)
    elif not _is_same(before, after):
        yield path


def _changed_items(before: list[Any], after: list[Any], path: str) -> Iterator[str]:
    if len(before) > len(after):
        yield path
        return
    # Further items afterwards are defaults of a tuple's fields.
    in_order = [each for one, other in zip(before, after) for each in _changed(one, other, f"{path}[]")]  # noqa: B905
    # The items of a set may come back in another order.
    if in_order and not all(any(not changed_paths(one, other) for other in after) for one in before):
        yield from in_order


def _is_same(before: Any, after: Any) -> bool:
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    if before == after:
        return True
    return isinstance(before, str) and isinstance(after, str) and any(_means(each, before, after) for each in _FORMATS)


def _means(kind: Any, before: str, after: str) -> bool:
    """Return whether two texts mean the same value of a type."""
    try:
        return msgspec.convert(before, kind) == msgspec.convert(after, kind)
    except (msgspec.ValidationError, ArithmeticError, TypeError):
        return False


_FORMATS: Final = (datetime, date, time, timedelta, UUID, Decimal)
