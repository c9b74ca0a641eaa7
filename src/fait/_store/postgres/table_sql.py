"""SQL for the tables of read models. The only module that builds SQL: names pass `quote`, and values are parameters.

Columns have the types that a SQL user expects: a decimal is a `numeric`, a datetime a `timestamptz`. Texts sort by
code point, independent of the database's collation.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fait._errors import UsageError
from fait._store.ports.tables import Column, ColumnCondition, ColumnKind, Row, RowChange, SortOrder, Table
from fait._store.postgres.identifiers import quote
from fait._store.sql import MAX_NAME_BYTES, index_name

__all__ = [
    "MARKER",
    "check_names",
    "create_table",
    "drop_table",
    "from_rows",
    "record_rows",
    "select_keys",
    "select_rows",
]

_SYSTEM_COLUMNS: Final = {"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"}

MARKER: Final = "read model of fait"
"""Comment on each table, by which fait knows it. Dumps contain it. Users may extend the comment."""

_TYPES: Final[dict[ColumnKind, str]] = {
    "text": "text",
    "integer": "bigint",
    "real": "double precision",
    "boolean": "boolean",
    "decimal": "numeric",
    "timestamp": "timestamptz",
    "date": "date",
    "uuid": "uuid",
    "bytes": "bytea",
    "json": "json",
}


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise UsageError(f"a decimal column cannot store {value}. Nothing was written. Use a finite number.")
    return str(value)


def _timestamp(value: datetime) -> str:
    try:
        return value.astimezone(UTC).isoformat()
    except OverflowError:
        raise UsageError(
            "a timestamp column cannot store a time outside of the years 1 to 9999 in UTC. Nothing was written. Use a "
            "time in this range."
        ) from None


# Sent as text: the driver would send the minimum and maximum date and datetime as infinity, and very large decimals
# as 0.
_AS_TEXT: Final[dict[ColumnKind, Callable[[Any], str]]] = {
    "decimal": _decimal,
    "timestamp": _timestamp,
    "date": date.isoformat,
}


def check_names(table: Table) -> None:
    """Raise UsageError for names that PostgreSQL would truncate or reject."""
    for name in (table.name, *(column.name for column in table.columns)):
        if len(name.encode()) > MAX_NAME_BYTES:
            raise UsageError(
                f"the table or column name {name!r} is longer than PostgreSQL's maximum of {MAX_NAME_BYTES} bytes. "
                "Nothing was created. Shorten the name."
            )
    for column in table.columns:
        if column.name in _SYSTEM_COLUMNS:
            raise UsageError(
                f"{table.name}: the column name {column.name!r} is reserved by PostgreSQL. Nothing was created. "
                "Rename the column."
            )


def create_table(schema: str, table: Table) -> dict[str, str]:
    """Return the statements that create the table and its indexes, by the name of the table or index."""
    columns = ", ".join(
        f"{quote(column.name)} {_TYPES[column.kind]}"
        + (' COLLATE "C"' if column.kind == "text" else "")
        + ("" if column.nullable else " NOT NULL")
        + (" PRIMARY KEY" if column.name == table.key else "")
        for column in table.columns
    )
    name = _table(schema, table)
    statements = {table.name: f"CREATE TABLE {name} ({columns}); COMMENT ON TABLE {name} IS '{MARKER}'"}
    for names in table.indexes:
        index = index_name(table.name, names)
        expressions = ", ".join(_sort_expression(table, SortOrder(name)) for name in names)
        statements[index] = f"CREATE INDEX {quote(index)} ON {_table(schema, table)} ({expressions})"
    return statements


def drop_table(schema: str, table: Table) -> str:
    """Return the statement that drops the table, if it exists."""
    return f"DROP TABLE IF EXISTS {_table(schema, table)}"


def record_rows(schema: str, move: str, changes: Sequence[RowChange]) -> tuple[str, list[Any]]:
    """Return one statement that moves a range and writes rows, and its values after those of `move`.

    Args:
        schema: the schema of the tables.
        move: the statement that moves the range. It has eight parameters, and returns a row if it succeeds; only
            then are rows written.
        changes: changes of rows. The last change of a key wins.
    """
    tables = {change.table.name: change.table for change in changes}
    rows: dict[str, dict[Any, Row | None]] = {name: {} for name in tables}
    for change in changes:
        key_index, rows_by_key = change.table.index_of(change.table.key), rows[change.table.name]
        rows_by_key.update({row[key_index]: row for row in change.upserts})
        rows_by_key.update(dict.fromkeys(change.deletes))
    parameters = _Parameters(8)
    parts = [f"moved AS ({move})"]
    for number, (name, table) in enumerate(tables.items()):
        parts.append(f"deleted_{number} AS ({_delete(schema, table, rows[name], parameters)})")
        parts.append(f"upserted_{number} AS ({_upsert(schema, table, rows[name], parameters)})")
    return f"WITH {', '.join(parts)} SELECT FROM moved", parameters.values


def select_keys(schema: str, table: Table, keys: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return the statement that reads rows by key, and its values."""
    parameters = _Parameters()
    where = f"{quote(table.key)} = ANY({parameters.array(_column(table, table.key), keys)})"
    return f"SELECT {_columns(table)} FROM {_table(schema, table)} WHERE {where}", parameters.values  # noqa: S608


