"""Knows how far the log is final: one reader of the high-water mark per process, for all its subscriptions.

The mark is asked for when somebody needs more than is known, when news comes, and now and then although none came. With
it come the events that are new, if they are few: whoever reads at the end of the log need not ask for them again. Nor
need anybody ask when this process has appended the one event that follows what is known.
"""

import asyncio
from typing import Final

from fait._errors import FaitError, StoreUnavailable
from fait._events.envelope import RecordedEvent
from fait._store.position_signal import PositionSignal
from fait._store.postgres.connection import Database
from fait._store.postgres.notifier import Notifier
from fait._store.postgres.rows import recorded_events
from fait._store.postgres.tail_cache import MAX_CACHED_BYTES, MAX_CACHED_EVENTS, TailCache
from fait._telemetry import logger

__all__ = ["HighWaterMark"]

MAX_MARK_AGE_S: Final = 0.01
"""How long a mark is good enough for a reader who wants all that there is."""

POLL_INTERVAL_S: Final = 1.0
"""How often the mark is asked for although no news came."""

POLL_INTERVALS_WITHOUT_NOTIFY_S: Final = (0.02, 0.25)
"""… when news cannot come: at first, and at most, as long as nothing is found."""

REPORTED_POSITION_TIMEOUT_S: Final = 5.0
"""How long the log is expected to reach a position that was heard of: who said so may have been wrong."""

POLL_INTERVALS_WITH_OPEN_APPENDS_S: Final = (0.001, 0.05)
"""… when events are known of that lie above the mark: at first, and at most, until an older append has ended."""


