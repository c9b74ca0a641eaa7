"""The port `Recorder`: writes everything that a range's work changes in one transaction.

`record` compares the fencing token and the revision in the statement that moves the position. If one of them differs,
another worker owns the range or the definition has changed, and nothing is written. The position is not compared:
within one tenure a worker records one unit of work at a time. After an unknown outcome it acquires the range again, so
that a late statement has an old token.

Events that handlers append are stored in the same transaction, so that they exist exactly if the events that caused
them are processed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from fait._events.append import AppendCondition, Conflict
from fait._events.envelope import EncodedEvent
from fait._store.ports.failures import FailureChange
from fait._store.ports.inbox import InboxChanges
from fait._store.ports.registrations import RangeKey
from fait._store.ports.tables import RowChange

__all__ = ["MAX_PENDING", "HandlerAppend", "HandlerStatement", "RangeMove", "RecordResult", "Recorder", "UnitOfWork"]

MAX_PENDING: Final = 1_000
"""Maximum number of unfinished events that a range may have below its frontier."""

RecordResult = Literal["recorded", "refused"] | Conflict
"""The result of `Recorder.record`: the work is recorded, refused because of its lease, or in conflict with events that
others have appended."""


class HandlerStatement(Struct, frozen=True):
    """A SQL statement of a handler.

    Attributes:
        sql: the statement, in the database's dialect.
        values: values of its parameters.
    """

    sql: str
    values: Sequence[Any] = ()


class HandlerAppend(Struct, frozen=True):
    """All events that the handlers of a unit of work append: one append, stored completely or not at all.

    Attributes:
        events: at least one event, each with its stream, in the order of their positions. Streams may alternate.
        expected: for each stream, the version that it must have before the first of the events; see `StreamWrite`.
        conditions: append conditions. They hold for the stored events, not for those of this append: its handlers have
            read these.
    """

    events: Sequence[tuple[str, EncodedEvent]]
    expected: Mapping[str, int]
    conditions: Sequence[AppendCondition] = ()


class RangeMove(Struct, frozen=True):
    """The move of a range to a position, under a lease. Nothing is wrong with the range afterwards.

    Attributes:
        key: identifies the range.
        fencing_token: token of the lease under which the work was done.
        revision: revision of the registration under which the work was done.
        frontier: afterwards, all events of the range up to this position are finished, except for `pending` and for
            those of keys with a failure.
        pending: positions at or below the frontier whose events are unfinished, in order; at most `MAX_PENDING`.
    """

    key: RangeKey
    fencing_token: int
    revision: int
    frontier: int
    pending: tuple[int, ...] = ()

    @property
    def position(self) -> int:
        """Position of the range afterwards: all events up to it are finished, except for those of failed keys."""
        return self.pending[0] - 1 if self.pending else self.frontier


class UnitOfWork(Struct, frozen=True):
    """The changes of a subscription for the events of a range up to a position.

    Attributes:
        move: the move of the range past the events.
        rows: changes of read models.
        statements: SQL statements of handlers, run in order after the rows are written.
        append: events of handlers, stored after the statements have run; None if there are none.
        failures: changes of the failures of keys.
        inbox: what a consumer of a broker remembers of the work; None for other subscriptions.
    """

    move: RangeMove
    rows: Sequence[RowChange] = ()
    statements: Sequence[HandlerStatement] = ()
    append: HandlerAppend | None = None
    failures: Sequence[FailureChange] = ()
    inbox: InboxChanges | None = None


class Recorder(Protocol):
    """Records units of work. `fait.testing.contract` tests each guarantee below."""

    async def record(self, work: UnitOfWork) -> RecordResult:
        """Write rows, failures and the inbox, run statements, append events and move the range, in one transaction.

        Returns:
            "recorded"; or why nothing was written:

            - "refused": the fencing token or the revision differs from that of the unit of work, there is no such
              range, a failure has not the state that its change expects, a mark is not the expected one, or an id of a
              message is stored. No statement was run. This is returned also if there is a conflict.
            - `IdConflict`: an event id is stored already, or occurs twice.
            - `ConditionFailed`: a stored event matches a condition.
            - `VersionConflict`: a stream does not have its expected version. Of several conflicts, any is returned.

        Raises:
            UsageError: a row violates a constraint that was added to its table; a statement fails, would end the
                transaction or would write to a table of the store; or the backend runs no SQL. Nothing was written. A
                backend may raise the database's own error for a statement that fails.
            StoreUnavailable: `outcome` says whether the work may have been recorded. Acquire the range again, then
                continue from its position.

        Guarantees:
            A failed unit of work has no effect on other units of work and appends, even if the backend groups their
            commits. The appended events have the guarantees of `Log.append`.
        """
        ...
