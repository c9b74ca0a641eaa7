"""A feed reads the log in order: first what is there, then whatever comes, without ever skipping an event."""

import asyncio
from collections.abc import AsyncGenerator

from fait.events.append import PAGE, Page
from fait.events.query import EVERYTHING, Query
from fait.store.log import Log

__all__ = ["follow"]


async def follow(
    log: Log, after: int, query: Query = EVERYTHING, *, limit: int = PAGE, pause_s: float | None = None
) -> AsyncGenerator[Page, None]:
    """Pages of the log beyond a position, for ever.

    A page that is not `more` tells that the reader has caught up. With `pause_s`, an empty page is given when
    nothing has come for so long, so that the reader can attend to other things.
    """
    while True:
        page = await log.read(after, query=query, limit=limit)
        if page.position > after:
            after = page.position
            yield page
        if page.more:
            continue
        try:
            async with asyncio.timeout(pause_s):
                await log.changed(after)
        except TimeoutError:
            yield Page([], after, more=False)