def select_rows(
    schema: str,
    table: Table,
    where: Sequence[ColumnCondition],
    order: Sequence[SortOrder],
    after_row: Sequence[Any] | None,
    limit: int | None,
) -> tuple[str, list[Any]]:
    """Return the statement for a `select`, and its values."""
    parameters = _Parameters()
    conditions = [_condition(table, condition, parameters) for condition in where]
    if after_row is not None:
        conditions.append(_after_row(table, order, after_row, parameters))
    sql = f"SELECT {_columns(table)} FROM {_table(schema, table)}"  # noqa: S608
    if conditions:
        sql += " WHERE " + " AND ".join(conditions)
    if order:
        sql += " ORDER BY " + ", ".join(_sort_expression(table, each) for each in order)
    if limit is not None:
        sql += f" LIMIT {parameters.add(limit, 'bigint')}"
    return sql, parameters.values


def from_rows(table: Table, rows: Sequence[Sequence[Any]]) -> list[Row]:
    """Convert the driver's rows: it has its own class for UUIDs."""
    if all(column.kind != "uuid" for column in table.columns):
        return [tuple(row) for row in rows]
    return [tuple(UUID(int=value.int) if isinstance(value, UUID) else value for value in row) for row in rows]


class _Parameters:
    """Collects the values of a statement, and returns the placeholder of each."""

    def __init__(self, offset: int = 0) -> None:
        self.values: list[Any] = []
        self._offset = offset

    def add(self, value: Any, type: str) -> str:
        """Add a value of a SQL type."""
        self.values.append(value)
        return f"${self._offset + len(self.values)}::{type}"

    def value(self, column: Column, value: Any) -> str:
        """Add a value to compare a column with."""
        if convert := _AS_TEXT.get(column.kind):
            return self.add(None if value is None else convert(value), f"text::{_TYPES[column.kind]}")
        return self.add(value, _compared_type(column))

    def array(self, column: Column, values: Sequence[Any]) -> str:
        """Add an array of values to compare a column with."""
        return self._add_array(column, values, _compared_type(column))

    def column_values(self, column: Column, values: Sequence[Any]) -> str:
        """Add an array of values to write into a column."""
        return self._add_array(column, values, _TYPES[column.kind])

    def _add_array(self, column: Column, values: Sequence[Any], type: str) -> str:
        if convert := _AS_TEXT.get(column.kind):
            return self.add([None if value is None else convert(value) for value in values], f"text[]::{type}[]")
        return self.add(list(values), f"{type}[]")


