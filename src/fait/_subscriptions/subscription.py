"""The work of a processor: a `Subscription` turns events into an `Outcome`. Its definition is data.

A subscription only handles events. It records nothing, retries nothing and owns no lease: that is the processor's work.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from fait._events.append import PAGE_SIZE
from fait._events.envelope import RecordedEvent
from fait._store.ports.inbox import LaneOffset
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import Kind
from fait._store.ports.tables import RowChange, Table
from fait._store.ports.unit_of_work import HandlerAppend, HandlerStatement
from fait._subscriptions.failure import FailurePolicy

__all__ = [
    "FailedKey",
    "OrderKey",
    "Outcome",
    "ProcessingContext",
    "Start",
    "Subscription",
    "SubscriptionDefinition",
    "Tenure",
    "parts_of_options",
]

if TYPE_CHECKING:
    from fait._decisions.definition_parts import DefinitionParts

Start = Literal["beginning", "now"]
OrderKey = Literal["stream", "own", "message", "any", "all"]


def parts_of_options(options: Mapping[str, str] = {}) -> "DefinitionParts":
    """Return the parts of a definition that has only options, such as the order key."""
    from fait._decisions.definition_parts import DefinitionParts  # slow to import

    return DefinitionParts(options)


class SubscriptionDefinition(Struct, frozen=True):
    """A subscription, as an app declares it.

    Attributes:
        name: its name, unique in the store.
        kind: its kind.
        handled_types: stored names of the event types that it handles, sorted; empty: all but `ignored_types`.
        ignored_types: stored names of the event types that it skips, if `handled_types` is empty.
        definition_hash: hash of all that its stored rows depend on; "" if it stores none.
        parts: computes what the hash covers. This takes longer than to compare hashes.
        depends_on_environment: whether the hash is "" in a process without the environment of a worker. The first
            worker replaces a stored "" by its own.
        start: where it starts when it is registered: at the "beginning" of the log, or at its end: "now".
        policy: what follows a failure.
        order_key: what decides which events are handled in order: those of one "stream"; those with one key of the
            subscription's "own", such as the row of a read model; those with one key of a "message" from a broker, in
            one range; none, because a broker delivers them in "any" order, to all ranges; or "all".
        concurrency: maximum number of calls that run at the same time in a process, each with events of another key.
        batch: maximum number of events that it handles in one call, recorded in one transaction.
        may_expire: whether events that it handles may expire.
        table: the table of a read model.
    """

    name: str
    kind: Kind
    handled_types: tuple[str, ...] = ()
    ignored_types: frozenset[str] = frozenset()
    definition_hash: str = ""
    parts: "Callable[[], DefinitionParts]" = parts_of_options
    depends_on_environment: bool = False
    start: Start = "beginning"
    policy: FailurePolicy = FailurePolicy()
    order_key: OrderKey = "stream"
    concurrency: int = 1
    batch: int = PAGE_SIZE
    may_expire: bool = False
    table: Table | None = None

    def handles(self, type: str) -> bool:
        """Whether it handles the events of a type, by its stored name."""
        return type in self.handled_types or (not self.handled_types and type not in self.ignored_types)

    @property
    def has_one_range(self) -> bool:
        """Whether one process does all of the work."""
        return self.order_key in ("all", "message")

    @property
    def is_received(self) -> bool:
        """Whether events come from a broker: it delivers those that are not finished to the next owner of a range."""
        return self.order_key in ("message", "any")


class FailedKey(Struct, frozen=True):
    """An order key with the event of it that could not be handled.

    Attributes:
        key: the order key.
        event: the event.
        error: the error.
    """

    key: str
    event: RecordedEvent
    error: Exception


class Outcome(Struct, frozen=True):
    """The result of handling events, for the processor to record.

    Attributes:
        finished: number of the events that are handled, from the first one.
        rows: changes of read models.
        statements: SQL statements of handlers.
        append: events of handlers.
        error: why the next event is not handled; None if it was not tried.
        error_of: what the error concerns: the "event" and its key; an event of "any_key", because that is unknown; or
            "all" events, because it is that of a service, whatever the failure policy says.
        failed_keys: keys that failed, of events that are handled otherwise.
        finished_later: positions of events that are handled although the next event is not: none of its key, and all
            of their own keys before them.
        confirmed: what the broker of a relay has confirmed.
        recorded_later: whether it may be recorded up to a second later, because nothing is repeated if the events are
            handled again.
    """

    finished: int
    rows: Sequence[RowChange] = ()
    statements: Sequence[HandlerStatement] = ()
    append: HandlerAppend | None = None
    error: Exception | None = None
    error_of: Literal["event", "any_key", "all"] = "event"
    failed_keys: Sequence[FailedKey] = ()
    finished_later: Collection[int] = ()
    confirmed: Sequence[LaneOffset] = ()
    recorded_later: bool = False

    def divide(self, events: Sequence[RecordedEvent]) -> tuple[Sequence[RecordedEvent], Sequence[RecordedEvent]]:
        """Return the events that are handled, and the others."""
        finished, rest = events[: self.finished], events[self.finished :]
        # fault: accepted-event-handled-again
        if self.finished_later:
            finished = [*finished, *(each for each in rest if each.position in self.finished_later)]
            rest = [each for each in rest if each.position not in self.finished_later]
        return finished, rest


class Tenure(Protocol):
    """The view that a subscription has of the work under one lease, of which its calls are a part."""

    @property
    def lease(self) -> Lease:
        """The lease, as it was acquired."""
        ...

    @property
    def frontier(self) -> int:
        """Position up to which events are recorded as finished, except for those of failed keys."""
        ...

    @property
    def floor(self) -> int:
        """Position up to which all events of the range are finished, also those of failed keys."""
        ...

    def on_end(self, close: Callable[[], Awaitable[None]], /) -> None:
        """Call a function when the work under the lease has ended, also if the lease was lost."""
        ...


class ProcessingContext(Protocol):
    """The view that a subscription has of the processor that calls it."""

    @property
    def attempt(self) -> int:
        """Number of the attempt at the first event: 1, and one more after each failure, in any process."""
        ...

    @property
    def conflicts(self) -> int:
        """Number of consecutive records that were in conflict with appends of others."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the subscription must not start to handle another event."""
        ...

    @property
    def failed_key(self) -> str | None:
        """The key whose events are retried or redriven; None for live events."""
        ...

    @property
    def tenure(self) -> Tenure:
        """The work under the lease."""
        ...

    def is_concerned(self, key: str, /) -> bool:
        """Whether events shall be handled for an order key: not if the key has a failure; of a retry, only its key."""
        ...


class Subscription(Protocol):
    """A projection or a reactor, as a processor sees it."""

    @property
    def definition(self) -> SubscriptionDefinition:
        """Its definition."""
        ...

    def key_of(self, event: RecordedEvent) -> str | None:
        """Return the order key of an event; None if only `handle` finds its keys, or why there is none."""
        ...

    def keys_of(self, event: RecordedEvent) -> Collection[str]:
        """Return all order keys of an event of a handled type; none if they cannot be found."""
        ...

    async def begin(self, tenure: Tenure) -> None:
        """Open what the work under a lease needs, before there is an event to handle.

        Args:
            tenure: the work.

        Raises:
            Exception: it is not available. The range waits, and begins again.
        """
        ...

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        """Handle events of handled types, in the order of their positions.

        Args:
            events: at least one event, at most `definition.batch`.
            context: the processor.

        Returns:
            The outcome. At least one event is finished, or there is an error.

        Raises:
            Exception: no event is finished. The next call gets half as many events, down to one.
        """
        ...
