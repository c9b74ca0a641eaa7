"""Waits until nothing is left to do: every subscription has processed the log, with the events that handlers append."""

from collections.abc import Iterable
from typing import Final

from fait._errors import Stale
from fait._store.ports.store import Store
from fait._subscriptions.processor import Processor
from fait._subscriptions.read_your_writes import Deadline, read_nothing, wait_for_position

__all__ = ["wait_until_settled"]

_CHECK_INTERVAL_S: Final = 0.05
"""Interval between two looks at whether a subscription that is waited for has failed."""


async def wait_until_settled(processors: Iterable[Processor], store: Store, target: int, deadline: Deadline) -> None:
    """Wait until every subscription has processed the whole log, at least up to a position.

    Raises:
        Stale: a subscription did not do so in time, or has failed.
    """
    settled, head = -1, max(target, await store.log.last_position())
    # fault: settled-before-caused-events
    while head > settled:
        for each in processors:
            await _wait_unless_failed(each, store, head, deadline)
        settled, head = head, await store.log.last_position()


async def _wait_unless_failed(processor: Processor, store: Store, target: int, deadline: Deadline) -> None:
    while True:
        interval = Deadline(max(0, min(deadline.remaining_s, _CHECK_INTERVAL_S)))
        try:
            await wait_for_position(processor, store.leases, target, interval, read_nothing)
            return
        except Stale:
            # fault: failed-subscription-is-waited-for
            if deadline.remaining_s <= 0 or processor.state == "failed":
                raise
