"""Conditions, sort orders and cursors of `find`.

    await s.find(OrderSummary, customer_id="c-1", total=fait.ge(10), order_by="-placed_at", limit=20)

Column names are checked against the read model's class; the error for an unknown name suggests the closest column.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar, cast

import msgspec
from msgspec import Struct

from fait._errors import InvalidCursor, InvalidValue, UsageError
from fait._store.ports.column_values import has_column_type, invalid_column_reason
from fait._store.ports.failures import KeyFailure
from fait._store.ports.registrations import slot_of
from fait._store.ports.tables import PYTHON_TYPES, Column, ColumnCondition, Row, SortOrder
from fait._subscriptions.own_write import OwnWrite
from fait._subscriptions.read_model import ReadModelDefinition, key_text

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
    "keys_of_read",
    "le",
    "lt",
    "ne",
    "one_of",
    "slot_of_read",
    "sort_orders",
]

M = TypeVar("M")

MAX_CURSOR_CHARS: Final = 1 << 16
"""Maximum length of a cursor."""

MAX_CONDITION_VALUES: Final = 10_000
"""Maximum number of values that the conditions of one query compare with: SQLite has up to 32,766 parameters."""

_MAX_NAME_CHARS: Final = 100
"""Maximum number of characters of an unknown column's name that an error shows and compares with other names."""

_VALUE_COUNTS: Final = {"=": 1, "!=": 1, "<": 1, "<=": 1, ">": 1, ">=": 1, "between": 2}

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "between"]


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
    """Return the keyword arguments of `find` as column conditions.

    Raises:
        UsageError: a column does not exist, a value has the wrong type, or a comparison is invalid.
        InvalidValue: no row can have one of the values.
    """
    conditions: list[ColumnCondition] = []
    for name, value in where.items():
        _check_column(definition, name)
        comparison = value if isinstance(value, Comparison) else Comparison("=", (value,))
        _check_comparison(definition, name, comparison)
        values = tuple(_to_column(definition, name, each) for each in comparison.values)
        conditions.append(ColumnCondition(name, comparison.operator, values))
    if sum(len(each.values) for each in conditions) > MAX_CONDITION_VALUES:
        raise UsageError(
            f"the conditions of a query have more than {MAX_CONDITION_VALUES:,} values. Nothing was read. Run several "
            "queries with fewer values each."
        )
    return conditions


def keys_of_read(
    definition: ReadModelDefinition, write: OwnWrite, where: Mapping[str, Any]
) -> Callable[[KeyFailure, Sequence[Row]], Awaitable[bool]]:
    """Return a function that tells whether rows that were read depend on the events of a key that has failed.

    If a key was asked for, they do if it is this one. Otherwise they do if it is the key of one of the rows, or of an
    event of the write: its row may not be among them because it does not exist yet, or its old content does not match.
    Of other events than the write's, such a row cannot be known.

    Args:
        definition: the read model.
        write: the write that is waited for.
        where: the column conditions.
    """
    index, asked_key = definition.table.index_of(definition.key), _asked_key(definition, where)

    async def depends_on(failure: KeyFailure, rows: Sequence[Row]) -> bool:
        key = _row_key(definition, failure.key)
        if asked_key is not None and key is not None:
            return key == asked_key
        if any(key == key_text(row[index]) for row in rows):
            return True
        # fault: own-write-not-among-the-rows
        return (definition.keyed_by_stream and failure.key == write.stream) or await write.has_failed(failure)

    return depends_on


def _row_key(definition: ReadModelDefinition, key: str) -> str | None:
    """Return the key of the row of an order key; None if a stream has no row, which is why it has failed."""
    if not definition.keyed_by_stream:
        return key
    try:
        return key_text(definition.key_of_stream(key))
    except UsageError:
        return None


def slot_of_read(definition: ReadModelDefinition, stream: str, where: Mapping[str, Any]) -> int | None:
    """Return the hash of the only order key that a read has to wait for; None if there may be several.

    Args:
        definition: the read model.
        stream: the stream of the write that is waited for; "" if it is unknown.
        where: the column conditions.
    """
    key = _asked_key(definition, where)
    if key is None or not definition.keyed_by_stream:
        return None if key is None else slot_of(key)
    try:
        return slot_of(stream) if key_text(definition.key_of_stream(stream)) == key else None
    except UsageError:  # no stream, or one that has no row
        return None


def _asked_key(definition: ReadModelDefinition, where: Mapping[str, Any]) -> str | None:
    """Return the key of the only row that can be found; None if there may be several."""
    asked = where.get(definition.key)
    return None if asked is None or isinstance(asked, Comparison) else key_text(asked)


def _check_comparison(definition: ReadModelDefinition, name: str, comparison: Comparison) -> None:
    operator, count = cast("object", comparison.operator), len(comparison.values)
    if operator != "in" and (not isinstance(operator, str) or _VALUE_COUNTS.get(operator) != count):
        raise UsageError(
            f"invalid comparison with column {definition.cls.__name__}.{name}. Use fait.gt, ge, lt, le, ne, one_of or "
            "between."
        )


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
    if len({order.column for order in orders}) < len(orders):
        raise UsageError("order_by names a column twice. Name each column once.")
    if definition.key not in (order.column for order in orders):
        orders.append(SortOrder(definition.key, orders[-1].descending if orders else False))
    return orders


