"""Checks that a column can store a value exactly in every backend.

The check is the same for all backends and runs before any of them: otherwise a read model that works on SQLite could
stop on PostgreSQL at a value that it rejects.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from types import NoneType
from typing import Any, Final

from fait._events.validation import invalid_text_reason
from fait._store.ports.tables import PYTHON_TYPES, Column, ColumnKind, Row, Table

__all__ = [
    "MAX_INDEXED_BYTES",
    "MAX_VALUE_BYTES",
    "RowCheck",
    "fits_column",
    "has_column_type",
    "invalid_column_reason",
    "invalid_key_reason",
]

MAX_VALUE_BYTES: Final = 1 << 20
"""Maximum size of a text, of bytes, and of JSON: as much as the data of an event."""

MAX_INDEXED_BYTES: Final = 2_000
"""Maximum size of the values of a row in one index or in the key: a B-tree of PostgreSQL stores up to 2,704 bytes.

Texts and JSON count in UTF-8, and decimals half a byte for each digit. Other kinds need up to 16 bytes for each of at
most 32 columns, and do not count.
"""

_MAX_DECIMAL_DIGITS: Final = 131_072
"""Maximum number of digits before the decimal point of PostgreSQL's `numeric`."""

_MAX_DECIMAL_PLACES: Final = 16_383
"""Maximum number of digits after the decimal point of PostgreSQL's `numeric`."""

_MAX_SHORT_BYTES: Final = 60
"""Maximum size in an index of a decimal that the fast test accepts: it fits any index."""


def fits_column(column: Column, value: Any) -> bool:
    """Return whether a column can store a value exactly, in every backend."""
    return invalid_column_reason(column, value) is None


def invalid_column_reason(column: Column, value: Any) -> str | None:
    """Return the reason why a column cannot store a value exactly in every backend; None if it can."""
    if value is None:
        return None if column.nullable else "it is None, and the column is not optional"
    if not has_column_type(column.kind, value):
        return f"it is of type {type(value).__name__}, and the column holds {column.kind}"
    check = _REASONS.get(column.kind)
    return None if check is None else check(value)


def has_column_type(kind: ColumnKind, value: Any) -> bool:
    """Return whether a value other than None has a type that a kind of column can store."""
    expected, actual = PYTHON_TYPES[kind], value.__class__
    return (
        actual is expected or (kind == "real" and actual is int) or (kind in _INEXACT and isinstance(value, expected))
    )


