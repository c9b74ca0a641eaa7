"""Sends appends to the server: batches through connections of their own, and alone whatever must not hold others up.

An append whose connection is lost is sent again: its events have ids, so that the server tells a repetition from a new
append, and the verdict is certain. Only when the server stays away is the outcome unknown.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal

from fait._clock import Clock, SystemClock
from fait._errors import StoreUnavailable
from fait._events.envelope import StoredEvent
from fait._store.group_commit import BUSY, Busy, Outcome, Request
from fait._store.postgres.append_protocol import (
    Append,
    arguments,
    arguments_of_one,
    as_json,
    is_one,
    meet,
    stored_alone,
    verdicts,
    verdicts_of_each,
)
from fait._store.postgres.bulk import MANY, copy
from fait._store.postgres.connection import (
    Connection,
    Database,
    IdTaken,
    LockNotAvailable,
    PostgresError,
    Retry,
    lost,
    unavailable,
)
from fait._store.postgres.eager_task import Prompt
from fait._store.postgres.sender_pool import Lanes

__all__ = ["Appender"]

Outcomes = list[Outcome | Exception]

PATIENCE_S: Final = 0.05
"""How long a batch waits for a lock, before its appends are sent one by one so that only one of them waits on."""

TURN_S: Final = 0.5
"""How long an append that runs alone waits at a time: whoever comes after it to a lock waits behind it. Less than the
server's `deadlock_timeout`: where it and a user's transaction wait for each other, it is the one that steps back."""

LOCK_S: Final = 30.0
"""How long an append waits, in all its turns, for the locks of other transactions."""

ANSWER_S: Final = 60.0
"""How long the server may take for a call, locks included, before its connection counts as lost."""

RETURN_S: Final = 10.0
"""How long an append waits for a server that went away."""

MAX_REPEATED: Final = 20
"""How often an append is sent again at once before something else must be wrong."""

LANES: Final = 2
"""Batches under way at a time: one is prepared here while the server stores the other. A small pool has one lane."""

ALONE: Final = 4
"""Most appends that wait for locks at a time; fewer if the pool is small. The batches and one first turn have a
connection each beside them: from a pool of 7 on, readers have one left, and else may wait for the end of a turn."""


class Appender:
    """Belongs to the event loop it was made in.

    Attributes:
        most_batches: how many may be begun before the first of them has ended.
    """

    def __init__(self, database: Database, clock: Clock, tell: Callable[[StoredEvent, float], None]) -> None:
        self._database = database
        self._tell = tell
        self._where = database.address.shown
        self._clock = None if isinstance(clock, SystemClock) else clock  # one clock for all: the server's
        self._last_moment: datetime | None = None
        self._lanes = Lanes(database)
        self.most_batches = LANES if database.address.pool > ALONE + 1 + LANES else 1
        self._first_turns = asyncio.Semaphore(1)
        self._turns = asyncio.Semaphore(min(ALONE, database.address.pool - 2))
        self._unsettled: set[str] = set()

    def begin(self, requests: Sequence[Request]) -> Prompt[Outcomes] | asyncio.Task[Outcomes]:
        """Store requests, in order, in as few calls as can be; an outcome for each."""
        if requests[0].alone:
            append = (requests[0].writes, requests[0].condition)
            return asyncio.create_task(self._send_alone(append), name="fait-postgres-append")
        return Prompt(self._send(requests))

    async def _send(self, requests: Sequence[Request]) -> Outcomes:
        """All of them, on one lane; runs in no task."""
        outcomes: Outcomes = []
        for appends, in_turn in _calls(requests):
            if outcomes and isinstance(outcomes[-1], StoreUnavailable):
                outcomes += [StoreUnavailable(f"{self._where} went away before the append was sent.")] * len(appends)
                continue
            try:
                outcomes += await self._send_together(appends, in_turn)
            except StoreUnavailable as problem:  # what was sent before has its verdicts
                outcomes += [problem] * len(appends)
        return outcomes

    async def close(self) -> None:
        """Give the connections back."""
        await self._lanes.close()

    async def _send_together(self, appends: Sequence[Append], in_turn: bool) -> Sequence[Outcome | Exception]:
        """One call for several; if it fails, they run alone, and it shows whose fault it was."""
        attempt = _Attempt(self._where)
        while True:
            try:
                lane = await self._lanes.take()
                outcomes = await self._send_on(lane, appends, in_turn, attempt)
            except Exception as problem:
                if not lost(problem):
                    raise attempt.failure(problem) from problem
                await attempt.wait_for_server(problem)
            else:
                return self._left_alone(appends, outcomes, attempt)

    async def _send_on(
        self, lane: Connection, appends: Sequence[Append], in_turn: bool, attempt: "_Attempt"
    ) -> Sequence[Outcome]:
        try:
            attempt.sent = not lane.is_closed()
            outcomes = await self._store(lane, appends, PATIENCE_S, in_turn=in_turn)
        except Exception as problem:
            if lost(problem) or not isinstance(problem, PostgresError):  # then a statement may be half begun on it
                await asyncio.create_task(self._lanes.discard(lane))
                raise
            outcomes = [BUSY] * len(appends)
        self._lanes.give_back(lane)
        return outcomes

    def _left_alone(
        self, appends: Sequence[Append], outcomes: Sequence[Outcome], attempt: "_Attempt"
    ) -> Sequence[Outcome]:
        """Remember of those that will run alone that they may have been written already."""
        if attempt.unsettled:
            left = (append for append, outcome in zip(appends, outcomes, strict=True) if outcome is BUSY)
            self._unsettled.update(map(_name, left))
        return outcomes

    async def _send_alone(self, append: Append) -> Outcomes:
        """In turns; in the first it waits little, so that it holds up nobody who need not wait at all."""
        attempt = _Attempt(self._where, unsettled=_name(append) in self._unsettled)
        self._unsettled.discard(_name(append))
        turns, patience_s = self._first_turns, PATIENCE_S
        while True:
            try:
                async with turns:
                    outcome = await self._take_turn(append, patience_s, attempt)
                if not isinstance(outcome, Busy):
                    return [outcome]
                attempt.repeat()
            except IdTaken:
                attempt.repeat(look_up=True)
            except Retry:
                attempt.repeat()
            except LockNotAvailable as problem:
                attempt.wait_for_lock(problem)
                turns, patience_s = self._turns, TURN_S
            except Exception as problem:
                if not lost(problem):
                    raise attempt.failure(problem) from problem
                await attempt.wait_for_server(problem)

    async def _take_turn(self, append: Append, patience_s: float, attempt: "_Attempt") -> Outcome:
        connection = await self._database.take()
        attempt.sent = True
        try:
            [outcome] = await self._store(connection, [append], patience_s, look_up=attempt.look_up)
        except Exception as problem:
            ended = self._database.give_back if isinstance(problem, PostgresError) else self._database.clean
            await (self._database.discard if lost(problem) else ended)(connection)
            raise
        await self._database.give_back(connection)
        return outcome

    async def _store(
        self,
        connection: Connection,
        appends: Sequence[Append],
        patience_s: float,
        *,
        look_up: bool = False,
        in_turn: bool = False,
    ) -> Sequence[Outcome]:
        moment, patience = self._moment(), round(patience_s * 1000)
        writes, condition = appends[0]
        with self._database.deadline(connection, ANSWER_S):
            if condition is None and len(appends) == 1 and sum(len(write.events) for write in writes) >= MANY:
                bulk = copy(connection, self._database, writes, moment, patience)
                stored = await asyncio.create_task(bulk)
                if stored is not None:
                    return [stored]
            if is_one(appends) and not look_up:
                return await self._store_one(connection, appends[0], moment, patience)
            if in_turn:
                each = (as_json(appends), moment, look_up, patience)
                return verdicts_of_each(appends, await connection.fetch(self._database.sql["append_each"], *each))
            values = arguments(appends, moment, look_up=look_up, patience=patience)
            return verdicts(appends, await connection.fetch(self._database.sql["append"], *values))

    async def _store_one(
        self, connection: Connection, append: Append, moment: datetime | None, patience: int
    ) -> Sequence[Outcome]:
        began = asyncio.get_running_loop().time()
        values = arguments_of_one(append, moment, patience=patience)
        rows = await connection.fetch(self._database.sql["append_one"], *values)
        event = stored_alone(append, rows[0])
        if event is not None:
            self._tell(event, began)
        return verdicts([append], rows)

    def _moment(self) -> datetime | None:
        if self._clock is None:
            return None
        now = self._clock.now()
        self._last_moment = max(now, self._last_moment or now)
        return self._last_moment


class _Attempt:
    """What is known of an append that may have to be sent several times.

    Attributes:
        sent: it is under way, or was when the connection was lost.
        unsettled: it was lost on its way, and may have been written then.
        look_up: the server is to look for its ids first.
    """

    def __init__(self, where: str, *, unsettled: bool = False) -> None:
        self.sent = False
        self.unsettled = unsettled
        self.look_up = False
        self._where = where
        self._start = time.monotonic()
        self._lost_since: float | None = None
        self._repeated = 0

    def repeat(self, *, look_up: bool = False) -> None:
        """Send it again at once: the server took it back, and said why."""
        self.sent = False
        self._repeated += 1
        self.look_up = self.look_up or look_up
        if self._repeated > MAX_REPEATED:
            text = f"{self._where}: an append met others {MAX_REPEATED} times. Try again."
            raise StoreUnavailable(text, self._outcome)

    def wait_for_lock(self, problem: Exception) -> None:
        """Send it again, unless it has waited long enough."""
        self.sent = False
        if time.monotonic() - self._start >= LOCK_S:
            raise self.failure(problem) from problem

    async def wait_for_server(self, problem: Exception) -> None:
        """Pause before it is sent again, unless the server has been away for too long."""
        self.unsettled = self.unsettled or self.sent
        self.sent = False
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        if now - self._lost_since >= RETURN_S or now - self._start >= ANSWER_S:
            raise self.failure(problem) from problem
        await asyncio.sleep(min(0.5, 0.02 + (now - self._lost_since) / 4))

    def failure(self, problem: Exception) -> Exception:
        """What the caller is told when it ends with this problem."""
        if isinstance(problem, PostgresError) or lost(problem):
            return unavailable(problem, self._where, self._outcome)
        if isinstance(problem, StoreUnavailable) and self.unsettled:
            why = str(problem).removesuffix(" Nothing was written.")
            return StoreUnavailable(f"the connection was lost during the append, and then: {why}", "unknown")
        return problem

    @property
    def _outcome(self) -> Literal["nothing", "unknown"]:
        return "unknown" if self.unsettled else "nothing"


def _name(append: Append) -> str:
    return append[0][0].events[0].id


def _calls(requests: Sequence[Request]) -> list[tuple[list[Append], bool]]:
    """Requests as calls, in order, each with whether its appends are stored one after another.

    An append of several streams stands alone, and so does one beside which there is another that it depends on.
    """
    together: list[list[Append]] = [[]]
    conditions = any(request.condition is not None for request in requests)
    for request in requests:
        append = (request.writes, request.condition)
        last = together[-1]
        if last and (len(request.writes) > 1 or len(last[0][0]) > 1 or (conditions and meet(append, last))):
            together.append([append])
        else:
            last.append(append)
    calls: list[tuple[list[Append], bool]] = []
    for appends in together:
        if calls and len(appends) == 1 and (calls[-1][1] or len(calls[-1][0]) == 1):
            calls[-1] = (calls[-1][0] + appends, True)
        else:
            calls.append((appends, False))
    return calls
