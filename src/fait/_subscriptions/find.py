"""Questions to a read model: equality by keyword, other comparisons by name, an order, a limit, and where to go on.

    await s.find(OrderSummary, customer_id="c-1", total=fait.ge(10), order_by="-placed_at", limit=20)

Column names are checked against the class; a misspelt one is answered with the nearest.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec
from msgspec import Struct

from fait._errors import UsageError
from fait._store.ledger import PYTHON_TYPES, Column, ColumnCondition, Row, SortOrder, fits_column
from fait._subscriptions.read_model import ReadModelDefinition

__all__ = [
    "Comparison",
    "Descending",
    "Rows",
    "between",
    "column_conditions",
    "decode_cursor",
    "desc",
    "encode_cursor",
    "ge",
    "gt",
    "le",
    "lt",
    "ne",
    "one_of",
    "sort_orders",
]

M = TypeVar("M")

Operator = Literal["!=", "<", "<=", ">", ">=", "in", "between"]


class Comparison(Struct, frozen=True):
    """A comparison other than equality, made by `gt`, `ge`, `lt`, `le`, `ne`, `one_of` or `between`."""

    operator: Operator
    values: tuple[Any, ...]


def gt(value: Any, /) -> Comparison:
    """Greater than the value."""
    return Comparison(">", (value,))


def ge(value: Any, /) -> Comparison:
    """Greater than the value, or equal to it."""
    return Comparison(">=", (value,))


def lt(value: Any, /) -> Comparison:
    """Less than the value."""
    return Comparison("<", (value,))


def le(value: Any, /) -> Comparison:
    """Less than the value, or equal to it."""
    return Comparison("<=", (value,))


def ne(value: Any, /) -> Comparison:
    """Not equal to the value; a missing value is not equal to any."""
    return Comparison("!=", (value,))


def one_of(*values: Any) -> Comparison:
    """Equal to one of the values."""
    return Comparison("in", values)


def between(low: Any, high: Any, /) -> Comparison:
    """From the low to the high value, both included."""
    return Comparison("between", (low, high))


class Descending(Struct, frozen=True):
    """A column to sort by, greatest first; made by `desc`."""

    column: str


def desc(column: object, /) -> Descending:
    """Sort by this column, greatest first: `fait.desc(OrderSummary.placed_at)`."""
    return Descending(_column_name(column))


class Rows(list[M], Generic[M]):
    """The rows found; `cursor` goes on behind the last of them.

    Attributes:
        cursor: for `find(..., cursor=...)`; None if there is nothing more.
    """

    cursor: str | None = None


def column_conditions(shape: ReadModelDefinition, given: Mapping[str, Any]) -> list[ColumnCondition]:
    """The filters of `find` as the ledger takes them."""
    found: list[ColumnCondition] = []
    for name, value in given.items():
        _check_column(shape, name)
        operator, values = (value.operator, value.values) if isinstance(value, Comparison) else ("=", (value,))
        kept = tuple(shape.to_column(name, each) for each in values)
        for each in kept:
            _check_value(shape, name, each)
        found.append(ColumnCondition(name, operator, kept))
    return found


def sort_orders(shape: ReadModelDefinition, order_by: object) -> list[SortOrder]:
    """The order of `find`: always total, so that paging never skips or repeats a row."""
    asked = (
        cast("Sequence[object]", order_by)
        if isinstance(order_by, list | tuple)
        else ()
        if order_by is None
        else (order_by,)
    )
    found = [_order(shape, each) for each in asked]
    if shape.key not in (order.column for order in found):
        found.append(SortOrder(shape.key, found[-1].descending if found else False))
    return found


def encode_cursor(shape: ReadModelDefinition, order: Sequence[SortOrder], row: Row) -> str:
    """Where to go on behind a row, as text that may travel."""
    place = (
        [[each.column, each.descending] for each in order],
        [row[shape.table.index_of(each.column)] for each in order],
    )
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def decode_cursor(shape: ReadModelDefinition, order: Sequence[SortOrder], cursor: str) -> list[Any]:
    """What `cursor_of` put in, or an error if it was made for another order."""
    try:
        asked, values = msgspec.json.decode(
            base64.urlsafe_b64decode(cursor), type=tuple[list[tuple[str, bool]], list[Any]]
        )
        if asked != [(each.column, each.descending) for each in order]:
            raise UsageError(
                "this cursor was made for another order_by: use both as they were, or start from the first page"
            )
        return [_from_json(shape, each.column, value) for each, value in zip(order, values, strict=True)]
    except (ValueError, msgspec.DecodeError):
        raise UsageError("this is not a cursor that find(...) gave") from None


def _from_json(shape: ReadModelDefinition, column: str, value: Any) -> Any:
    kind = shape.table.columns[shape.table.index_of(column)].kind
    into: Any = PYTHON_TYPES[kind]
    return None if value is None else msgspec.convert(value, into, strict=False)


def _order(shape: ReadModelDefinition, asked: object) -> SortOrder:
    if isinstance(asked, Descending):
        return SortOrder(_check_column(shape, asked.column), descending=True)
    name = _column_name(asked)
    return SortOrder(_check_column(shape, name.removeprefix("-")), descending=name.startswith("-"))


def _column_name(column: object) -> str:
    """A column's name, given itself or the class's attribute, which knows its name."""
    name = column if isinstance(column, str) else getattr(column, "__name__", None)
    if not isinstance(name, str):
        raise UsageError(f"order_by takes column names, '-name', or fait.desc(Model.column), not {column!r}")
    return name


def _check_column(shape: ReadModelDefinition, name: str) -> str:
    if name not in shape.fields:
        import difflib  # for an error alone

        near = difflib.get_close_matches(name, shape.fields, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(shape.fields)}."
        raise UsageError(f"{shape.cls.__name__} has no column {name!r}. {hint}")
    return name


def _check_value(shape: ReadModelDefinition, name: str, value: Any) -> None:
    kind = shape.table.columns[shape.table.index_of(name)].kind
    if not fits_column(Column(name, kind, nullable=True), value):
        raise UsageError(f"{shape.cls.__name__}.{name} is {kind}: it cannot be compared with a {type(value).__name__}")