class RowCheck:
    """Checks the rows of one table: column by column for all rows together, and one by one only if that fails.

    Args:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self._columns = table.columns
        indexes = [[table.index_of(name) for name in names] for names in ((table.key,), *table.indexes)]
        self._indexes = [[i for i in index if table.columns[i].kind in _SIZES] for index in indexes]
        self._tests = [_column_test(column, self._share_of_index(i)) for i, column in enumerate(table.columns)]

    def find_problem(self, rows: Sequence[Row]) -> tuple[Row, str, str] | None:
        """Return a row that not every backend can store exactly, with its column and the reason; None if all can be."""
        # fault: unchecked-rows
        if all(map(_call, self._tests, zip(*rows, strict=True))):
            return None
        return next(((row, *problem) for row in rows if (problem := self._first_problem(row))), None)

    def _share_of_index(self, column: int) -> int:
        """Return a size up to which the values of a column fit all its indexes, together with the other columns."""
        return min(
            [MAX_INDEXED_BYTES // len(each) for each in self._indexes if column in each], default=MAX_VALUE_BYTES
        )

    def _first_problem(self, row: Row) -> tuple[str, str] | None:
        for column, value in zip(self._columns, row, strict=True):
            if (reason := invalid_column_reason(column, value)) is not None:
                return column.name, reason
        return self._first_long_index(row)

    def _first_long_index(self, row: Row) -> tuple[str, str] | None:
        for index in self._indexes:
            sizes = [_SIZES[self._columns[i].kind](row[i]) for i in index if row[i] is not None]
            if sum(sizes) > MAX_INDEXED_BYTES:
                names = ", ".join(self._columns[i].name for i in index)
                return names, indexed_size_reason(sum(sizes))
        return None


def invalid_key_reason(column: Column, key: Any) -> str | None:
    """Return the reason why a value cannot be the key of a row; None if it can."""
    reason = invalid_column_reason(column, key)
    if reason is None and column.kind == "text" and (size := _utf8_size(key)) > MAX_INDEXED_BYTES:
        return indexed_size_reason(size)
    return reason


def indexed_size_reason(size: int) -> str:
    """Return the reason why values cannot be in an index."""
    return f"its size of {size:,} bytes exceeds the limit of {MAX_INDEXED_BYTES:,} for a key or an index"


_Test = Callable[[Sequence[Any]], bool]
_Reason = Callable[[Any], str | None]
_INEXACT: Final = {"text", "decimal", "uuid", "bytes", "json"}  # kinds whose values may be instances of a subclass


def _call(test: _Test, values: Sequence[Any]) -> bool:
    return test(values)


def _column_test(column: Column, max_bytes: int) -> _Test:
    """Return a fast test of all values of a column. False means that some must be examined, not that one is invalid."""
    expected, test = PYTHON_TYPES[column.kind], _TESTS.get(column.kind)

    def are_valid(values: Sequence[Any]) -> bool:
        types = set(map(type, values))
        if column.nullable and NoneType in types:
            types.discard(NoneType)
            values = [value for value in values if value is not None]
        return types <= {expected} and (test is None or not values or test(values, max_bytes))

    return are_valid


def _texts_are_valid(values: Sequence[str], max_bytes: int) -> bool:
    text, chars = "".join(values), max(map(len, values))
    if text.isascii():
        return chars <= max_bytes and "\0" not in text
    return 4 * chars <= max_bytes and invalid_text_reason(text) is None


def _json_is_short(values: Sequence[str], max_bytes: int) -> bool:
    return 4 * max(map(len, values)) <= max_bytes


def _is_short_decimal(value: Decimal) -> bool:
    return value.is_finite() and -1000 < value.adjusted() < 1000 and len(str(value)) <= 2 * _MAX_SHORT_BYTES


_TESTS: Final[dict[ColumnKind, Callable[[Sequence[Any], int], bool]]] = {
    "text": _texts_are_valid,
    "json": _json_is_short,
    "bytes": lambda values, max_bytes: max(map(len, values)) <= max_bytes,
    "integer": lambda values, _: max(values) < 1 << 63 and min(values) >= -(1 << 63),
    "real": lambda values, _: all(map(isfinite, values)),
    "decimal": lambda values, _: all(map(_is_short_decimal, values)),
    "timestamp": lambda values, _: all(each.tzinfo is UTC or _timestamp_reason(each) is None for each in values),
}


def _text_reason(value: str) -> str | None:
    return invalid_text_reason(value) or _size_reason(_utf8_size(value))


def _utf8_size(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode())


def _bytes_reason(value: bytes) -> str | None:
    return _size_reason(len(value))


def _size_reason(size: int) -> str | None:
    return f"its size of {size:,} bytes exceeds the limit of {MAX_VALUE_BYTES:,}" if size > MAX_VALUE_BYTES else None


def _integer_reason(value: int) -> str | None:
    return None if -(1 << 63) <= value < 1 << 63 else "the integer exceeds 64 bits"


def _real_reason(value: float) -> str | None:
    if value.__class__ is int:
        return None if -(1 << 53) <= value <= 1 << 53 else "the integer exceeds 53 bits, which a float cannot store"
    return None if isfinite(value) else "the number is not finite"


def _decimal_reason(value: Decimal) -> str | None:
    if not value.is_finite():
        return "the number is not finite"
    places = -min(0, int(value.as_tuple().exponent))
    if value.adjusted() < _MAX_DECIMAL_DIGITS and places <= _MAX_DECIMAL_PLACES:
        return None
    return (
        f"the number has more than {_MAX_DECIMAL_DIGITS:,} digits before or {_MAX_DECIMAL_PLACES:,} after the decimal "
        "point, which PostgreSQL cannot store"
    )


def _timestamp_reason(value: datetime) -> str | None:
    if value.tzinfo is UTC:
        return None
    if value.utcoffset() is None:
        return "the datetime has no time zone"
    try:
        value.astimezone(UTC)
    except OverflowError:
        return "the datetime is outside of the years 1 to 9999 in UTC"
    return None


_REASONS: Final[dict[ColumnKind, _Reason]] = {
    "text": _text_reason,
    "bytes": _bytes_reason,
    "integer": _integer_reason,
    "real": _real_reason,
    "decimal": _decimal_reason,
    "timestamp": _timestamp_reason,
}
_SIZES: Final[dict[ColumnKind, Callable[[Any], int]]] = {
    "text": _utf8_size,
    "json": _utf8_size,
    "bytes": len,
    "decimal": lambda value: len(value.as_tuple().digits) // 2,
}
