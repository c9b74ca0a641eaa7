"""Iterates over the log in order, page by page, without skipping an event."""

from collections.abc import AsyncGenerator

from fait._events.append import Page
from fait._events.query import EVERYTHING, Query
from fait._store.ports.log import Log

__all__ = ["follow"]


async def follow(log: Log, after: int, query: Query = EVERYTHING, *, live: bool = True) -> AsyncGenerator[Page, None]:
    """Yield pages of matching events after a position.

    Args:
        log: the log to read.
        after: position after which to start.
        query: selects the events.
        live: whether to wait for further events at the end of the log. If False, iteration stops there; all events
            that were acknowledged before are included, in any process.
    """
    if not live:
        # fault: iteration-ends-before-head
        await log.head()  # so that the last page reaches every append acknowledged until now
    while True:
        page = await log.read(after, query=query)
        after = page.position
        yield page
        if not page.more:
            if not live:
                return
            await log.wait_for_events(after)
