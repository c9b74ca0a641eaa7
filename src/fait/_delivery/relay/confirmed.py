"""What a broker has confirmed to a relay, remembered in the transaction of the checkpoint.

A broker that loses messages loses the positions that it stores with them. The checkpoint cannot tell: it also passes
events that are not published. So the relay remembers for each topic and range which position the broker has stored, in
the offsets of the store. A position by bucket never decreases. So what is remembered holds for a bucket, whatever
becomes of the range.

It also remembers after which position publishing of the topic began, which need not be the beginning of the log: a
rewind publishes nothing before it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fait._delivery.relay.definition import RelayDefinition
from fait._store.ports.inbox import LaneOffset
from fait._store.ports.leases import Lease

__all__ = [
    "ConfirmedPosition",
    "ConfirmedRange",
    "RedrivenKey",
    "confirmed_ranges",
    "lost_buckets",
    "start_of_range",
    "starts_of_buckets",
]

MAX_REDRIVEN: Final = 100
"""Maximum number of redriven keys that are remembered for a topic and a range: the last ones."""

_STOP_BITS: Final = 9
"""Number of bits of the end of a range of buckets, in the number of its row."""


class RedrivenKey(Struct, frozen=True, array_like=True):
    """A key with events that were published at or below the stored position, which their loss would not change.

    Attributes:
        key: the key.
        first: position of the first of the events.
        stored: position that the broker stored at that time. If it has stored a greater one since, it has the events.
    """

    key: str
    first: int
    stored: int


class ConfirmedPosition(Struct, frozen=True, array_like=True):
    """What a broker has confirmed to the publishers of a topic and a range.

    Attributes:
        relay: name of the relay.
        destination: URL of the broker, as it is declared. Under another name or at another broker, nothing is expected.
        position: position that the broker has stored for each bucket.
        redriven: keys that were redriven.
        start: the relay has published only events after this position to the topic.
    """

    relay: str
    destination: str
    position: int
    redriven: tuple[RedrivenKey, ...] = ()
    start: int = 0

    def with_redriven(self, key: str, first: int) -> "ConfirmedPosition":
        """Return this with events of a key that were published at the position, from the first one on."""
        former = next((each.first for each in self.redriven if each.key == key), first)
        others = [each for each in self.redriven if each.key != key]
        redriven = [*others, RedrivenKey(key, min(first, former), self.position)]
        return replace(self, redriven=tuple(redriven[-MAX_REDRIVEN:]))


class ConfirmedRange(Struct, frozen=True):
    """A topic and a range of buckets, with what the broker has confirmed.

    Attributes:
        topic: name of the topic.
        buckets: the buckets.
        confirmed: what the broker has confirmed.
    """

    topic: str
    buckets: range
    confirmed: ConfirmedPosition

    def as_offset(self) -> LaneOffset:
        """Return the row that is stored."""
        number = self.buckets.start << _STOP_BITS | self.buckets.stop
        return LaneOffset(self.topic, number, msgspec.json.encode(self.confirmed).decode())


def confirmed_ranges(relay: RelayDefinition, offsets: Iterable[LaneOffset]) -> Iterator[ConfirmedRange]:
    """Yield what the broker of a relay has confirmed.

    Args:
        relay: the relay.
        offsets: the stored rows of the subscription.
    """
    for each in offsets:
        start, stop = each.lane >> _STOP_BITS, each.lane & (1 << _STOP_BITS) - 1
        confirmed = msgspec.json.decode(each.offset, type=ConfirmedPosition)
        if (confirmed.relay, confirmed.destination) == (relay.name, relay.to):
            yield ConfirmedRange(each.topic, range(start, stop), confirmed)


def lost_buckets(confirmed: Iterable[ConfirmedRange], topic: str, positions: Mapping[int, int]) -> dict[int, int]:
    """Return the confirmed position of each bucket of which the broker has lost messages.

    Args:
        confirmed: what the broker has confirmed.
        topic: name of the topic.
        positions: position up to which the broker has the messages, by bucket; 0: nothing.
    """
    expected = dict.fromkeys(positions, 0)
    for each in confirmed:
        if each.topic == topic:
            expected.update({n: max(expected[n], each.confirmed.position) for n in each.buckets if n in expected})
    # fault: lost-messages-not-noticed
    return {bucket: position for bucket, position in expected.items() if positions[bucket] < position}


def starts_of_buckets(confirmed: Iterable[ConfirmedRange], topic: str) -> dict[int, int]:
    """Return the position after which publishing of a topic began, by bucket of which the broker has confirmed any.

    The start of a range is the lowest one of its buckets. So of all ranges that had a bucket, the highest start counts.

    Args:
        confirmed: what the broker has confirmed.
        topic: name of the topic.
    """
    starts = dict[int, int]()
    for each in confirmed:
        if each.topic == topic:
            starts.update({n: max(starts.get(n, 0), each.confirmed.start) for n in each.buckets})
    return starts


def start_of_range(confirmed: Iterable[ConfirmedRange], topic: str, buckets: range, lease: Lease) -> int:
    """Return the position after which publishing of a topic began in a range; it survives splits and merges.

    Args:
        confirmed: what the broker has confirmed.
        topic: name of the topic.
        buckets: the buckets of the range.
        lease: the lease of the range. Publishing begins with it in buckets of which nothing is confirmed.
    """
    starts = starts_of_buckets(confirmed, topic)
    # fault: start-beyond-a-parked-key
    first = min([lease.position, *(each.next_position - 1 for each in lease.failures)])
    # fault: start-not-taken-over
    return min(starts.get(bucket, first) for bucket in buckets)
