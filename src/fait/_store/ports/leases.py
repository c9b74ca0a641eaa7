"""The port `Leases`: which worker owns a range.

A range has one row, with its position, its worker and its fencing token. Heartbeats belong to workers: a worker that
owns many ranges sends one. Processes do not compare clocks: a worker whose heartbeat has not changed for the duration
of a lease, by the clock of the observer, is expired, and its ranges are free.
"""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from fait._store.ports.registrations import RangeKey

__all__ = ["Lease", "Leases", "Range", "lowest_positions"]


class Range(Struct, frozen=True):
    """A range of a subscription, as any process can read it.

    Attributes:
        key: identifies the range.
        position: all events of the range up to this position are processed.
        worker: id of the worker that owns it; "" if it is free.
        fencing_token: number that increases whenever the worker changes. Work under an older token is rejected.
        heartbeat: the worker's heartbeat; None if no such worker is registered, so that the range may be acquired.
    """

    key: RangeKey
    position: int
    worker: str
    fencing_token: int
    heartbeat: int | None


class Lease(Struct, frozen=True):
    """The right of a worker to process a range, from `acquire` until the fencing token changes.

    Attributes:
        key: identifies the range.
        worker: id of the worker.
        fencing_token: token of the range. It does not change while the worker owns the range.
        position: position of the range when it was acquired.
        revision: revision of the registration when the range was acquired.
        handled_types: event types of the registration at this revision; empty: all types.
    """

    key: RangeKey
    worker: str
    fencing_token: int
    position: int
    revision: int
    handled_types: tuple[str, ...]


def lowest_positions(ranges: Iterable[Range]) -> dict[str, int]:
    """Return the position up to which all events of each subscription are processed, by subscription."""
    lowest: dict[str, int] = {}
    for each in ranges:
        name = each.key.subscription
        lowest[name] = min(each.position, lowest.get(name, each.position))
    return lowest


class Leases(Protocol):
    """Ranges and workers. `fait.testing.contract` tests each guarantee below.

    Every method may raise `StoreUnavailable`.
    """

    async def ranges(self) -> list[Range]:
        """Return the ranges of all registrations except those of kind `system`, in order of their keys."""
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

    async def heartbeat(self, worker: str) -> list[RangeKey]:
        """Register a worker, or increase its heartbeat.

        Returns:
            The keys of its ranges. A range that is missing was lost to another worker.
        """
        ...

    async def idle_workers(self) -> dict[str, int]:
        """Return the heartbeats of the workers that own no range, by worker."""
        ...

    async def expire(self, worker: str, heartbeat: int) -> None:
        """Remove a worker if its heartbeat is still the given one. Its ranges can then be acquired."""
        ...

    async def deregister(self, worker: str) -> None:
        """Free all ranges of a worker, increase their fencing tokens, and remove the worker."""
        ...