def encode_cursor(definition: ReadModelDefinition, orders: Sequence[SortOrder], row: Row) -> str:
    """Return a cursor for the rows after this one, as URL-safe text.

    Raises:
        UsageError: the values of the sort columns are too long for a cursor.
    """
    values = (
        [[order.column, order.descending] for order in orders],
        [row[definition.table.index_of(order.column)] for order in orders],
    )
    cursor = base64.urlsafe_b64encode(msgspec.json.encode(values)).decode()
    if len(cursor) > MAX_CURSOR_CHARS:
        raise UsageError(
            f"the rows of {definition.cls.__name__} are too long in the columns of order_by for a cursor, which has up "
            f"to {MAX_CURSOR_CHARS:,} characters. Sort by shorter columns, or raise the limit to read all rows at once."
        )
    return cursor


def decode_cursor(definition: ReadModelDefinition, orders: Sequence[SortOrder], cursor: str) -> list[Any]:
    """Return the column values of the row after which a cursor continues.

    Raises:
        InvalidCursor: the text is not a cursor, it belongs to another order, or no row can have its values.
    """
    if not isinstance(cursor, str) or len(cursor) > MAX_CURSOR_CHARS:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidCursor(f"it is not a str of up to {MAX_CURSOR_CHARS:,} characters")
    try:
        cursor_orders, values = _decode_cursor(base64.b64decode(cursor, b"-_", validate=True))
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise InvalidCursor("it has another format") from None
    if cursor_orders != [(order.column, order.descending) for order in orders]:
        raise InvalidCursor("it belongs to another order_by")
    if len(values) != len(orders):
        raise InvalidCursor("it has another number of values")
    return [_from_json(definition, order.column, value) for order, value in zip(orders, values, strict=True)]


_decode_cursor: Final = msgspec.json.Decoder(
    tuple[list[tuple[str, bool]], list[str | int | float | bool | None]]
).decode


def _from_json(definition: ReadModelDefinition, name: str, value: Any) -> Any:
    column = _column(definition, name)
    type: Any = PYTHON_TYPES[column.kind]
    try:
        converted = None if value is None else msgspec.convert(value, type, strict=False)
    except (ValueError, ArithmeticError):  # the latter by Decimal
        raise InvalidCursor(f"it has a value that is not of the type of column {name!r}") from None
    # fault: cursor-value-unchecked
    if invalid_column_reason(column, converted) is not None:
        raise InvalidCursor(f"it has a value that no row has in column {name!r}")
    return converted


def _sort_order(definition: ReadModelDefinition, column: object) -> SortOrder:
    if isinstance(column, Descending):
        return SortOrder(_check_column(definition, column.column), descending=True)
    name = _column_name(column)
    return SortOrder(_check_column(definition, name.removeprefix("-")), descending=name.startswith("-"))


def _column_name(column: object) -> str:
    """Return the name of a column that is given by its name or as an attribute of the class."""
    name = column if isinstance(column, str) else getattr(column, "__name__", None)
    if not isinstance(name, str):
        raise UsageError(
            f"order_by takes column names, '-name', or fait.desc(Model.column), not {type(column).__name__}"
        )
    return name


def _check_column(definition: ReadModelDefinition, name: str) -> str:
    if name not in definition.fields:
        import difflib  # only for the error

        name = name[:_MAX_NAME_CHARS]
        matches = difflib.get_close_matches(name, definition.fields, 1)
        hint = f"Did you mean {matches[0]!r}?" if matches else f"Its columns are: {', '.join(definition.fields)}."
        raise UsageError(f"read model {definition.cls.__name__} has no column {name!r}. {hint}")
    return name


def _to_column(definition: ReadModelDefinition, name: str, value: Any) -> Any:
    """Convert a value to compare with to the column's representation; raise if no row can have it."""
    column, subject = _column(definition, name), f"a value to compare with column {definition.cls.__name__}.{name}"
    try:
        converted = definition.to_column(name, value)
    except InvalidValue as error:
        if column.kind == "json":
            raise InvalidValue(subject, error.path, error.reason) from None
        raise _wrong_type(definition, column, value) from None
    if converted is None:
        return None
    if not has_column_type(column.kind, converted):
        raise _wrong_type(definition, column, value)
    if isinstance(converted, datetime) and converted.utcoffset() is None:
        raise UsageError(
            f"cannot compare column {definition.cls.__name__}.{name} (timestamp) with a datetime without time zone: "
            "use datetime(..., tzinfo=UTC)"
        )
    if reason := invalid_column_reason(column, converted):
        raise InvalidValue(subject, name, reason)
    return converted


def _wrong_type(definition: ReadModelDefinition, column: Column, value: Any) -> UsageError:
    return UsageError(
        f"cannot compare column {definition.cls.__name__}.{column.name} of kind {column.kind} with a value of type "
        f"{type(value).__name__}"
    )


def _column(definition: ReadModelDefinition, name: str) -> Column:
    return definition.table.columns[definition.table.index_of(name)]
