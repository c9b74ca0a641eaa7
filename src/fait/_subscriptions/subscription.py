"""What a processor runs: `Subscription`, which turns events into an `Outcome`, and its definition as data.

A subscription only handles events. It records nothing, retries nothing and owns no lease: that is the processor's work.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from fait._events.append import PAGE_SIZE
from fait._events.envelope import RecordedEvent
from fait._store.ports.registrations import Kind
from fait._store.ports.tables import RowChange, Table
from fait._store.ports.unit_of_work import HandlerAppend, HandlerStatement
from fait._subscriptions.failure import FailurePolicy

__all__ = ["Outcome", "ProcessingContext", "Start", "Subscription", "SubscriptionDefinition"]

Start = Literal["beginning", "now"]


class SubscriptionDefinition(Struct, frozen=True):
    """A subscription, as an app declares it.

    Attributes:
        name: its name, unique in the store.
        kind: its kind.
        handled_types: stored names of the event types that it handles, sorted; empty: all but `ignored_types`.
        ignored_types: stored names of the event types that it skips, if `handled_types` is empty.
        definition_hash: hash of all that its stored rows depend on; "" if it stores none.
        start: where it starts when it is registered: at the "beginning" of the log, or at its end: "now".
        policy: what follows a failure.
        batch: maximum number of events that it handles in one call, recorded in one transaction.
        may_expire: whether events that it handles may expire.
        table: the table of a read model.
    """

    name: str
    kind: Kind
    handled_types: tuple[str, ...] = ()
    ignored_types: frozenset[str] = frozenset()
    definition_hash: str = ""
    start: Start = "beginning"
    policy: FailurePolicy = FailurePolicy()
    batch: int = PAGE_SIZE
    may_expire: bool = False
    table: Table | None = None


class Outcome(Struct, frozen=True):
    """The result of handling events, for the processor to record.

    Attributes:
        finished: number of the events that are handled, from the first one.
        rows: changes of read models.
        statements: SQL statements of handlers.
        append: events of handlers.
        error: why the next event is not handled; None if it was not tried.
    """

    finished: int
    rows: Sequence[RowChange] = ()
    statements: Sequence[HandlerStatement] = ()
    append: HandlerAppend | None = None
    error: Exception | None = None


class ProcessingContext(Protocol):
    """What a subscription may know of the processor that calls it."""

    @property
    def attempt(self) -> int:
        """Number of the attempt at the first event: 1, and one more after each failure in this process."""
        ...

    @property
    def conflicts(self) -> int:
        """Number of consecutive records that were in conflict with appends of others."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the subscription must not start to handle another event."""
        ...


class Subscription(Protocol):
    """A projection or a reactor, as a processor sees it."""

    @property
    def definition(self) -> SubscriptionDefinition:
        """Its definition."""
        ...

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        """Handle events of handled types, in the order of their positions.

        Args:
            events: at least one event, at most `definition.batch`.
            context: the processor.

        Returns:
            The outcome. At least one event is finished, or there is an error.

        Raises:
            Exception: no event is finished. Several events are then handled one by one.
        """
        ...
