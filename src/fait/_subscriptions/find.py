"""Conditions, sort orders and cursors of `find`.

    await s.find(OrderSummary, customer_id="c-1", total=fait.ge(10), order_by="-placed_at", limit=20)

Column names are checked against the read model's class; the error for an unknown name suggests the closest column.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec
from msgspec import Struct

from fait._errors import UsageError
from fait._store.ports.tables import PYTHON_TYPES, Column, ColumnCondition, Row, SortOrder, fits_column
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
    """A comparison other than equality, created by `gt`, `ge`, `lt`, `le`, `ne`, `one_of` or `between`."""

    operator: Operator
    values: tuple[Any, ...]


def gt(value: Any, /) -> Comparison:
    """Match column values greater than `value`, as in `find(OrderSummary, total=fait.gt(10))`."""
    return Comparison(">", (value,))


def ge(value: Any, /) -> Comparison:
    """Match column values greater than or equal to `value`."""
    return Comparison(">=", (value,))


def lt(value: Any, /) -> Comparison:
    """Match column values less than `value`."""
    return Comparison("<", (value,))


def le(value: Any, /) -> Comparison:
    """Match column values less than or equal to `value`."""
    return Comparison("<=", (value,))


def ne(value: Any, /) -> Comparison:
    """Match column values different from `value`. None differs from every other value."""
    return Comparison("!=", (value,))


def one_of(*values: Any) -> Comparison:
    """Match column values equal to one of `values`; without values, match no row."""
    return Comparison("in", values)


def between(low: Any, high: Any, /) -> Comparison:
    """Match column values from `low` to `high`, both included."""
    return Comparison("between", (low, high))


class Descending(Struct, frozen=True):
    """A column to sort by in descending order, created by `desc`."""

    column: str


def desc(column: object, /) -> Descending:
    """Sort by a column in descending order: `order_by=fait.desc(OrderSummary.placed_at)`.

    Args:
        column: an attribute of the read model's class, or the name of a column.
    """
    return Descending(_column_name(column))


class Rows(list[M], Generic[M]):
    """One page of rows, as a list.

    Attributes:
        cursor: pass it to `find(..., cursor=...)` to get the next page. None if this is the last page.
    """

    cursor: str | None = None


def column_conditions(definition: ReadModelDefinition, where: Mapping[str, Any]) -> list[ColumnCondition]:
    """Return the keyword arguments of `find` as column conditions."""
    conditions: list[ColumnCondition] = []
    for name, value in where.items():
        _check_column(definition, name)
        operator, values = (value.operator, value.values) if isinstance(value, Comparison) else ("=", (value,))
        column_values = tuple(definition.to_column(name, each) for each in values)
        for each in column_values:
            _check_value(definition, name, each)
        conditions.append(ColumnCondition(name, operator, column_values))
    return conditions


def sort_orders(definition: ReadModelDefinition, order_by: object) -> list[SortOrder]:
    """Return the sort order of a `find` call. It ends with the key, so that paging neither skips nor repeats a row."""
    columns = (
        cast("Sequence[object]", order_by)
        if isinstance(order_by, list | tuple)
        else ()
        if order_by is None
        else (order_by,)
    )
    orders = [_sort_order(definition, column) for column in columns]
    if definition.key not in (order.column for order in orders):
        orders.append(SortOrder(definition.key, orders[-1].descending if orders else False))
    return orders


def encode_cursor(definition: ReadModelDefinition, orders: Sequence[SortOrder], row: Row) -> str:
    """Return a cursor for the rows after this one, as URL-safe text."""
    cursor = (
        [[order.column, order.descending] for order in orders],
        [row[definition.table.index_of(order.column)] for order in orders],
    )
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def decode_cursor(definition: ReadModelDefinition, orders: Sequence[SortOrder], cursor: str) -> list[Any]:
    """Return the column values of the row after which a cursor continues.

    Raises:
        UsageError: the text is not a cursor, or it belongs to another order.
    """
    try:
        cursor_orders, values = msgspec.json.decode(
            base64.urlsafe_b64decode(cursor), type=tuple[list[tuple[str, bool]], list[Any]]
        )
        if cursor_orders != [(order.column, order.descending) for order in orders]:
            raise UsageError(
                "the cursor belongs to another order_by. Pass the order_by of the previous page, or start from the "
                "first page without a cursor."
            )
        return [_from_json(definition, order.column, value) for order, value in zip(orders, values, strict=True)]
    except (ValueError, msgspec.DecodeError):
        raise UsageError("invalid cursor: pass the `cursor` of the rows that find(...) returned") from None


def _from_json(definition: ReadModelDefinition, column: str, value: Any) -> Any:
    kind = definition.table.columns[definition.table.index_of(column)].kind
    type: Any = PYTHON_TYPES[kind]
    return None if value is None else msgspec.convert(value, type, strict=False)


def _sort_order(definition: ReadModelDefinition, column: object) -> SortOrder:
    if isinstance(column, Descending):
        return SortOrder(_check_column(definition, column.column), descending=True)
    name = _column_name(column)
    return SortOrder(_check_column(definition, name.removeprefix("-")), descending=name.startswith("-"))


def _column_name(column: object) -> str:
    """Return the name of a column that is given by its name or as an attribute of the class."""
    name = column if isinstance(column, str) else getattr(column, "__name__", None)
    if not isinstance(name, str):
        raise UsageError(f"order_by takes column names, '-name', or fait.desc(Model.column); got {column!r}")
    return name


def _check_column(definition: ReadModelDefinition, name: str) -> str:
    if name not in definition.fields:
        import difflib  # only for the error

        matches = difflib.get_close_matches(name, definition.fields, 1)
        hint = f"Did you mean {matches[0]!r}?" if matches else f"Its columns are: {', '.join(definition.fields)}."
        raise UsageError(f"read model {definition.cls.__name__} has no column {name!r}. {hint}")
    return name


def _check_value(definition: ReadModelDefinition, name: str, value: Any) -> None:
    column = definition.table.columns[definition.table.index_of(name)]
    if not fits_column(Column(name, column.kind, nullable=True), value):
        column_name = f"{definition.cls.__name__}.{name}"
        if column.kind == "timestamp" and isinstance(value, datetime) and value.tzinfo is None:
            raise UsageError(
                f"cannot compare column {column_name} (timestamp) with a datetime without time zone: use "
                "datetime(..., tzinfo=UTC)"
            )
        raise UsageError(
            f"cannot compare column {column_name} of kind {column.kind} with a value of type {type(value).__name__}"
        )
