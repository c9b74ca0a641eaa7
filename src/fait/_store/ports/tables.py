"""The port `Tables`: the tables of read models, and the values that they store exactly in every backend."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, Protocol
from uuid import UUID

from msgspec import Struct

from fait._errors import UsageError

__all__ = [
    "PYTHON_TYPES",
    "Column",
    "ColumnCondition",
    "ColumnKind",
    "Row",
    "RowChange",
    "SortOrder",
    "Table",
    "Tables",
    "constraint_violation",
    "name_taken",
]

ColumnKind = Literal["text", "integer", "real", "boolean", "decimal", "timestamp", "date", "uuid", "bytes", "json"]
"""Type of a column. The Python values are, in this order: str, int (64 bits), float, bool, Decimal, aware datetime,
date, UUID, bytes, str of JSON text."""

Row = tuple[Any, ...]
"""The values of one row, in the order of the table's columns."""


class Column(Struct, frozen=True):
    """A column of a read model's table.

    Attributes:
        name: name of the column, an identifier; it may be a word of SQL.
        kind: type of its values.
        nullable: whether None is allowed.
    """

    name: str
    kind: ColumnKind
    nullable: bool


class Table(Struct, frozen=True):
    """A read model's table.

    Attributes:
        name: name of the table, an identifier; it may be a word of SQL.
        columns: the columns, in order.
        key: name of the column that is the primary key.
        indexes: names of the columns of each further index.
    """

    name: str
    columns: tuple[Column, ...]
    key: str
    indexes: tuple[tuple[str, ...], ...] = ()

    def index_of(self, column: str) -> int:
        """Return the index of a column in a row."""
        return next(index for index, each in enumerate(self.columns) if each.name == column)


PYTHON_TYPES: Final[dict[ColumnKind, type]] = {
    "text": str,
    "integer": int,
    "real": float,
    "boolean": bool,
    "decimal": Decimal,
    "timestamp": datetime,
    "date": date,
    "uuid": UUID,
    "bytes": bytes,
    "json": str,
}
"""Python type of the values of each kind of column."""


def constraint_violation(tables: Iterable[Table], kind: str) -> UsageError:
    """Return the error for a row that violates a constraint added by the user. It does not contain the row's values."""
    names = ", ".join(sorted({repr(table.name) for table in tables}))
    return UsageError(
        f"a constraint or trigger ({kind}) that was added to the table rejects a row of {names}. Nothing was recorded; "
        f"the subscription will retry. Drop the constraint, or let `evolve` return rows that satisfy it."
    )


def name_taken(table: Table, name: str, kind: str) -> UsageError:
    """Return the error for a table, view or index that has a name of a read model, but was not created by fait.

    Args:
        table: the table of the read model.
        name: the name of the table, or of one of its indexes.
        kind: what has the name: "table", "view".
    """
    return UsageError(
        f"the read model {table.name!r} cannot be stored: the name {name!r} belongs to a {kind} that fait has not "
        f"created. The {kind} was neither read nor changed. Rename it, or give the read model another name with "
        "class ...(fait.ReadModel, table='...')."
    )


class ColumnCondition(Struct, frozen=True):
    """A comparison of a column with values.

    None is a value for `=`, `!=` and `in` only: None equals None. The other operators are false if the column or a
    value is None.

    Attributes:
        column: name of the column.
        operator: the comparison; `between` includes both ends.
        values: one value; two for `between`; any number for `in`.
    """

    column: str
    operator: Literal["=", "!=", "<", "<=", ">", ">=", "in", "between"]
    values: tuple[Any, ...]


class SortOrder(Struct, frozen=True):
    """A column to sort by. None is less than any other value: first when ascending, last when descending."""

    column: str
    descending: bool = False


class RowChange(Struct, frozen=True):
    """Changes of one read model's table.

    Attributes:
        table: the table.
        upserts: rows to insert, or to replace by their key.
        deletes: keys of rows to delete; a missing row is no error.
    """

    table: Table
    upserts: Sequence[Row] = ()
    deletes: Sequence[Any] = ()


class Tables(Protocol):
    """The tables of read models. `fait.testing.contract` tests each guarantee below.

    Every method may raise `StoreUnavailable`. Rows are written by `Recorder.record`.
    """

    async def create_table(self, table: Table) -> None:
        """Create a read model's table and indexes, unless they exist.

        Raises:
            UsageError: something that this method has not created has one of the names. Nothing was changed.
        """
        ...

    async def rows(self, table: Table, keys: Sequence[Any]) -> list[Row]:
        """Return the existing rows with these keys, each once, in any order."""
        ...

    async def select(
        self,
        table: Table,
        where: Sequence[ColumnCondition] = (),
        *,
        order: Sequence[SortOrder] = (),
        after_row: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        """Return the rows that satisfy all conditions.

        Args:
            table: the table.
            where: the conditions; all must hold.
            order: the columns to sort by. The last one is the key, so that the order is total. Empty: any order.
            after_row: for keyset pagination: the values of the `order` columns in the last row seen. Only rows after
                it are returned.
            limit: maximum number of rows; None: no limit.

        Guarantees:
            Values are returned exactly as they were stored, with their Python type. Comparison and order are the same
            in every backend: text by code points, decimals by value, times by instant.
        """
        ...
