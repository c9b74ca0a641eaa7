"""What every process can know of the subscriptions of a store: read from its rows, without a worker.

`fait status` shows it, and `fait doctor` concludes from it what is wrong.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final, Literal

import msgspec
from msgspec import Struct

from fait._events.query import Query
from fait._store.ports.failures import FailureState, KeyFailure
from fait._store.ports.inbox import MAX_STORED_MESSAGES
from fait._store.ports.leases import Outage, Range, RegisteredWorker, backlog_of
from fait._store.ports.log import Log
from fait._store.ports.registrations import Kind, RangeKey, Registration
from fait._store.ports.store import Store

__all__ = ["ObservedState", "SubscriptionOverview", "error_with_place", "read_overviews", "worker_name"]

ObservedState = Literal["paused", "no worker", "idle", "waiting", "full", "catching up", "live"]
"""State of a subscription, as other processes see it.

"idle": up to date, without a worker; "waiting": its worker waits before it tries again after an error; "full": a
consumer that receives nothing, because so many messages of failed keys are stored.
"""


_CALLS: Final[Mapping[Kind, str]] = {
    "reactor": "a call of its handler",
    "consumer": "a call of its handler",
    "relay": "a call to its broker",
    "read_model": "a call of its evolve",
}


class SubscriptionOverview(Struct, frozen=True):
    """A subscription, as any process sees it.

    Attributes:
        registration: its registration.
        ranges: its ranges.
        owners: the workers that own its ranges. One that has crashed is among them until another one replaces it.
        runnable_by: the workers that declare it, with any definition.
        failures: the failures of its keys.
        head: position of the last event that readers can read.
        oldest: when the oldest event that it handles, and has not, was recorded; None: there is none.
        stored: number of stored messages of failed keys, of a consumer.
    """

    registration: Registration
    ranges: tuple[Range, ...]
    owners: tuple[RegisteredWorker, ...]
    runnable_by: tuple[RegisteredWorker, ...]
    failures: tuple[KeyFailure, ...]
    head: int
    oldest: datetime | None
    stored: int = 0

    @property
    def name(self) -> str:
        """Name of the subscription."""
        return self.registration.subscription

    @property
    def position(self) -> int:
        """Lowest position of its ranges."""
        return min(each.position for each in self.ranges)

    @property
    def lag(self) -> int | None:
        """Positions to the head, if an event is not handled that is not of a failed key; otherwise 0.

        Of a consumer, the number of messages that it has not handled, as its workers tell; None while they do not.
        """
        # fault: consumer-without-lag
        if self.registration.kind == "consumer":
            return backlog_of(self.name, self.ranges, self.owners)
        return 0 if self.oldest is None else max(0, self.head - self.position)

    @property
    def outage(self) -> Outage | None:
        """Why its worker waits, or the last one has waited; None if there is no reason."""
        health = next((each.health for each in self.ranges if each.health), "")
        return msgspec.json.decode(health, type=Outage) if health else None

    @property
    def waiting_workers(self) -> tuple[RegisteredWorker, ...]:
        """The workers that take no range until they try again after an error."""
        return tuple(each for each in self.runnable_by if each.worker.runs[self.name] is None)

    @property
    def refused_workers(self) -> tuple[RegisteredWorker, ...]:
        """The workers that cannot run it, because their definition is not the registered one."""
        accepted = (None, self.registration.definition_hash)
        return tuple(each for each in self.runnable_by if each.worker.runs[self.name] not in accepted)

    @property
    def oldest_call(self) -> tuple[float, RegisteredWorker] | None:
        """For how many seconds its oldest call had run at the last heartbeat of its worker; None: none runs long."""
        calls = [(each.worker.calls[self.name], each) for each in self.runnable_by if self.name in each.worker.calls]
        return max(calls, key=itemgetter(0), default=None)

    def describe_call(self, min_s: float) -> str:
        """Return how long its oldest call runs, and where; "" if that is less than `min_s` seconds."""
        seconds, worker = self.oldest_call or (0.0, None)
        if worker is None or seconds < min_s:
            return ""
        return f"{_CALLS[self.registration.kind]} runs for {seconds:,.0f} s in {worker_name(worker)}"

    @property
    def state(self) -> ObservedState:
        """Its state, apart from the keys that failed."""
        if self.registration.paused:
            return "paused"
        has_worker = self.owners or len(self.runnable_by) > len(self.refused_workers)
        # fault: gone-worker-waits
        if (self.outage is not None and has_worker) or (self.waiting_workers and not self.owners):
            return "waiting"
        if not self.owners:
            has_work = self.lag or self.registration.kind == "consumer"
            return "no worker" if has_work or any(each.state != "parked" for each in self.failures) else "idle"
        # fault: full-consumer-shown-as-live
        if self.stored >= MAX_STORED_MESSAGES:
            return "full"
        return "catching up" if self.lag else "live"

    @property
    def counts(self) -> Counter[FailureState]:
        """Number of failed keys in each `shown_state`."""
        return Counter(each.shown_state for each in self.failures)

    @property
    def paused_at(self) -> KeyFailure | None:
        """The first failure whose event is retried after the pause; None if there is none, or no pause."""
        retried = [each for each in self.failures if each.state == "retrying" and self.registration.paused]
        return min(retried, key=lambda each: each.next_position, default=None)

    @property
    def last_error(self) -> KeyFailure | Outage | None:
        """Its outage, or else the last failure of a key."""
        return self.outage or max(self.failures, key=lambda each: each.last_failed_at, default=None)


async def read_overviews(store: Store) -> list[SubscriptionOverview]:
    """Return the subscriptions of a store, in order of their names."""
    ranges, workers = await store.leases.ranges(), await store.leases.workers()  # workers register before they own any
    failures, registrations = await store.failures.failures(), await store.registrations.registrations()
    head = await store.log.head()  # read after the positions, which are at or below it
    overviews = list[SubscriptionOverview]()
    for each in registrations:
        own = tuple(part for part in ranges if _belongs(part.key, each))
        if own:  # else it was registered during the reads
            oldest = await _oldest(store.log, each, min(part.position for part in own))
            stored = await store.inbox.count_messages(each.subscription) if each.kind == "consumer" else 0
            overviews.append(_overview(each, own, workers, failures, head, oldest, stored))
    return overviews


def _belongs(part: RangeKey | KeyFailure, registration: Registration) -> bool:
    return (part.subscription, part.generation) == (registration.subscription, registration.generation)


async def _oldest(log: Log, registration: Registration, position: int) -> datetime | None:
    if registration.kind == "consumer":
        return None
    # fault: unhandled-types-count-as-lag
    page = await log.read(position, query=Query(registration.handled_types), limit=1)
    return page.events[0].recorded_at if page.events else None


def _overview(
    registration: Registration,
    ranges: tuple[Range, ...],
    workers: Sequence[RegisteredWorker],
    failures: Sequence[KeyFailure],
    head: int,
    oldest: datetime | None,
    stored: int,
) -> SubscriptionOverview:
    owned_by, name = {each.worker for each in ranges}, registration.subscription
    return SubscriptionOverview(
        registration, ranges,
        owners=tuple(each for each in workers if each.worker.id in owned_by),
        runnable_by=tuple(each for each in workers if name in each.worker.runs),
        failures=tuple(each for each in failures if _belongs(each, registration)),
        head=head, oldest=oldest, stored=stored,
    )  # fmt: skip


def error_with_place(error_type: str, location: str) -> str:
    """Return the type of an error, and where it was raised if that is known."""
    # fault: place-of-an-error-not-known
    return f"{error_type} at {location}" if location else error_type


def worker_name(registered: RegisteredWorker) -> str:
    """Return host and process id of a worker; of one that has not registered them, the beginning of its id."""
    worker = registered.worker
    return f"{worker.host}:{worker.pid}" if worker.host else worker.id[:8]
