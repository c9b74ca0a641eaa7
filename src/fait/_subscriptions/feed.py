"""Iterates over the log or a stream in order, page by page, without skipping an event."""

from collections.abc import AsyncGenerator

from fait._events.append import PAGE_SIZE, Page, Until
from fait._events.envelope import RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._store.ports.log import Log

__all__ = ["follow", "stream_pages"]


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


async def stream_pages(
    log: Log, stream: str, *, after: int = 0, until: Until = Until(), limit: int | None = None
) -> AsyncGenerator[list[RecordedEvent], None]:
    """Yield pages of the events of a stream, in order of version.

    Args:
        log: the log to read.
        stream: name of the stream.
        after: version after which to start.
        until: upper bounds.
        limit: maximum number of events in all pages; None: no maximum.
    """
    more = True
    while more and limit != 0:
        events, more = await log.read_stream(
            stream, after=after, until=until, limit=PAGE_SIZE if limit is None else min(limit, PAGE_SIZE)
        )
        if events:
            after = events[-1].version
            limit = limit and limit - len(events)
            yield events
