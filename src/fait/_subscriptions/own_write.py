"""The write that a caller waits for: which of its events a subscription has passed without handling them.

A subscription passes the events of a key that has failed. The row of such a key may not exist yet, or its old content
may not match the condition of a read, so the rows that are returned do not tell that the write is missing. Its events
tell their keys.

A position does not say which events were appended with the one at it, so a write result and a token carry their number.
They are the last events up to the position that have the same metadata and the same time.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from fait._events.append import PAGE_SIZE
from fait._events.envelope import RecordedEvent
from fait._store.ports.failures import KeyFailure
from fait._store.ports.log import Log
from fait._subscriptions.subscription import Subscription

__all__ = ["OwnWrite"]

_MIN_READ: Final = 100
"""Minimum number of positions that a read for earlier events covers: concurrent appends may have some among them."""


class OwnWrite:
    """The events of a write, which are read from the log only if a key has failed.

    Args:
        log: the log.
        position: position of the last event.
        events: number of the events; 0: nothing was appended.
        stream: the stream of the write; "" if it is unknown.
        subscription: the subscription that is waited for.
    """

    def __init__(
        self,
        log: Log,
        position: int,
        events: int,
        stream: str,
        subscription: Subscription,
    ) -> None:
        self.stream = stream
        self._log = log
        self.position = position
        self._events = events
        self._subscription = subscription
        self._keys: Mapping[str, int] | None = None  # the order keys, each with the position of its last event

    async def has_failed(self, failure: KeyFailure, _result: object = None) -> bool:
        """Return whether an event of the write is not handled, because this key has failed."""
        if self._keys is None:
            subscription = self._subscription
            handled = [each for each in await self._read() if subscription.definition.handles(each.type)]
            self._keys = {key: each.position for each in handled for key in subscription.keys_of(each)}
        # fault: own-write-of-another-failed-key
        return self._keys.get(failure.key, 0) >= failure.next_position

    async def _read(self) -> Sequence[RecordedEvent]:
        """Return the events of the write; those that have expired are missing."""
        if not self._events or not self.position:
            return ()
        await self._log.head()  # another process may have passed the position before this one could read it
        low, size = self.position - 1, max(_MIN_READ, min(self._events, PAGE_SIZE))
        events = await self._read_between(low, self.position)
        while events and low > 0 and len(events) < self._events:
            low, high = max(0, low - size), low
            same = await self._read_between(low, high, events[-1])
            if not same:
                break
            # fault: only-last-event-of-a-write
            events = [*same, *events][-self._events :]
        return events

    async def _read_between(self, low: int, high: int, last: RecordedEvent | None = None) -> list[RecordedEvent]:
        """Return the events above a position, up to another one: all, or those that may be of the append of `last`."""
        events = list[RecordedEvent]()
        while low < high:
            page = await self._log.read(low, limit=min(PAGE_SIZE, high - low))
            events += (each for each in page.events if each.position <= high and _may_be_together(each, last))
            if page.position == low and not page.more:
                break
            low = page.position
        return events


def _may_be_together(event: RecordedEvent, last: RecordedEvent | None) -> bool:
    """Return whether one append may have stored both events."""
    return last is None or (event.metadata, event.recorded_at) == (last.metadata, last.recorded_at)
