"""Sends appends to the server: batches through a connection of their own, and alone whatever must not hold others up.

An append whose connection is lost is sent again: its events have ids, so that the server tells a repetition from a new
append, and the verdict is certain. Only when the server stays away is the outcome unknown.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from fait.clock import Clock, SystemClock
from fait.errors import StoreUnavailable
from fait.events.append import Verdict
from fait.store.coalescer import BUSY, Outcome, Request
from fait.store.postgres.bulk import MANY, copy
from fait.store.postgres.call import Append, arguments, meet, verdicts
from fait.store.postgres.connection import (
    Connection,
    Database,
    IdTaken,
    LockNotAvailable,
    PostgresError,
    Retry,
    lost,
    unavailable,
)

__all__ = ["Appender"]

PATIENCE_S: Final = 0.05
"""How long a batch waits for a lock, before its appends are sent one by one so that only one of them waits on."""

CONDITION_S: Final = 1.0
"""How long an append with a condition waits at a time: whoever comes after it to the same lock waits behind it."""

LOCK_S: Final = 30.0
"""How long an append alone waits for the locks of other transactions."""

ANSWER_S: Final = 60.0
"""How long the server may take for a call, locks included, before its connection counts as lost."""

RETURN_S: Final = 10.0
"""How long an append waits for a server that went away."""

MAX_REPEATED: Final = 20
"""How often an append is sent again at once before something else must be wrong."""

ALONE: Final = 4
"""Most appends that run alone at a time: they may wait long, and connections are few."""


class Appender:
    """Belongs to the event loop it was made in."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = None if isinstance(clock, SystemClock) else clock  # one clock for all: the server's
        self._last_moment: datetime | None = None
        self._lane: Connection | None = None
        self._alone = asyncio.Semaphore(ALONE)

    async def send(self, requests: Sequence[Request]) -> list[Outcome | Exception]:
        """Store requests, in order, in as few calls as can be; an outcome for each."""
        if requests[0].alone:
            async with self._alone:
                return [await self._send_alone((requests[0].writes, requests[0].condition))]
        outcomes: list[Outcome | Exception] = []
        for appends in _calls(requests):
            outcomes += await self._send_together(appends)
        return outcomes

    async def close(self) -> None:
        """Give the connection back."""
        if self._lane is not None:
            await self._database.give_back(self._lane)
            self._lane = None

    async def _send_together(self, appends: Sequence[Append]) -> Sequence[Outcome | Exception]:
        """One call for several; if it fails, they run alone, and it shows whose fault it was."""
        attempt = _Attempt(self._database.address.shown)
        while True:
            try:
                if self._lane is None or self._lane.is_closed():
                    self._lane = await self._database.take()
                attempt.began = True
                return await self._store(self._lane, appends, PATIENCE_S)
            except Exception as problem:
                if not lost(problem):
                    if isinstance(problem, PostgresError):
                        return [BUSY] * len(appends)
                    raise
                await self._drop_lane()
                await attempt.wait_for_server(problem)

    async def _send_alone(self, append: Append) -> Verdict:
        attempt = _Attempt(self._database.address.shown)
        patience_s = LOCK_S if append[1] is None else CONDITION_S
        while True:
            try:
                connection = await self._database.take()
                try:
                    attempt.began = True
                    return (await self._store(connection, [append], patience_s, attempt.look_up))[0]
                finally:
                    await self._database.give_back(connection)
            except IdTaken:
                attempt.repeat(look_up=True)
            except Retry:
                attempt.repeat()
            except LockNotAvailable as problem:
                attempt.wait_for_lock(problem)
            except Exception as problem:
                if not lost(problem):
                    if isinstance(problem, PostgresError):
                        raise unavailable(problem, self._database.address.shown) from problem
                    raise
                await attempt.wait_for_server(problem)

    async def _store(
        self, connection: Connection, appends: Sequence[Append], patience_s: float, look_up: bool = False
    ) -> list[Verdict]:
        moment, patience = self._moment(), round(patience_s * 1000)
        writes, condition = appends[0]
        if condition is None and len(appends) == 1 and sum(len(write.events) for write in writes) >= MANY:
            async with asyncio.timeout(ANSWER_S):
                stored = await copy(connection, self._database, writes, moment, patience)
            if stored is not None:
                return [stored]
        values = arguments(appends, moment, look_up=look_up, patience=patience)
        return verdicts(appends, await connection.fetch(self._database.sql["append"], *values, timeout=ANSWER_S))

    def _moment(self) -> datetime | None:
        if self._clock is None:
            return None
        now = self._clock.now()
        self._last_moment = max(now, self._last_moment or now)
        return self._last_moment

    async def _drop_lane(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.terminate()
            await self._database.give_back(lane)


class _Attempt:
    """What is known of an append that may have to be sent several times."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._start = time.monotonic()
        self._lost_since: float | None = None
        self._repeated = 0
        self.began = False
        self.look_up = False

    def repeat(self, *, look_up: bool = False) -> None:
        """Send it again at once: the server took it back, and said why."""
        self._repeated += 1
        self.look_up = self.look_up or look_up
        if self._repeated > MAX_REPEATED:
            raise StoreUnavailable(f"{self._where}: an append met others {MAX_REPEATED} times. Try again.")

    def wait_for_lock(self, problem: Exception) -> None:
        """Send it again, unless it has waited long enough."""
        if time.monotonic() - self._start >= LOCK_S:
            raise unavailable(problem, self._where) from problem

    async def wait_for_server(self, problem: Exception) -> None:
        """Pause before it is sent again, unless the server has been away for too long."""
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        if now - self._lost_since >= RETURN_S:
            outcome: Literal["nothing", "unknown"] = "unknown" if self.began else "nothing"
            raise unavailable(problem, self._where, outcome) from problem
        await asyncio.sleep(min(0.5, 0.02 + (now - self._lost_since) / 4))


def _calls(requests: Sequence[Request]) -> list[list[Append]]:
    """Requests as calls: in order, an append of several streams for itself, and none beside one it depends on."""
    calls: list[list[Append]] = [[]]
    for request in requests:
        append = (request.writes, request.condition)
        together = calls[-1]
        if together and (len(request.writes) > 1 or len(together[0][0]) > 1 or meet(append, together)):
            calls.append([append])
        else:
            together.append(append)
    return calls
