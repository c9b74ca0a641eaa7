"""The port `Recorder`: writes everything that a range's work changes in one transaction.

`record` compares the fencing token and the revision in the statement that moves the position. If one of them differs,
another worker owns the range or the definition has changed, and nothing is written. The position is not compared:
within one tenure a worker records one unit of work at a time. After an unknown outcome it acquires the range again, so
that a late statement has an old token.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from fait._store.ports.registrations import RangeKey
from fait._store.ports.tables import RowChange

__all__ = ["HandlerStatement", "RangeMove", "Recorder", "UnitOfWork"]


class HandlerStatement(Struct, frozen=True):
    """A SQL statement of a handler.

    Attributes:
        sql: the statement, in the database's dialect.
        values: values of its parameters.
    """

    sql: str
    values: Sequence[Any] = ()


class RangeMove(Struct, frozen=True):
    """The move of a range to a position, under a lease.

    Attributes:
        key: identifies the range.
        fencing_token: token of the lease under which the work was done.
        revision: revision of the registration under which the work was done.
        position: position of the range afterwards.
    """

    key: RangeKey
    fencing_token: int
    revision: int
    position: int


class UnitOfWork(Struct, frozen=True):
    """The changes of a subscription for the events of a range up to a position.

    Attributes:
        move: the move of the range past the events.
        rows: changes of read models.
        statements: SQL statements of handlers, run in order after the rows are written.
    """

    move: RangeMove
    rows: Sequence[RowChange] = ()
    statements: Sequence[HandlerStatement] = ()


class Recorder(Protocol):
    """Records units of work. `fait.testing.contract` tests each guarantee below."""

    async def record(self, work: UnitOfWork) -> bool:
        """Write rows, run statements and move the position of the range, in one transaction.

        Returns:
            True if the work is recorded. False if the fencing token or the revision differs from that of the unit of
            work, or if there is no such range. Nothing was written then, and no statement was run.

        Raises:
            UsageError: a row violates a constraint that was added to its table; a statement fails, would end the
                transaction or would write to a table of the store; or the backend runs no SQL. Nothing was written. A
                backend may raise the database's own error for a statement that fails.
            StoreUnavailable: `outcome` says whether the work may have been recorded. Acquire the range again, then
                continue from its position.

        Guarantees:
            A failed unit of work has no effect on other units of work and appends, even if the backend groups their
            commits.
        """
        ...
