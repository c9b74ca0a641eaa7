"""Tracks the high-water mark: one query per process for all of its subscriptions.

The mark is queried when a reader needs more than the known mark, when a notification arrives, and at intervals. If few
events are new, the query returns them too, so readers at the end of the log need no query of their own. No query is
needed if this process has just appended the one event that follows the known mark.
"""

import asyncio
from typing import Final

from fait._errors import FaitError, StoreUnavailable
from fait._events.envelope import RecordedEvent
from fait._store.command_hint import command_hint
from fait._store.position_signal import PositionSignal
from fait._store.postgres.connection import Database, LogMoved
from fait._store.postgres.notifier import Notifier
from fait._store.postgres.open_append import open_appends
from fait._store.postgres.rows import recorded_events
from fait._store.postgres.tail_cache import MAX_CACHED_BYTES, MAX_CACHED_EVENTS, TailCache
from fait._telemetry import logger

__all__ = ["HighWaterMark"]

MAX_MARK_AGE_S: Final = 0.01
"""Maximum age of a mark that `refresh` returns without a query."""

POLL_INTERVAL_S: Final = 1.0
"""Interval between polls while notifications arrive."""

POLL_INTERVALS_WITHOUT_NOTIFY_S: Final = (0.02, 0.25)
"""First and maximum interval between polls while notifications cannot arrive; doubles as long as nothing is new."""

REPORTED_POSITION_TIMEOUT_S: Final = 5.0
"""Timeout for the mark to reach a reported position; the report may have been wrong."""

POLL_INTERVALS_WITH_OPEN_APPENDS_S: Final = (0.001, 0.05)
"""First and maximum interval between polls while reported events lie above the mark, until older appends have ended."""


