"""Knows how far the log is final: one reader of the high-water mark per process, for all its subscriptions.

The mark is asked for when somebody needs more than is known, when news comes, and now and then although none came. With
it come the events that are new, if they are few: whoever reads at the end of the log need not ask for them again. Nor
need anybody ask when this process has appended the one event that follows what is known.
"""

import asyncio
from typing import Final

from fait._errors import FaitError, StoreUnavailable
from fait._events.envelope import StoredEvent
from fait._store.position_signal import Doorbell
from fait._store.postgres.connection import Database
from fait._store.postgres.notifier import Announcer
from fait._store.postgres.rows import stored_events
from fait._store.postgres.tail_cache import MOST, ROOM, Recent
from fait._telemetry import logger

__all__ = ["Watcher"]

FRESH_S: Final = 0.01
"""How long a mark is good enough for a reader who wants all that there is."""

LOOK_S: Final = 1.0
"""How often the mark is asked for although no news came."""

LOOK_DEAF_S: Final = (0.02, 0.25)
"""… when news cannot come: at first, and at most, as long as nothing is found."""

BELIEVED_S: Final = 5.0
"""How long the log is expected to reach a position that was heard of: who said so may have been wrong."""

UNFINISHED_S: Final = (0.001, 0.05)
"""… when events are known of that lie above the mark: at first, and at most, until an older append has ended."""


class Watcher:
    """Belongs to the event loop it was made in.

    Attributes:
        recent: the last events of the log, up to the mark that is known.
    """

    def __init__(self, database: Database, channel: str) -> None:
        self.announcer = Announcer(database, channel, self.hear)
        self.recent = Recent()
        self._database = database
        self._final = Doorbell()
        self._closed = False
        self._looking: asyncio.Task[None] | None = None
        self._heard = 0
        self._heard_at = 0.0
        self._went_back_to: int | None = None
        self._asked_at = 0.0
        self._news = asyncio.Event()
        self._waiters = 0
        self._with_events = False
        self._asking: asyncio.Task[int] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def known(self) -> int:
        """The last mark that is known; everything up to it is final, but there may be more."""
        return self._final.position

    async def mark(self, beyond: int) -> int:
        """The mark as it is now: asked for, unless it was a moment ago and lies beyond a position."""
        fresh = self._heard <= self.known and asyncio.get_running_loop().time() - self._asked_at < FRESH_S
        if fresh and beyond < self.known:
            return self.known
        return await self._ask(with_events=beyond >= self.recent.start)

    def hear(self, position: int) -> None:
        """Somebody says that the log reaches a position."""
        if position > self._heard:
            self._heard = position
            self._heard_at = asyncio.get_running_loop().time()
            self._news.set()

    def look(self) -> None:
        """Something may have been committed, here or elsewhere: look, and tell the others what is found."""
        self._news.set()
        if not self._closed and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._tell_mark(), name="fait-postgres-look")

    async def _tell_mark(self) -> None:
        try:
            self.announcer.tell(await self._ask())
        except FaitError as problem:
            logger.warning("the log could not be looked at: %s", problem)

    def stored(self, event: StoredEvent, began: float) -> None:
        """This process has appended an event, in a call that began at a moment of the event loop.

        If it follows what is known, it is the mark: up to there all was final, and no number is left in between. Those
        who wait are given it, and nobody need ask.
        """
        if self._waiters and event.position == self.known + 1 and self._went_back_to is None:
            self._heard = max(self._heard, event.position)
            self._asked_at = max(self._asked_at, began)
            self.recent.learn(event.position, [event])
            asyncio.get_running_loop().call_soon(self._final.ring, event.position)  # who appended goes on first

    def appended(self, position: int) -> None:
        """This process has appended up to a position."""
        self.hear(position)
        self.announcer.tell(position)

    async def wait(self, after: int) -> None:
        """Return when the log is final beyond a position."""
        self._waiters += 1
        if self._task is None or self._task.done():
            self.announcer.start()
            self._task = asyncio.create_task(self._watch(), name="fait-postgres-watch")
        try:
            await self._final.wait(after)
        finally:
            self._waiters -= 1

    async def close(self) -> None:
        """Stop, and tell those who wait."""
        self._closed = True
        for task in (self._task, self._looking, self._asking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._final.close()
        await self.announcer.close()

    async def _ask(self, *, with_events: bool = False) -> int:
        """Ask the server. An answer under way may be too old for a new question; all new questions share the next."""
        under_way = self._asking
        if under_way is not None and not under_way.done():
            await asyncio.wait([under_way])
        self._with_events = self._with_events or with_events  # if one of those who share it can use them
        if self._asking is under_way:
            self._asking = asyncio.create_task(self._fetch(), name="fait-postgres-mark")
        asking = self._asking
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
        if with_events and known and self._heard - known <= MOST:
            rows = await self._database.fetch("tail", known, MOST, ROOM)
        else:
            rows = await self._database.fetch("mark")
        mark, end, expired, *event = rows[0]
        if end < known or self._went_back_to is not None:  # and new events do not make up for it
            self._went_back_to = end if self._went_back_to is None else self._went_back_to
            raise StoreUnavailable(
                f"{self._database.address.shown}: the log ended at {known} and then at "
                f"{self._went_back_to}: the database was restored to an older state while this process ran. Stop all "
                "processes, and run: fait log adopt --in-place"
            )
        self._asked_at = max(self._asked_at, asked_at)
        has_events = any(each is not None for each in event)
        self.recent.learn(mark, stored_events(row[3:] for row in rows) if has_events else ())
        self.recent.drop(expired)  # the database knows what is left of it
        self._final.ring(mark)
        return self.known

    async def _watch(self) -> None:
        pause = 0.0
        while self._waiters:
            before = self._final.position
            try:
                self._news.clear()
                await self._ask()
            except Exception as problem:  # whatever it is: those who wait would wait for ever if this ended
                logger.warning("the log could not be looked at: %s", problem)
                await asyncio.sleep(pause := min(1.0, max(0.05, pause * 2)))
                continue
            first, last = self._pauses()
            pause = first if self._final.position > before or not pause else min(last, pause * 2)
            if self._heard > self._final.position:
                await asyncio.sleep(pause)
            else:
                await self._sleep(pause)

    def _pauses(self) -> tuple[float, float]:
        if self._heard > self._final.position:
            if asyncio.get_running_loop().time() - self._heard_at < BELIEVED_S:
                return UNFINISHED_S
            self._heard = self._final.position
        return (LOOK_S, LOOK_S) if self.announcer.hears else LOOK_DEAF_S

    async def _sleep(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._news.wait()
        except TimeoutError:
            return
