"""Waits until nothing is left to do: every subscription has processed the log, with the events that handlers append."""

from collections.abc import Iterable
from typing import Final

from fait._errors import Stale
from fait._store.ports.store import Store
from fait._subscriptions.processor_group import ProcessorGroup
from fait._subscriptions.read_your_writes import Deadline, every_key, read_nothing, wait_for_position

__all__ = ["wait_until_settled"]

_CHECK_INTERVAL_S: Final = 0.05
"""Interval between two looks at whether a subscription that is waited for has failed."""


async def wait_until_settled(groups: Iterable[ProcessorGroup], store: Store, target: int, deadline: Deadline) -> None:
    """Wait until every subscription has processed the whole log, at least up to a position.

    Raises:
        Stale: a subscription did not do so in time, or has failed.
    """
    settled, head = -1, max(target, await store.log.last_position())
    # fault: settled-before-caused-events
    while head > settled:
        for each in groups:
            await _wait_unless_failed(each, store, head, deadline)
        settled, head = head, await store.log.last_position()


async def _wait_unless_failed(group: ProcessorGroup, store: Store, target: int, deadline: Deadline) -> None:
    while True:
        interval = Deadline(max(0, min(deadline.remaining_s, _CHECK_INTERVAL_S)))
        try:
            await wait_for_position(group, store, target, interval, read_nothing, every_key)
            return
        except Stale as stale:
            # fault: failed-subscription-is-waited-for
            if deadline.remaining_s <= 0 or group.state == "paused" or stale.parked_key is not None:
                raise
