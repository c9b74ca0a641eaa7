"""The ledger: what was made of the log. Rows, checkpoints, leases and snapshots, in the same database as the log.

The one rule: what a subscription did with events, and its checkpoint, are recorded together or not at all
(`record`). The checkpoint moves by comparison: whoever finds it elsewhere than expected has lost the subscription to
another process.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, Protocol
from uuid import UUID

from msgspec import Struct

from fait._decisions.snapshot import Snapshot
from fait._errors import UsageError

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
]

ColumnKind = Literal["text", "integer", "real", "boolean", "decimal", "timestamp", "date", "uuid", "bytes", "json"]
"""What a column holds. In Python: str, int, float, bool, Decimal, aware datetime, date, UUID, bytes, JSON text."""

Row = tuple[Any, ...]
"""The values of one row, in the order of the table's columns."""


class Column(Struct, frozen=True):
    """A column of a read model's table."""

    name: str
    kind: ColumnKind
    nullable: bool


class Table(Struct, frozen=True):
    """A read model's table.

    Attributes:
        name: of the table; a plain identifier.
        columns: in order; `key` is one of them.
        key: the primary key's column.
        indexes: columns of each further index.
    """

    name: str
    columns: tuple[Column, ...]
    key: str
    indexes: tuple[tuple[str, ...], ...] = ()

    def index_of(self, column: str) -> int:
        """Place of a column in a row."""
        return next(place for place, each in enumerate(self.columns) if each.name == column)


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
"""The class of the values of each kind."""


def fits_column(column: Column, value: Any) -> bool:
    """Whether a column can hold a value, exactly and on every backend alike."""
    if value is None:
        return column.nullable
    expected, given = PYTHON_TYPES[column.kind], value.__class__
    if column.kind == "integer":
        return given is int and -(1 << 63) <= value < 1 << 63
    if column.kind == "real":
        return given in (float, int)
    if column.kind == "timestamp":
        return given is datetime and value.tzinfo is not None
    return given is expected or (column.kind != "date" and isinstance(value, expected))


def constraint_violation(tables: Iterable[Table], kind: str) -> UsageError:
    """What a ledger says when a constraint that is not of its own making refuses a row; without the row's values."""
    names = ", ".join(sorted({repr(table.name) for table in tables}))
    return UsageError(
        f"a constraint or trigger ({kind}) that somebody has added to the table refuses a row of {names}. Nothing was "
        f"recorded, and it will be tried again. Drop it, or let `evolve` give rows that it accepts."
    )


class ColumnCondition(Struct, frozen=True):
    """A comparison of a column: `in` takes any number of values, `between` two (both included), the others one."""

    column: str
    operator: Literal["=", "!=", "<", "<=", ">", ">=", "in", "between"]
    values: tuple[Any, ...]


class SortOrder(Struct, frozen=True):
    """A column to sort by. Missing values come first when ascending, last when descending."""

    column: str
    descending: bool = False


class Checkpoint(Struct, frozen=True):
    """How far a subscription is.

    Attributes:
        subscription: its name.
        app: the app that declares it.
        position: everything up to here is done.
        log_id, epoch: the log that the position belongs to.
        shape: fingerprint of the read model's table; "" for others.
    """

    subscription: str
    app: str
    position: int
    log_id: str
    epoch: int
    definition_hash: str = ""


class Lease(Struct, frozen=True):
    """The right to run a subscription.

    No clock is compared between processes: an owner counts `beat` up, and who has watched it stand still long enough,
    by its own clock, may take the lease. `fence` grows with each owner: work recorded under an old one is refused.
    """

    name: str
    owner: str
    fencing_token: int
    heartbeat: int


class RowChange(Struct, frozen=True):
    """Changes to one read model: rows to write by their key, keys to delete."""

    table: Table
    upserts: Sequence[Row] = ()
    deletes: Sequence[Any] = ()


class HandlerStatement(Struct, frozen=True):
    """An SQL statement of a handler, with its values as parameters."""

    sql: str
    values: Sequence[Any] = ()


class UnitOfWork(Struct, frozen=True):
    """What a subscription did with the events beyond `after` up to `position`.

    Attributes:
        fence: of the lease it was done under.
    """

    subscription: str
    after: int
    position: int
    fencing_token: int
    rows: Sequence[RowChange] = ()
    statements: Sequence[HandlerStatement] = ()


class Ledger(Protocol):
    """Rows, checkpoints, leases and snapshots. Every promise here is a test in `fait.testing.contract`."""

    async def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints, by subscription."""
        ...

    async def checkpoint(self, subscription: str) -> Checkpoint | None:
        """One checkpoint; None if the subscription never started."""
        ...

    async def start_checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        """Write a subscription's first checkpoint, unless it has one; return the one in force."""
        ...

    async def rename_subscription(self, old: str, new: str) -> None:
        """Give a subscription's checkpoint another name; nothing happens if there is none."""
        ...

    async def forget_subscription(self, subscription: str) -> None:
        """Remove a subscription's checkpoint and free its lease; its fences are never given again."""
        ...

    async def record(self, work: UnitOfWork) -> None:
        """Write rows, run statements and move the checkpoint from `after` to `position`: all of it, or nothing.

        Raises:
            LeaseLost: the lease's fence or the checkpoint is not what the work was done under.
            UsageError: a row does not fit its table, as under a constraint that somebody has added to it.
        """
        ...

    async def lease(self, name: str) -> Lease:
        """The lease as it is; without an owner, `owner` is ""."""
        ...

    async def acquire(self, seen: Lease, owner: str) -> Lease | None:
        """Become the owner if the lease is still as `seen`; None if somebody was quicker.

        An owner may take its own anew although it has shown life meanwhile: nobody else did anything.
        """
        ...

    async def heartbeat(self, owner: str) -> list[str]:
        """Show that the owner lives: count its leases up, and return their names."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give one lease back, unless it has another owner or fence by now."""
        ...

    async def release_all(self, owner: str) -> None:
        """Give all leases of an owner back, so that others need not wait."""
        ...

    async def create_table(self, table: Table) -> None:
        """Create a read model's table and indexes if they are not there."""
        ...

    async def reset_table(self, table: Table, checkpoint: Checkpoint) -> None:
        """Drop the table, create it anew, set the checkpoint and free the lease, in one transaction.

        Whoever runs the subscription loses it, and begins again from the checkpoint.
        """
        ...

    async def rows(self, table: Table, keys: Sequence[Any]) -> list[Row]:
        """The rows with these keys that exist, in any order."""
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
        """Rows that fulfil all conditions, sorted by `order` (which ends in the key, so that it is total).

        With `beyond`, the order's columns of the last row seen, only rows after it (keyset paging).
        """
        ...

    async def load_snapshots(self, streams: Sequence[str]) -> list[Snapshot]:
        """The snapshots of these streams that there are, in any order."""
        ...

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of its stream's last one, whatever that was: an older one is as true as a newer."""
        ...
