"""SQL for the tables of read models. Only this module builds SQL: names pass through `quote`, values are parameters.

Timestamps, dates, UUIDs and decimals are stored as readable text. A decimal column has a second one, `fait_order_NAME`,
with a text that any SQLite program sorts as the number: conditions, sort orders and indexes use it. A collation of fait
would make VACUUM, ANALYZE and integrity checks fail in other programs.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fait._errors import UsageError
from fait._store.ports.tables import Column, ColumnCondition, ColumnKind, Row, SortOrder, Table
from fait._store.sql import index_name
from fait._store.sqlite.timestamps import to_timestamp

__all__ = [
    "MARKER",
    "create_table",
    "delete_row",
    "drop_table",
    "from_rows",
    "keys_to_sql",
    "quote",
    "select_keys",
    "select_rows",
    "to_rows",
    "upsert_row",
]

_TYPES: Final[dict[ColumnKind, str]] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "INTEGER",
    "decimal": "TEXT",
    "timestamp": "TEXT",
    "date": "TEXT",
    "uuid": "TEXT",
    "bytes": "BLOB",
    "json": "TEXT",
}

_TO_SQL: Final[dict[ColumnKind, Callable[[Any], Any]]] = {
    "decimal": str,
    "timestamp": to_timestamp,
    "date": date.isoformat,
    "uuid": str,
    "boolean": int,
}

_FROM_SQL: Final[dict[ColumnKind, Callable[[Any], Any]]] = {
    "decimal": Decimal,
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": UUID,
    "boolean": bool,
}

_EXPONENT_BIAS: Final = 5 * 10**18
"""Makes any exponent of a decimal a positive number of 19 digits."""

_COMPLEMENT: Final = str.maketrans("0123456789", "9876543210")


def quote(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


MARKER: Final = "/* read model of fait */"
"""Comment in the definition of each table, by which fait knows it. SQLite and its dumps keep the definition."""


def create_table(table: Table) -> dict[str, str]:
    """Statements that create the table and its indexes, by the name of the table or index."""
    columns = ", ".join(
        [
            f"{quote(column.name)} {_TYPES[column.kind]}"
            + ("" if column.nullable else " NOT NULL")
            + (" PRIMARY KEY" if column.name == table.key else "")
            for column in table.columns
        ]
        + [f"{quote(_sort_column(table, column.name))} TEXT" for column in _decimals(table)]
    )
    statements = {table.name: f"CREATE TABLE main.{quote(table.name)} ({MARKER} {columns}) STRICT"}
    for names in table.indexes:
        index = index_name(table.name, names)
        sorted_columns = ", ".join(quote(_sort_column(table, name)) for name in names)
        statements[index] = f"CREATE INDEX main.{quote(index)} ON {quote(table.name)} ({sorted_columns})"
    return statements


def drop_table(table: Table) -> str:
    """Statement that drops the table, if it exists."""
    return f"DROP TABLE IF EXISTS main.{quote(table.name)}"


def upsert_row(table: Table) -> str:
    """Statement that inserts or updates a row by its key. Its parameters are the values of `to_rows`.

    INSERT OR REPLACE is not used: if a user has added a unique index, REPLACE silently deletes another row with the
    same value.
    """
    names = [quote(column.name) for column in table.columns]
    names += [quote(_sort_column(table, column.name)) for column in _decimals(table)]
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name != quote(table.key))
    return (
        f"INSERT INTO main.{quote(table.name)} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)}) "  # noqa: S608
        f"ON CONFLICT ({quote(table.key)}) DO " + (f"UPDATE SET {changed}" if changed else "NOTHING")
    )


def delete_row(table: Table) -> str:
    """Statement that deletes a row. Its parameter is the key."""
    return f"DELETE FROM main.{quote(table.name)} WHERE {quote(table.key)} = ?"  # noqa: S608


def select_keys(table: Table) -> str:
    """Statement that selects rows by key. Its parameter is a JSON array of keys."""
    return (
        f"SELECT {_columns(table)} FROM main.{quote(table.name)} "  # noqa: S608
        f"WHERE {quote(table.key)} IN (SELECT value FROM json_each(?))"
    )


def select_rows(
    table: Table,
    where: Sequence[ColumnCondition],
    order: Sequence[SortOrder],
    after_row: Sequence[Any] | None,
    limit: int | None,
) -> tuple[str, list[Any]]:
    """Statement for `Tables.select`, and its parameters."""
    values: list[Any] = []
    conditions = [_condition(table, condition, values) for condition in where]
    if after_row is not None:
        conditions.append(_after_row(table, order, after_row, values))
    sql = f"SELECT {_columns(table)} FROM main.{quote(table.name)}"  # noqa: S608
    if conditions:
        sql += " WHERE " + " AND ".join(conditions)
    if order:
        sql += " ORDER BY " + ", ".join(
            quote(_sort_column(table, each.column)) + (" DESC" if each.descending else "") for each in order
        )
    if limit is not None:
        sql += " LIMIT ?"
        values.append(limit)
    return sql, values


def to_rows(table: Table, rows: Sequence[Row]) -> Sequence[Row]:
    """Convert rows of Python values to SQLite values, with a further value for each decimal column."""
    converted = _convert(rows, [_TO_SQL.get(column.kind) for column in table.columns])
    if not (decimals := [table.index_of(column.name) for column in _decimals(table)]):
        return converted
    return [
        (*new, *(None if old[index] is None else _sort_key(old[index]) for index in decimals))
        for old, new in zip(rows, converted, strict=True)
    ]


def from_rows(table: Table, rows: Sequence[Row]) -> Sequence[Row]:
    """Convert rows of SQLite values to Python values."""
    return _convert(rows, [_FROM_SQL.get(column.kind) for column in table.columns])


def keys_to_sql(table: Table, keys: Sequence[Any]) -> Sequence[Any]:
    """Convert keys to SQLite values."""
    convert = _TO_SQL.get(table.columns[table.index_of(table.key)].kind)
    return keys if convert is None else [convert(key) for key in keys]


def _convert(rows: Sequence[Row], converters: Sequence[Callable[[Any], Any] | None]) -> Sequence[Row]:
    if not any(converters):
        return rows
    return [
        tuple(
            value if convert is None or value is None else convert(value)
            for convert, value in zip(converters, row, strict=True)
        )
        for row in rows
    ]


def _to_sql(table: Table, column: str, value: Any) -> Any:
    """Convert a value that is compared with a column."""
    kind = table.columns[table.index_of(column)].kind
    # fault: decimals-compare-as-text
    convert = _sort_key if kind == "decimal" else _TO_SQL.get(kind)
    return value if convert is None or value is None else convert(value)


def _columns(table: Table) -> str:
    return ", ".join(quote(column.name) for column in table.columns)


def _decimals(table: Table) -> list[Column]:
    return [column for column in table.columns if column.kind == "decimal"]


def _sort_column(table: Table, name: str) -> str:
    """The column by which rows are compared and sorted."""
    return f"fait_order_{name}" if table.columns[table.index_of(name)].kind == "decimal" else name


def _sort_key(number: Decimal) -> str:
    """A text that sorts, by code points, as the number: its sign, the exponent of its first digit, and its digits.

    Equal numbers have the same text. The digits of a negative number are complemented, and followed by a character
    that is greater than any digit.
    """
    if not number.is_finite():
        raise UsageError(f"a decimal column cannot store {number}. Nothing was written. Use a finite number.")
    sign, digits, _ = number.as_tuple()
    text = "".join(map(str, digits)).strip("0")
    if not text:
        return "1"
    exponent = f"{number.adjusted() + _EXPONENT_BIAS:020d}"
    return f"0{(exponent + text).translate(_COMPLEMENT)}~" if sign else f"2{exponent}{text}"


def _condition(table: Table, condition: ColumnCondition, values: list[Any]) -> str:
    column = quote(_sort_column(table, condition.column))
    parameters = [_to_sql(table, condition.column, value) for value in condition.values]
    match condition.operator:
        case "=" | "!=":
            values.extend(parameters)
            return f"{column} IS {'NOT ' if condition.operator == '!=' else ''}?"
        case "in":
            not_null = [value for value in parameters if value is not None]
            values.extend(not_null)
            is_in = f"{column} IN ({', '.join('?' for _ in not_null)})"
            return is_in if len(not_null) == len(parameters) else f"({is_in} OR {column} IS NULL)"
        case "between":
            values.extend(parameters)
            return f"{column} BETWEEN ? AND ?"
        case operator:
            values.extend(parameters)
            return f"{column} {operator} ?"


def _after_row(table: Table, order: Sequence[SortOrder], after_row: Sequence[Any], values: list[Any]) -> str:
    """Condition for rows that sort after the values `after_row`: by the first column, and on a tie by the rest."""
    first, rest = order[0], order[1:]
    column, value = quote(_sort_column(table, first.column)), _to_sql(table, first.column, after_row[0])
    if value is None:
        later = "FALSE" if first.descending else f"{column} IS NOT NULL"
    elif first.descending:
        # fault: row-page-omits-null
        later = f"({column} < ? OR {column} IS NULL)"
        values.append(value)
    else:
        # fault: row-page-repeats-last
        later = f"{column} > ?"
        values.append(value)
    if not rest:
        return later
    values.append(value)
    return f"({later} OR ({column} IS ? AND {_after_row(table, rest, after_row[1:], values)}))"
