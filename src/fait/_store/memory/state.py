"""The data that the ports of a store in memory share, except for the log."""

from datetime import date, datetime
from operator import attrgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fait._clock import Clock
from fait._errors import UsageError
from fait._store.ports.failures import Action, KeyFailure
from fait._store.ports.inbox import FloorKey, InboxMessage, MarkKey, MarkMove, MessageId
from fait._store.ports.leases import Range, RegisteredWorker
from fait._store.ports.registrations import RangeKey, Registration
from fait._store.ports.tables import Row

__all__ = ["ConsumerState", "MemoryState"]


class ConsumerState(Struct):
    """What a consumer remembers.

    Attributes:
        marks: moves of marks, and when each was made.
        floors: positions of floors.
        folded: the highest positions of folded marks.
        ids: ids of messages, and the day on which each was stored.
        offsets: offsets by topic and number of the lane.
        messages: the stored messages by number.
    """

    marks: dict[MarkKey, tuple[MarkMove, datetime]] = {}
    floors: dict[FloorKey, int] = {}
    folded: dict[FloorKey, int] = {}
    ids: dict[MessageId, date] = {}
    offsets: dict[tuple[str, int], str] = {}
    messages: dict[int, InboxMessage] = {}


class MemoryState(Struct):
    """Registrations, ranges, workers, failures and tables.

    Attributes:
        clock: the time of actions, and of the registration of workers.
        registrations: registrations that are not retired, by subscription.
        retired: the last registration of each retired subscription.
        definitions: the parts of the definition of each registration, as JSON text.
        ranges: ranges by key, also those of retired registrations, so that their fencing tokens are not reused. The
            token of a range is greater than any that a range of one of its hashes has had before.
        pending: unfinished positions of ranges that have any.
        workers: the registered workers, by id.
        failures: failures by subscription, generation and key.
        consumers: what consumers remember, by subscription.
        actions: the actions of operators, the first one first.
        tables: the rows of each table, by key.
    """

    clock: Clock
    registrations: dict[str, Registration] = {}
    retired: dict[str, Registration] = {}
    definitions: dict[str, str] = {}
    ranges: dict[RangeKey, Range] = {}
    pending: dict[RangeKey, tuple[int, ...]] = {}
    workers: dict[str, RegisteredWorker] = {}
    failures: dict[tuple[str, int, str], KeyFailure] = {}
    consumers: dict[str, ConsumerState] = {}
    actions: list[Action] = []
    tables: dict[str, dict[Any, Row]] = {}

    def rows_of(self, table: str) -> dict[Any, Row]:
        """Return the rows of a table by key; raise `UsageError` if there is no such table."""
        if (rows := self.tables.get(table)) is None:
            raise UsageError(
                f"there is no table {table!r}. Nothing was written. Include its read model before the app is opened."
            )
        return rows

    def ranges_of(self, registration: Registration) -> list[Range]:
        """Return the ranges of a registration, in order."""
        name, generation = registration.subscription, registration.generation
        ranges = [each for key, each in self.ranges.items() if (key.subscription, key.generation) == (name, generation)]
        return sorted(ranges, key=attrgetter("key.low"))

    def put(self, current: Range, pending: tuple[int, ...] = ()) -> None:
        """Store a range."""
        self.ranges[current.key] = current
        self.pending[current.key] = pending

    def remove(self, key: RangeKey) -> None:
        """Remove a range."""
        del self.ranges[key], self.pending[key]

    def change(self, current: Range, *, worker: str = "") -> Range:
        """Store a range with another worker, or free it, under the next fencing token; return it."""
        self.ranges[current.key] = replace(current, worker=worker, fencing_token=current.fencing_token + 1)
        return self.ranges[current.key]

    def free_ranges(self, registration: Registration) -> None:
        """Free all ranges of a registration."""
        for each in self.ranges_of(registration):
            self.change(each)

    def failures_of(self, current: Range) -> tuple[KeyFailure, ...]:
        """Return the failures of the keys of a range, in order."""
        key = current.key
        return tuple(
            each
            for id, each in sorted(self.failures.items())
            if id[:2] == (key.subscription, key.generation) and key.low <= each.slot < current.high
        )

    def consumer(self, name: str) -> ConsumerState:
        """Return what a consumer remembers, to read it or to change it."""
        return self.consumers.setdefault(name, ConsumerState())

    def record_action(self, action: str, subscription: str, details: str, by: str, reason: str) -> None:
        """Record an action of an operator."""
        self.actions.append(Action(self.clock.now(), action, subscription, details, by, reason))
