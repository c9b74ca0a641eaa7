"""A feed reads the log in order: first what is there, then whatever comes, without ever skipping an event."""

from collections.abc import AsyncGenerator

from fait._events.append import Page
from fait._events.query import EVERYTHING, Query
from fait._store.log import Log

__all__ = ["follow"]


async def follow(log: Log, after: int, query: Query = EVERYTHING, *, live: bool = True) -> AsyncGenerator[Page, None]:
    """Pages of the log beyond a position: to its end, and with `live` on and on as it grows."""
    while True:
        page = await log.read(after, query=query)
        after = page.position
        yield page
        if not page.more:
            if not live:
                return
            await log.wait_for_events(after)