class HighWaterMark:
    """Belongs to the event loop it was made in.

    Attributes:
        recent: the last events of the log, up to the mark that is known.
    """

    def __init__(self, database: Database, channel: str) -> None:
        self.notifier = Notifier(database, channel, self.report)
        self.tail_cache = TailCache()
        self._database = database
        self._signal = PositionSignal()
        self._closed = False
        self._polling: asyncio.Task[None] | None = None
        self._reported = 0
        self._reported_at = 0.0
        self._regressed_to: int | None = None
        self._fetched_at = 0.0
        self._wake_up = asyncio.Event()
        self._waiters = 0
        self._with_events = False
        self._fetching: asyncio.Task[int] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def known(self) -> int:
        """The last mark that is known; everything up to it is final, but there may be more."""
        return self._signal.position

    async def refresh(self, beyond: int) -> int:
        """The mark as it is now: asked for, unless it was a moment ago and lies beyond a position."""
        fresh = self._reported <= self.known and asyncio.get_running_loop().time() - self._fetched_at < MAX_MARK_AGE_S
        if fresh and beyond < self.known:
            return self.known
        return await self._fetch_shared(with_events=beyond >= self.tail_cache.start)

    def report(self, position: int) -> None:
        """Somebody says that the log reaches a position."""
        if position > self._reported:
            self._reported = position
            self._reported_at = asyncio.get_running_loop().time()
            self._wake_up.set()

    def poll(self) -> None:
        """Something may have been committed, here or elsewhere: look, and tell the others what is found."""
        self._wake_up.set()
        if not self._closed and (self._polling is None or self._polling.done()):
            self._polling = asyncio.create_task(self._poll_and_publish(), name="fait-postgres-look")

    async def _poll_and_publish(self) -> None:
        try:
            self.notifier.publish(await self._fetch_shared())
        except FaitError as problem:
            logger.warning("the log could not be looked at: %s", problem)

    def event_appended(self, event: RecordedEvent, began: float) -> None:
        """This process has appended an event, in a call that began at a moment of the event loop.

        If it follows what is known, it is the mark: up to there all was final, and no number is left in between. Those
        who wait are given it, and nobody need ask.
        """
        # fault: append-advances-mark-after-restore
        # fault: append-above-gap-advances-mark
        if self._waiters and event.position == self.known + 1 and self._regressed_to is None:
            self._reported = max(self._reported, event.position)
            # fault: append-resets-mark-age
            self._fetched_at = max(self._fetched_at, began)
            self.tail_cache.extend(event.position, [event])
            # fault: readers-before-appender
            asyncio.get_running_loop().call_soon(self._signal.advance, event.position)  # who appended goes on first

    def appended(self, position: int) -> None:
        """This process has appended up to a position."""
        self.report(position)
        self.notifier.publish(position)

    async def wait(self, after: int) -> None:
        """Return when the log is final beyond a position."""
        self._waiters += 1
        if self._task is None or self._task.done():
            self.notifier.start()
            self._task = asyncio.create_task(self._poll_until_idle(), name="fait-postgres-watch")
        try:
            await self._signal.wait(after)
        finally:
            self._waiters -= 1

    async def close(self) -> None:
        """Stop, and tell those who wait."""
        self._closed = True
        for task in (self._task, self._polling, self._fetching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._signal.close()
        await self.notifier.close()

    async def _fetch_shared(self, *, with_events: bool = False) -> int:
        """Ask the server. An answer under way may be too old for a new question; all new questions share the next."""
        under_way = self._fetching
        if under_way is not None and not under_way.done():
            await asyncio.wait([under_way])
        self._with_events = self._with_events or with_events  # if one of those who share it can use them
        if self._fetching is under_way:
            self._fetching = asyncio.create_task(self._fetch(), name="fait-postgres-mark")
        asking = self._fetching
        assert asking is not None
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if self._closed and asking.cancelled():
                raise StoreUnavailable("the store is closed.") from None
            raise

    async def _fetch(self) -> int:
        asked_at, known = asyncio.get_running_loop().time(), self.known
        with_events, self._with_events = self._with_events or self._waiters > 0, False
        if with_events and known and self._reported - known <= MAX_CACHED_EVENTS:
            rows = await self._database.fetch("read_tail", known, MAX_CACHED_EVENTS, MAX_CACHED_BYTES)
        else:
            rows = await self._database.fetch("high_water_mark")
        mark, end, expired, *event = rows[0]
        # fault: lower-mark-as-restore
        # fault: response-in-flight-as-restore
        if end < known or self._regressed_to is not None:  # and new events do not make up for it
            self._regressed_to = end if self._regressed_to is None else self._regressed_to
            raise StoreUnavailable(
                f"{self._database.options.redacted_url}: the log ended at {known} and then at "
                f"{self._regressed_to}: the database was restored to an older state while this process ran. Stop all "
                "processes, and run: fait log adopt --in-place"
            )
        self._fetched_at = max(self._fetched_at, asked_at)
        has_events = any(each is not None for each in event)
        self.tail_cache.extend(mark, recorded_events(row[3:] for row in rows) if has_events else ())
        self.tail_cache.evict(expired)  # the database knows what is left of it
        self._signal.advance(mark)
        return self.known

    async def _poll_until_idle(self) -> None:
        pause = 0.0
        while self._waiters:
            before = self._signal.position
            try:
                self._wake_up.clear()
                await self._fetch_shared()
            except Exception as problem:  # whatever it is: those who wait would wait for ever if this ended
                logger.warning("the log could not be looked at: %s", problem)
                await asyncio.sleep(pause := min(1.0, max(0.05, pause * 2)))
                continue
            first, last = self._poll_intervals()
            pause = first if self._signal.position > before or not pause else min(last, pause * 2)
            if self._reported > self._signal.position:
                await asyncio.sleep(pause)
            else:
                await self._sleep(pause)

    def _poll_intervals(self) -> tuple[float, float]:
        if self._reported > self._signal.position:
            if asyncio.get_running_loop().time() - self._reported_at < REPORTED_POSITION_TIMEOUT_S:
                return POLL_INTERVALS_WITH_OPEN_APPENDS_S
            self._reported = self._signal.position
        return (POLL_INTERVAL_S, POLL_INTERVAL_S) if self.notifier.is_listening else POLL_INTERVALS_WITHOUT_NOTIFY_S

    async def _sleep(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._wake_up.wait()
        except TimeoutError:
            return