def _delete(schema: str, table: Table, rows: Mapping[Any, Row | None], parameters: _Parameters) -> str:
    keys = [key for key, row in rows.items() if row is None]
    return (
        f"DELETE FROM {_table(schema, table)} "  # noqa: S608
        f"WHERE EXISTS (SELECT FROM moved) "
        f"AND {quote(table.key)} = ANY({parameters.array(_column(table, table.key), keys)})"
    )


def _upsert(schema: str, table: Table, rows: Mapping[Any, Row | None], parameters: _Parameters) -> str:
    upserts = [row for row in rows.values() if row is not None]
    arrays = ", ".join(
        parameters.column_values(column, [row[index] for row in upserts]) for index, column in enumerate(table.columns)
    )
    others = [quote(column.name) for column in table.columns if column.name != table.key]
    update = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in others)}" if others else "NOTHING"
    return (
        f"INSERT INTO {_table(schema, table)} ({_columns(table)}) "  # noqa: S608
        f"SELECT * FROM unnest({arrays}) WHERE EXISTS (SELECT FROM moved) "
        f"ON CONFLICT ({quote(table.key)}) DO {update}"
    )


def _condition(table: Table, condition: ColumnCondition, parameters: _Parameters) -> str:
    column, name = _column(table, condition.column), _comparable(table, condition.column)
    values = condition.values
    match condition.operator:
        case "=" | "!=" if values[0] is None:
            return f"{name} IS {'NOT ' if condition.operator == '!=' else ''}NULL"
        case "=":
            return f"{name} = {parameters.value(column, values[0])}"
        case "!=":
            return f"{name} IS DISTINCT FROM {parameters.value(column, values[0])}"
        case "in":
            condition_sql = (
                f"{name} = ANY({parameters.array(column, [value for value in values if value is not None])})"
            )
            return f"({condition_sql} OR {name} IS NULL)" if None in values else condition_sql
        case "between":
            return f"{name} BETWEEN {parameters.value(column, values[0])} AND {parameters.value(column, values[1])}"
        case operator:
            return f"{name} {operator} {parameters.value(column, values[0])}"


def _after_row(table: Table, order: Sequence[SortOrder], after: Sequence[Any], parameters: _Parameters) -> str:
    """The condition for rows after the one whose sort columns have the values `after` (keyset pagination)."""
    first, other_columns = order[0], order[1:]
    column, name = _column(table, first.column), _comparable(table, first.column)
    if after[0] is None:
        later, same = "FALSE" if first.descending else f"{name} IS NOT NULL", f"{name} IS NULL"
        if not other_columns:
            return later
        return f"({later} OR ({same} AND {_after_row(table, other_columns, after[1:], parameters)}))"
    value = parameters.value(column, after[0])
    later = f"{name} {'<' if first.descending else '>'} {value}"
    if other_columns:
        # The comparison with `start` is redundant, but lets the server start an index scan there.
        start = f"{name} {'<=' if first.descending else '>='} {value}"
        later = f"({start} AND ({later} OR {_after_row(table, other_columns, after[1:], parameters)}))"
    return f"({later} OR {name} IS NULL)" if first.descending and column.nullable else later


def _table(schema: str, table: Table) -> str:
    return f"{quote(schema)}.{quote(table.name)}"


def _columns(table: Table) -> str:
    return ", ".join(quote(column.name) for column in table.columns)


def _column(table: Table, name: str) -> Column:
    return table.columns[table.index_of(name)]


def _comparable(table: Table, name: str) -> str:
    """The expression by which a column is compared and sorted: JSON as its text."""
    return f'({quote(name)}::text COLLATE "C")' if _column(table, name).kind == "json" else quote(name)


def _compared_type(column: Column) -> str:
    return "text" if column.kind == "json" else _TYPES[column.kind]


def _sort_expression(table: Table, order: SortOrder) -> str:
    """The sort expression of a column, for ORDER BY and for an index that supports both directions."""
    direction = " DESC" if order.descending else ""
    if _column(table, order.column).nullable:
        direction += " NULLS LAST" if order.descending else " NULLS FIRST"
    return _comparable(table, order.column) + direction
