"""The port `Leases`: which worker owns a range.

A range has one row, with its position, its worker and its fencing token. Heartbeats belong to workers: a worker that
owns many ranges sends one. Processes do not compare clocks: a worker whose heartbeat has not changed for the duration
of a lease, by the clock of the observer, is expired, and its ranges are free.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

from fait._store.ports.failures import KeyFailure
from fait._store.ports.registrations import SLOTS, RangeKey

__all__ = ["Lease", "Leases", "Outage", "Range", "RegisteredWorker", "Worker", "backlog_of", "last_ranges"]


class Range(Struct, frozen=True):
    """A range of a subscription, as any process can read it.

    Attributes:
        key: identifies the range.
        position: all events of the range up to this position are finished, except for those of failed keys.
        worker: id of the worker that owns it; "" if it is free.
        fencing_token: number that increases whenever the worker changes. Work under an older token is rejected.
        heartbeat: the worker's heartbeat; None if no such worker is registered, so that the range may be acquired.
        high: hash after the highest one that belongs to the range.
        frontier: position up to which events were taken up; see `RangeMove`.
        health: what is wrong with the range: an `Outage` as JSON text; "" if nothing is.
        failed_position: lowest `next_position` of the failed keys of the range; None if no key has failed.
        failed_key: the key that has it.
    """

    key: RangeKey
    position: int
    worker: str
    fencing_token: int
    heartbeat: int | None
    high: int = SLOTS
    frontier: int = 0
    health: str = ""
    failed_position: int | None = None
    failed_key: str = ""

    @property
    def finished(self) -> int:
        """Position up to which all events of the range are finished, also those of failed keys."""
        return self.position if self.failed_position is None else min(self.position, self.failed_position - 1)


class Outage(Struct, frozen=True):
    """Why the worker of a range waits: the content of `Range.health`.

    Attributes:
        since: when the worker began to wait.
        error_type: type of the error.
        error: its text, without values of events.
        location: file, line and function where it was raised.
    """

    since: datetime
    error_type: str
    error: str
    location: str


class Lease(Struct, frozen=True):
    """The right of a worker to process a range, from `acquire` until the fencing token changes.

    Attributes:
        key: identifies the range.
        worker: id of the worker.
        fencing_token: token of the range. It does not change while the worker owns the range.
        position: position of the range when it was acquired.
        revision: revision of the registration when the range was acquired.
        handled_types: event types of the registration at this revision; empty: all types.
        high: hash after the highest one that belongs to the range.
        frontier: position up to which events were taken up; see `RangeMove`.
        pending: positions of unfinished events at or below the frontier, in order.
        failures: the failures of the keys of the range.
    """

    key: RangeKey
    worker: str
    fencing_token: int
    position: int
    revision: int
    handled_types: tuple[str, ...]
    high: int = SLOTS
    frontier: int = 0
    pending: tuple[int, ...] = ()
    failures: tuple[KeyFailure, ...] = ()


class Worker(Struct, frozen=True):
    """A process that runs subscriptions.

    Attributes:
        id: its id, chosen at random.
        app: name of the app.
        host: name of its host.
        pid: id of its process.
        version: version of fait.
        runs: definition hash of each subscription that it runs, by subscription; None: it waits after an error, and
            takes no range of the subscription until then.
        calls: for how many seconds the oldest call of each subscription has run, by subscription, by the clock of this
            process; without those that have just begun.
        backlogs: number of messages that each consumer has not handled, of those of its ranges that this worker owns,
            by subscription; without those that are not known.
    """

    id: str
    app: str = ""
    host: str = ""
    pid: int = 0
    version: str = ""
    runs: Mapping[str, str | None] = MappingProxyType({})
    calls: Mapping[str, float] = MappingProxyType({})
    backlogs: Mapping[str, int] = MappingProxyType({})


class RegisteredWorker(Struct, frozen=True):
    """A worker, as any process can read it.

    Attributes:
        worker: what it has registered.
        heartbeat: number that it increases as long as it runs.
        started_at: when it was registered.
    """

    worker: Worker
    heartbeat: int
    started_at: datetime


def last_ranges(ranges: Iterable[Range]) -> dict[str, Range]:
    """Return the range of each subscription that has finished the fewest events, by subscription."""
    last: dict[str, Range] = {}
    for each in ranges:
        name = each.key.subscription
        last[name] = min(last.get(name, each), each, key=attrgetter("finished"))
    return last


def backlog_of(subscription: str, ranges: Iterable[Range], workers: Iterable[RegisteredWorker]) -> int | None:
    """Return the number of messages that a consumer has not handled, as its workers tell.

    Args:
        subscription: its name.
        ranges: its ranges.
        workers: all workers.

    Returns:
        None: a range has no worker, or a worker does not tell.
    """
    by_worker = {each.worker.id: each.worker.backlogs.get(subscription) for each in workers}
    backlogs = [by_worker.get(owner) for owner in {each.worker for each in ranges}]
    # fault: backlog-of-some-ranges-shown
    return None if None in backlogs or not backlogs else sum(filter(None, backlogs))


class Leases(Protocol):
    """Ranges and workers. `fait.testing.contract` tests each guarantee below.

    Every method may raise `StoreUnavailable`.
    """

    async def ranges(self, subscription: str | None = None) -> list[Range]:
        """Return the ranges of all registrations except those of kind `system`, in order of their keys.

        Args:
            subscription: name of the only subscription whose ranges are returned; None: of all.
        """
        ...

    async def range(self, key: RangeKey) -> Range | None:
        """Return a range of a registration of any kind; None if there is none."""
        ...

    async def acquire(self, seen: Range, worker: str, definition_hash: str, epoch_id: str) -> Lease | None:
        """Acquire a range, if it is free and has not changed since the caller read it.

        A range is free if it has no worker, if its worker is not registered, or if the caller owns it.

        Args:
            seen: the range as the caller read it.
            worker: id of the worker that becomes the owner.
            definition_hash: hash of the definition that the worker runs.
            epoch_id: id of the epoch in which the worker opened the log.

        Returns:
            The lease, with a greater fencing token. None if the range is not free, its fencing token has changed, the
            worker is not registered, or the registration has another definition hash or epoch.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Free a range and increase its fencing token. If the lease was lost, nothing happens."""
        ...

    async def report(self, lease: Lease, health: str) -> None:
        """Store what is wrong with a range, until it is moved. If the lease was lost, nothing happens.

        Args:
            lease: the lease.
            health: an `Outage` as JSON text.
        """
        ...

    async def split(self, lease: Lease, middle: int) -> bool:
        """Split a range in two that have its position, frontier and pending positions. No record may be under way.

        Both halves have the same worker, and fencing tokens that were never used. Both have all pending positions: each
        half ignores those of the other.

        Args:
            lease: the lease of the range.
            middle: lowest hash of the upper half, above `low` and below `high`.

        Returns:
            False if the lease was lost, or `middle` is not inside of the range: nothing was changed.
        """
        ...

    async def merge(self, lower: Lease, upper: Lease) -> bool:
        """Join two neighbors of one worker with equal frontiers and no pending positions. No record may be under way.

        The whole has the same worker, and a fencing token above those of both.

        Args:
            lower: the lease of the lower range.
            upper: the lease of the upper range.

        Returns:
            False if a lease was lost, the frontiers differ, a position is pending, or the upper range does not begin
            where the lower one ends: nothing was changed.
        """
        ...

    async def heartbeat(self, worker: Worker) -> list[RangeKey]:
        """Register a worker, or increase its heartbeat and replace what it has registered.

        Returns:
            The keys of its ranges. A range that is missing was lost to another worker.
        """
        ...

    async def workers(self) -> list[RegisteredWorker]:
        """Return all registered workers, in order of their ids."""
        ...

    async def expire(self, worker: str, heartbeat: int) -> None:
        """Remove a worker if its heartbeat is still the given one. Its ranges can then be acquired."""
        ...

    async def deregister(self, worker: str) -> None:
        """Free all ranges of a worker, increase their fencing tokens, and remove the worker."""
        ...
