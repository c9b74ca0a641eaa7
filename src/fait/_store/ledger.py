"""The port `Ledger`: everything derived from the log. Every backend implements it in the database of the log.

A ledger stores read-model rows, checkpoints, leases and snapshots. `record` writes a subscription's rows and its
checkpoint in one transaction. It is a compare-and-set: if the checkpoint or the fencing token differs from what the
caller expects, another process has acquired the subscription, and nothing is written.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, Protocol
from uuid import UUID

from msgspec import Struct

from fait._decisions.snapshot import Snapshot
from fait._errors import LeaseLost, UsageError

__all__ = [
    "PYTHON_TYPES",
    "Checkpoint",
    "Column",
    "ColumnCondition",
    "ColumnKind",
    "HandlerStatement",
    "Lease",
    "Ledger",
    "Row",
    "RowChange",
    "SortOrder",
    "Table",
    "UnitOfWork",
    "constraint_violation",
    "fits_column",
    "lease_lost",
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


def fits_column(column: Column, value: Any) -> bool:
    """Return whether a column can store a value exactly, in every backend."""
    if value is None:
        return column.nullable
    expected, actual = PYTHON_TYPES[column.kind], value.__class__
    if column.kind == "integer":
        return actual is int and -(1 << 63) <= value < 1 << 63
    if column.kind == "real":
        return actual in (float, int)
    if column.kind == "timestamp":
        return actual is datetime and value.tzinfo is not None
    return actual is expected or (column.kind != "date" and isinstance(value, expected))


def constraint_violation(tables: Iterable[Table], kind: str) -> UsageError:
    """Return the error for a row that violates a constraint added by the user. It does not contain the row's values."""
    names = ", ".join(sorted({repr(table.name) for table in tables}))
    return UsageError(
        f"a constraint or trigger ({kind}) that was added to the table rejects a row of {names}. Nothing was recorded; "
        f"the subscription will retry. Drop the constraint, or let `evolve` return rows that satisfy it."
    )


def lease_lost(subscription: str) -> LeaseLost:
    """Return the error for work under a lease that is no longer valid, or after a checkpoint that was reset."""
    return LeaseLost(
        f"the lease of subscription {subscription!r} was lost: another process acquired it, or the checkpoint was "
        "reset. Work not yet recorded was discarded; its events are processed again from the checkpoint."
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


class Checkpoint(Struct, frozen=True):
    """How far a subscription has processed the log.

    Attributes:
        subscription: name of the subscription.
        app: name of the app that declares it.
        position: all events up to this position are processed.
        log_id: id of the log that the position belongs to.
        epoch_id: id of the epoch of that log.
        definition_hash: hash of the read model's definition; "" for other subscriptions.
    """

    subscription: str
    app: str
    position: int
    log_id: str
    epoch_id: str
    definition_hash: str = ""


class Lease(Struct, frozen=True):
    """The right of one process to run a subscription.

    Processes do not compare clocks. The owner increments the heartbeat. Another process may acquire the lease if, by
    its own clock, the heartbeat has not changed for the duration of a lease.

    Attributes:
        name: name of the subscription.
        owner: id of the process that owns it; "" if it is free.
        fencing_token: number that increases with each owner. Work recorded under an older token is rejected.
        heartbeat: number that the owner increments. It also increases whenever the lease changes.
    """

    name: str
    owner: str
    fencing_token: int
    heartbeat: int


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


class HandlerStatement(Struct, frozen=True):
    """A SQL statement of a handler.

    Attributes:
        sql: the statement, in the database's dialect.
        values: values of its parameters.
    """

    sql: str
    values: Sequence[Any] = ()


class UnitOfWork(Struct, frozen=True):
    """The changes of a subscription for the events after `after` up to `position`.

    Attributes:
        subscription: name of the subscription.
        after: its checkpoint before.
        position: its checkpoint afterwards.
        fencing_token: token of the lease under which the work was done.
        rows: changes of read models.
        statements: SQL statements of handlers, run in order after the rows are written.
    """

    subscription: str
    after: int
    position: int
    fencing_token: int
    rows: Sequence[RowChange] = ()
    statements: Sequence[HandlerStatement] = ()


class Ledger(Protocol):
    """Read-model rows, checkpoints, leases and snapshots. `fait.testing.contract` tests each guarantee below.

    Every method may raise `StoreUnavailable`.
    """

    async def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints, in order of subscription (code points)."""
        ...

    async def checkpoint(self, subscription: str) -> Checkpoint | None:
        """Return a subscription's checkpoint; None if it has none."""
        ...

    async def start_checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        """Create a subscription's first checkpoint, unless it has one.

        Returns:
            The stored checkpoint: the given one, or the one that existed. Concurrent callers all get the same.
        """
        ...

    async def rename_subscription(self, old: str, new: str) -> None:
        """Rename a subscription's checkpoint. Without a checkpoint, nothing happens.

        Guarantees:
            `record` rejects work under the old name.
        """
        ...

    async def forget_subscription(self, subscription: str) -> None:
        """Delete a subscription's checkpoint, if there is one, and release its lease, if there is one.

        Guarantees:
            `record` rejects work of the previous owner; fencing tokens are not reused.
        """
        ...

    async def record(self, work: UnitOfWork) -> None:
        """Write rows, run statements and move the checkpoint from `after` to `position`, in one transaction.

        Raises:
            LeaseLost: the lease's fencing token or the checkpoint differs from that of the unit of work. Nothing was
                written, and no statement was run.
            UsageError: a row violates a constraint that was added to its table; a statement fails, would end the
                transaction or would write to a table of the store; or the backend runs no SQL. Nothing was written. A
                backend may raise the database's own error for a statement that fails.

        Guarantees:
            Of several concurrent units of work with the same `after`, one is recorded. A failed unit of work has no
            effect on other units of work and appends, even if the backend groups their commits.
        """
        ...

    async def lease(self, name: str) -> Lease:
        """Return the current lease of a subscription. A free lease has the owner ""."""
        ...

    async def acquire(self, seen: Lease, owner: str) -> Lease | None:
        """Acquire a lease if it has not changed since the caller read it.

        Args:
            seen: the lease as the caller read it.
            owner: id of the process that becomes the owner.

        Returns:
            The acquired lease, with a greater fencing token. None if the owner or the fencing token has changed, or if
            the heartbeat has changed and `owner` does not hold the lease.
        """
        ...

    async def heartbeat(self, owner: str) -> list[str]:
        """Increment the heartbeat of all leases of an owner.

        Returns:
            The names of these leases. A name that is missing was lost to another process.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Release a lease. If its owner or fencing token has changed, nothing happens."""
        ...

    async def release_all(self, owner: str) -> None:
        """Release all leases of an owner, so that other processes can acquire them immediately."""
        ...

    async def create_table(self, table: Table) -> None:
        """Create a read model's table and indexes, unless they exist."""
        ...

    async def reset_table(self, table: Table, checkpoint: Checkpoint) -> None:
        """Recreate a read model's table, set its checkpoint and release its lease, in one transaction.

        Guarantees:
            `record` rejects work of the previous owner, so that a rebuild starts at the new checkpoint.
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

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        """Return the existing snapshots of these streams, in any order."""
        ...

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Save a snapshot and replace the stream's previous one, even if that one has a higher version.

        An older snapshot is as correct as a newer one, so concurrent writers need not be ordered.
        """
        ...
