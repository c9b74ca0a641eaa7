"""Lets a relay publish again what its broker has lost, although it had confirmed it.

A rewind owns the ranges of the relay, and fences former publishers at the broker. Of keys in buckets of which the
broker has lost messages,

    checkpoint   is set back to the lowest position that the broker stores for one of these buckets, but not to before
                 the position at which publishing to the topic began
    failures     beyond this position of their bucket are forgotten: their events are published with all others
    redriven     keys whose redriven messages were lost are redriven again
    confirmed    positions are those that the broker stores

Messages of other buckets in the same range are at the broker, and the publisher does not send them again.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fait._broker_errors import BrokerLostMessages, BrokerUnavailable, Fenced
from fait._clock import Clock
from fait._delivery.brokers.open import open_broker
from fait._delivery.brokers.port import Broker, Progress, Source
from fait._delivery.relay.confirmed import (
    ConfirmedRange,
    RedrivenKey,
    confirmed_ranges,
    lost_buckets,
    starts_of_buckets,
)
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.relay.published_position import published_positions
from fait._delivery.wire.outgoing import bucket_of
from fait._errors import UsageError
from fait._store.ports.failures import FailureChange, KeyFailure
from fait._store.ports.inbox import InboxChanges
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import Registration
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RangeMove, UnitOfWork
from fait._subscriptions.failure import describe_failure
from fait._subscriptions.takeover import take_over

__all__ = ["RelayRewind", "rewind_relay"]

TIMEOUT_S: Final = 5.0
"""Timeout for each call of the broker, in seconds."""


MAX_ATTEMPTS: Final = 3
"""Maximum number of attempts, if workers of the relay open publishers at the same time."""

RETRY_DELAY_S: Final = 0.2
"""Delay before the next attempt."""


class RelayRewind(Struct, frozen=True):
    """What a rewind changes of a range.

    Attributes:
        low: lowest slot of the range.
        checkpoint: its checkpoint before.
        position: its checkpoint afterwards.
        buckets: number of buckets of which the broker has lost messages.
        forgotten: keys whose failures are forgotten.
        redriven: keys that are redriven again.
        start: position after which publishing to the topics began. Nothing before it is published.
    """

    low: int
    checkpoint: int
    position: int
    buckets: int
    forgotten: tuple[str, ...]
    redriven: tuple[str, ...]
    start: int = 0


class _Loss(Struct, frozen=True):
    """A bucket of which the broker has lost messages.

    Attributes:
        stored: the lowest position that the broker stores for it, of all topics.
        start: lowest position after which publishing to a topic began.
        target: position after which events are published again.
    """

    stored: int
    start: int
    target: int

    @classmethod
    def of_topic(cls, stored: int, start: int) -> "_Loss":
        """Return the loss of a topic."""
        # fault: rewound-before-the-start
        return cls(stored, start, max(stored, start))

    def with_topic(self, other: "_Loss") -> "_Loss":
        """Return the loss of this and of another topic."""
        return _Loss(min(self.stored, other.stored), min(self.start, other.start), min(self.target, other.target))


async def rewind_relay(
    store: Store,
    relay: RelayDefinition,
    registration: Registration,
    clock: Clock,
    *,
    execute: bool,
    accept_loss: bool = False,
) -> list[RelayRewind]:
    """Find out what the broker has lost, and set the relay back to publish it again.

    To change it, its ranges are taken from its workers, and its publishers are fenced. To find out, neither is done.

    Args:
        store: the store.
        relay: the relay.
        registration: its registration.
        clock: current time.
        execute: whether to change anything.
        accept_loss: continue at the checkpoint, and publish nothing again.

    Returns:
        What is changed of each range of whose buckets the broker has lost messages.

    Raises:
        UsageError: the broker has no fence or stores no position, or the ranges could not be taken. Nothing was
            changed.
        BrokerUnavailable, TopologyMismatch, BrokerAhead: see these.
    """
    for _ in range(MAX_ATTEMPTS - 1):
        with suppress(Fenced, BrokerUnavailable):  # a worker opens a publisher at the same time
            return await _rewind_once(store, relay, registration, clock, execute, accept_loss)
        await asyncio.sleep(RETRY_DELAY_S)
    return await _rewind_once(store, relay, registration, clock, execute, accept_loss)


async def _rewind_once(
    store: Store, relay: RelayDefinition, registration: Registration, clock: Clock, execute: bool, accept_loss: bool
) -> list[RelayRewind]:
    broker = await open_broker(relay.to, timeout_s=TIMEOUT_S)
    try:
        _require_fence(broker, relay)
        # fault: dry-run-fences
        async with take_over(store, registration) if execute else _observe(store, registration) as leases:
            rewind = _Rewind(store, relay, broker, [*confirmed_ranges(relay, await store.inbox.offsets(relay.name))])
            lost = [(lease, found) for lease in leases if (found := await rewind.find_lost(lease, fence=execute))]
            return [await rewind.change(lease, found, clock, execute, accept_loss) for lease, found in lost]
    finally:
        await broker.close()


@asynccontextmanager
async def _observe(store: Store, registration: Registration) -> AsyncGenerator[list[Lease]]:
    """Yield what the leases of all ranges would be, and leave the ranges to their workers."""
    failures = await store.failures.failures(registration.subscription)
    leases = list[Lease]()
    for each in await store.leases.ranges(registration.subscription):
        own = tuple(failure for failure in failures if each.key.low <= failure.slot < each.high)
        leases.append(
            Lease(
                each.key, "", each.fencing_token, each.position, registration.revision, (), each.high, each.frontier,
                failures=own,
            )
        )  # fmt: skip
    yield leases


def _require_fence(broker: Broker, relay: RelayDefinition) -> None:
    features = broker.features
    # fault: rewound-without-a-fence
    if features.fence == "none" or not features.stores_position:
        raise UsageError(
            f"the broker of relay {relay.name!r} stores no position or has no fence, so it is not known what it has "
            "lost, and a former worker could publish behind it. Nothing was changed. To publish events again, declare "
            "a relay with another name and start='beginning'; its consumers handle them again."
        )


class _Rewind:
    def __init__(
        self, store: Store, relay: RelayDefinition, broker: Broker, confirmed: Sequence[ConfirmedRange]
    ) -> None:
        self._store = store
        self._relay = relay
        self._broker = broker
        self._confirmed = confirmed

    async def find_lost(self, lease: Lease, *, fence: bool) -> dict[int, _Loss]:
        """Return the buckets of which the broker has lost messages.

        Args:
            lease: the lease of their range.
            fence: whether to fence former publishers before.
        """
        log, relay, buckets = self._store.log, self._relay, range(lease.key.low >> 8, lease.high >> 8)
        source, losses = Source(log.identity.log_id, log.identity.epoch_id, relay.name), dict[int, _Loss]()
        for topic in {each.topic for each in self._confirmed}:
            progress = await self._progress(topic, source, buckets, lease.fencing_token if fence else None)
            positions = await published_positions(log, progress, buckets, relay.to, source)
            starts = starts_of_buckets(self._confirmed, topic)
            for bucket in lost_buckets(self._confirmed, topic, positions):
                loss = _Loss.of_topic(positions[bucket], starts[bucket])
                losses[bucket] = loss.with_topic(losses.get(bucket, loss))
        return losses

    async def _progress(
        self, topic: str, source: Source, buckets: range, fencing_token: int | None
    ) -> Mapping[int, Progress]:
        """Return what the broker stores. With a token, former publishers can change nothing of it any more."""
        if fencing_token is None:
            return await self._broker.progress(topic, source, buckets)
        publisher = await self._broker.publisher(topic, source, buckets, fencing_token)
        progress = await publisher.progress()
        await publisher.close()
        return progress

    async def change(
        self, lease: Lease, losses: dict[int, _Loss], clock: Clock, execute: bool, accept_loss: bool
    ) -> RelayRewind:
        """Set a range back, or tell what would be changed."""
        target, failures = lease.frontier, list[FailureChange]()
        if not accept_loss:
            # fault: checkpoint-kept-at-rewind
            target = min(target, *(each.target for each in losses.values()))
            redriven = [each async for each in self._redriven(lease, losses, clock)]
            failures = [*redriven, *_forgotten(lease, losses, {each.key for each in redriven})]
        pending = tuple(each for each in lease.pending if each <= target)
        move = RangeMove(lease.key, lease.fencing_token, lease.revision, target, pending)
        inbox = InboxChanges(offsets=[each.as_offset() for each in self._correct(losses)])
        if execute and await self._store.recorder.record(UnitOfWork(move, failures=failures, inbox=inbox)) == "refused":
            raise UsageError(
                f"another worker has acquired a range of {self._relay.name!r} in the meantime. It was not changed. Run "
                "the command again."
            )
        keys = [tuple(each.key for each in failures if (each.failure is None) is gone) for gone in (True, False)]
        start = min(each.start for each in losses.values())
        return RelayRewind(lease.key.low, lease.frontier, target, len(losses), *keys, start=start)

    def _correct(self, losses: dict[int, _Loss]) -> list[ConfirmedRange]:
        """Return what is confirmed of buckets of which messages are lost, as the broker stores it.

        The next range corrects the result: what is confirmed of a former range can concern several of today's.
        """
        corrected = {each: _corrected(each, losses) for each in self._confirmed}
        # fault: corrected-for-one-range
        self._confirmed = [*corrected.values()]
        return [after for before, after in corrected.items() if after != before]

    async def _redriven(self, lease: Lease, losses: dict[int, _Loss], clock: Clock) -> AsyncIterator[FailureChange]:
        """Yield the failures of keys that were redriven in the lost part: at or below the target of their bucket."""
        failures, buckets = {each.key: each for each in lease.failures}, range(lease.key.low >> 8, lease.high >> 8)
        lost = [key for each in self._confirmed for key in each.confirmed.redriven if bucket_of(key.key) in buckets]
        first = {each.key: min(other.first for other in lost if other.key == each.key) for each in lost}
        for each in {each.key: each for each in lost if _is_lost(each, losses)}.values():
            # fault: lost-redrive-forgotten
            if first[each.key] <= losses[bucket_of(each.key)].target:
                failure = failures.get(each.key) or await self._failure(each, lease, clock)
                position = min(failure.next_position, first[each.key])
                expected = (failure.state,) if each.key in failures else ()
                yield FailureChange(each.key, expected, replace(failure, next_position=position))

    async def _failure(self, key: RedrivenKey, lease: Lease, clock: Clock) -> KeyFailure:
        """Return the failure of a key that is to be redriven."""
        [event] = (await self._store.log.read(key.first - 1, limit=1)).events
        error = BrokerLostMessages(self._relay.to, self._relay.name, key.first - 1, key.stored)
        return describe_failure(
            error, event, key.key, None, "redriving",
            subscription=self._relay.name, generation=lease.key.generation, now=clock.now(),
        )  # fmt: skip


def _forgotten(lease: Lease, losses: dict[int, _Loss], redriven: set[str]) -> Iterator[FailureChange]:
    """Yield the removal of failures beyond the target of their bucket, but for keys that are redriven."""
    for each in (failure for failure in lease.failures if failure.key not in redriven):
        loss = losses.get(each.slot >> 8)
        # fault: failure-beyond-the-hole-kept
        if loss is not None and each.next_position > loss.target:
            yield FailureChange(each.key, (each.state,), None)


def _corrected(confirmed: ConfirmedRange, losses: dict[int, _Loss]) -> ConfirmedRange:
    stored = [losses[bucket].stored for bucket in confirmed.buckets if bucket in losses]
    position = min([confirmed.confirmed.position, *stored])
    redriven = tuple(each for each in confirmed.confirmed.redriven if not _is_lost(each, losses))
    return replace(confirmed, confirmed=replace(confirmed.confirmed, position=position, redriven=redriven))


def _is_lost(key: RedrivenKey, losses: dict[int, _Loss]) -> bool:
    """Whether the broker may have lost what was redriven: it has stored no greater position since."""
    loss = losses.get(bucket_of(key.key))
    return loss is not None and key.stored >= loss.stored