class HighWaterMark:
    """The high-water mark as this process knows it, and the readers that wait for it to advance.

    Belongs to the event loop in which it was created.

    Args:
        database: the database of the log.
        channel: the channel of notifications.
        known_position: the position of an event that is known to be stored.

    Attributes:
        known_position: the highest position of an event that this process has seen or appended.
        notifier: sends and receives notifications.
        tail_cache: the last events of the log, up to the known mark.
    """

    def __init__(self, database: Database, channel: str, known_position: int = 0) -> None:
        self.known_position = known_position
        self.notifier = Notifier(database, channel, self.report)
        self.tail_cache = TailCache()
        self._database = database
        self._signal = PositionSignal()
        self._closed = False
        self._polling: asyncio.Task[None] | None = None
        self._reported = 0
        self._reported_at = 0.0
        self._moved = ""
        self._fetched_at = 0.0
        self._wake_up = asyncio.Event()
        self._waiters = 0
        self._with_events = False
        self._revisions = 0
        self._revisions_position = -1  # up to which it is known
        self._fetching: asyncio.Task[int] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def position(self) -> int:
        """The last known mark. The actual mark may be higher."""
        return self._signal.position

    def revisions(self, position: int) -> int | None:
        """Return the sum of the revisions of all registrations, after the events up to a position were stored.

        None: not known.
        """
        # fault: older-revisions-for-later-events
        return self._revisions if position <= self._revisions_position else None

    def check_not_moved(self) -> None:
        """Raise `LogMoved` if a query or an append has found that the log was moved."""
        if self._moved:
            raise LogMoved(self._moved)

    def report_moved(self, error: LogMoved) -> None:
        """Refuse all further reads and appends until the store is closed, and wake waiting readers with the error.

        It does not help that events are appended and the log reaches the known position again: they are other events.
        """
        # fault: moved-log-not-reported
        self._moved = self._moved or error.reason
        self._signal.close(LogMoved(self._moved))

    async def refresh(self, beyond: int) -> int:
        """Return the mark. Queries it unless the known one is recent and lies after the position `beyond`."""
        is_recent = asyncio.get_running_loop().time() - self._fetched_at < MAX_MARK_AGE_S
        if is_recent and self._reported <= self.position and beyond < self.position:
            return self.position
        return await self._fetch_shared(with_events=beyond >= self.tail_cache.start)

    async def fetch(self) -> int:
        """Return the mark as the database has it now: every append that was acknowledged before counts."""
        return await self._fetch_shared()

    def report(self, position: int) -> None:
        """Record that the log may have reached a position, and wake the poller."""
        if self._note(position):
            self._wake_up.set()

    def _note(self, position: int) -> bool:
        """Take note of a position that the log may have reached. Returns whether it is a new one."""
        if position <= self._reported:
            return False
        self._reported, self._reported_at = position, asyncio.get_running_loop().time()
        return True

    def poll(self) -> None:
        """Query the mark now, as a transaction may have committed, and notify other processes of it."""
        self._wake_up.set()
        if not self._closed and (self._polling is None or self._polling.done()):
            self._polling = asyncio.create_task(self._poll_and_publish(), name="fait-postgres-poll")

    async def _poll_and_publish(self) -> None:
        try:
            self.notifier.publish(await self._fetch_shared())
        except FaitError as error:
            logger.warning("failed to read the high-water mark: %s", error)

    def advance_to(self, event: RecordedEvent, started: float, revisions: int) -> None:
        """Advance the mark to an event that this process has appended, if it directly follows the mark.

        No position is left between the two for an open append, so waiting readers get the event without a query.

        Args:
            event: the event.
            started: the time of the event loop at which the call that appended it started.
            revisions: sum of the revisions of all registrations, before the event was stored.
        """
        # fault: append-advances-mark-after-restore
        # fault: append-above-gap-advances-mark
        if self._waiters and event.position == self.position + 1 and not self._moved:
            # fault: appended-event-seems-to-wait
            self._note(event.position)
            # fault: append-resets-mark-age
            self._fetched_at = max(self._fetched_at, started)
            self.tail_cache.extend(event.position, [event])
            if self._revisions_position == self.position:
                # fault: older-revisions-for-an-appended-event
                self._revisions = max(self._revisions, revisions)
                self._revisions_position = event.position
            # Not immediately: the caller of the append continues before the waiting readers.
            # fault: readers-before-appender
            asyncio.get_running_loop().call_soon(self._signal.advance, event.position)

    def report_append(self, position: int) -> None:
        """Record that this process has appended events up to a position, and notify other processes."""
        self.known_position = max(self.known_position, position)
        self.report(position)
        self.notifier.publish(position)

    async def wait(self, after: int) -> None:
        """Wait until the mark lies beyond a position."""
        self._waiters += 1
        if self._task is None or self._task.done():
            self.notifier.start()
            self._task = asyncio.create_task(self._poll_until_idle(), name="fait-postgres-high-water-mark")
        try:
            await self._signal.wait(after)
        finally:
            self._waiters -= 1

    async def close(self) -> None:
        """Stop polling. Waiting readers get `StoreUnavailable`."""
        self._closed = True
        for task in (self._task, self._polling, self._fetching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._signal.close()
        await self.notifier.close()

    async def _fetch_shared(self, *, with_events: bool = False) -> int:
        """Query the mark; concurrent callers share a query.

        The result of a query in flight may be too old for a new caller, so it waits for the next one.
        """
        in_flight = self._fetching
        if in_flight is not None and not in_flight.done():
            await asyncio.wait([in_flight])
        self._with_events = self._with_events or with_events  # if one of the callers can use them
        if self._fetching is in_flight:
            self._fetching = asyncio.create_task(self._fetch(), name="fait-postgres-fetch-mark")
            # If all callers are canceled, nothing else retrieves its error.
            # fault: failed-query-of-canceled-reader-reported
            self._fetching.add_done_callback(_retrieve_error)
        fetching = self._fetching
        assert fetching is not None
        try:
            return await asyncio.shield(fetching)
        except asyncio.CancelledError:
            if self._closed and fetching.cancelled():
                raise StoreUnavailable(
                    "the store is closed. Use it only within the block of `async with app.open(...)`."
                ) from None
            raise

    async def _fetch(self) -> int:
        self.check_not_moved()
        try:
            return await self._query()
        except LogMoved as error:
            self.report_moved(error)
            raise

    async def _query(self) -> int:
        started, previous = asyncio.get_running_loop().time(), self.position
        known_position = max(self.known_position, previous)
        with_events, self._with_events = self._with_events or self._waiters > 0, False
        epoch = self._database.epoch_id
        if with_events and previous and self._reported - previous <= MAX_CACHED_EVENTS:
            rows = await self._database.fetch("read_tail", previous, MAX_CACHED_EVENTS, MAX_CACHED_BYTES, epoch)
        else:
            rows = await self._database.fetch("high_water_mark", epoch)
        mark, head, expired_position, *rest = rows[0]
        # fault: lower-mark-as-restore
        # fault: response-in-flight-as-restore
        if head < known_position:
            raise LogMoved(
                f"{self._database.options.redacted_url}: the last position of the log decreased from {known_position} "
                f"to {head}: the database was restored to an older state while this process was running. Stop all "
                "processes, and then start a new epoch with "
                f"{command_hint('log adopt --in-place', self._database.options.redacted_url)}."
            )
        self.known_position = max(self.known_position, head)
        self._fetched_at = max(self._fetched_at, started)
        if rest and mark >= self._revisions_position:
            self._revisions, self._revisions_position = rest[0], mark
        has_events = any(column is not None for column in rest[1:])
        self.tail_cache.extend(mark, recorded_events(row[4:-1] for row in rows) if has_events else ())
        self.tail_cache.evict(expired_position)  # some events up to there were deleted
        self._signal.advance(mark)
        return self.position

    async def _poll_until_idle(self) -> None:
        interval_s = 0.0
        while self._waiters:
            before = self._signal.position
            try:
                self._wake_up.clear()
                await self._fetch_shared()
            except Exception as error:  # any error: if this task ended, readers would wait indefinitely
                logger.warning("failed to read the high-water mark: %s", error)
                await asyncio.sleep(interval_s := min(1.0, max(0.05, interval_s * 2)))
                continue
            if self._is_held_back():
                await self._log_open_append()
            first, last = self._poll_intervals()
            interval_s = first if self._signal.position > before or not interval_s else min(last, interval_s * 2)
            if self._reported > self._signal.position:
                await asyncio.sleep(interval_s)
            else:
                await self._sleep(interval_s)

    def _is_held_back(self) -> bool:
        """Whether the mark has not reached a reported position in time."""
        age_s = asyncio.get_running_loop().time() - self._reported_at
        return self._reported > self._signal.position and age_s >= REPORTED_POSITION_TIMEOUT_S

    async def _log_open_append(self) -> None:
        """Log which append holds the mark back, once for each report. There is none if the report was wrong."""
        self._reported = self._signal.position
        try:
            oldest = next((each for each in await open_appends(self._database) if each.appends), None)
        except FaitError as error:
            logger.warning("failed to read the open appends: %s", error)
            return
        if oldest is not None:
            logger.warning(
                "readers wait at position %d for an open append: %s. %s",
                self._signal.position, oldest.describe(), oldest.end(),
            )  # fmt: skip

    def _poll_intervals(self) -> tuple[float, float]:
        if self._reported > self._signal.position:
            return POLL_INTERVALS_WITH_OPEN_APPENDS_S
        return (POLL_INTERVAL_S, POLL_INTERVAL_S) if self.notifier.is_listening else POLL_INTERVALS_WITHOUT_NOTIFY_S

    async def _sleep(self, interval_s: float) -> None:
        """Sleep until the end of the interval, or until woken."""
        try:
            async with asyncio.timeout(interval_s):
                await self._wake_up.wait()
        except TimeoutError:
            return


def _retrieve_error(task: asyncio.Task[int]) -> None:
    """Let asyncio report nothing of a task that failed."""
    if not task.cancelled():
        task.exception()
