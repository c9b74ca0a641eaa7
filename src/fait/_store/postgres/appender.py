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
from fait._events.envelope import RecordedEvent
from fait._store.group_commit import LOCK_TIMEOUT, AppendOutcome, LockTimeout, PendingAppend
from fait._store.postgres.append_protocol import (
    Append,
    appends_to_json,
    batch_arguments,
    is_single_event,
    may_conflict,
    read_results,
    read_sequential_results,
    recorded_single,
    single_arguments,
)
from fait._store.postgres.bulk import MIN_BULK_EVENTS, append_bulk
from fait._store.postgres.connection import (
    RETRYABLE_ERRORS,
    Database,
    LockNotAvailable,
    PostgresConnection,
    PostgresError,
    UniqueViolation,
    is_connection_lost,
    map_error,
)
from fait._store.postgres.eager_task import EagerTask
from fait._store.postgres.sender_pool import SenderPool

__all__ = ["Appender"]

Outcomes = list[AppendOutcome | Exception]

BATCH_LOCK_TIMEOUT_S: Final = 0.05
"""How long a batch waits for a lock, before its appends are sent one by one so that only one of them waits on."""

RETRY_LOCK_TIMEOUT_S: Final = 0.5
"""How long an append that runs alone waits at a time: whoever comes after it to a lock waits behind it. Less than the
server's `deadlock_timeout`: where it and a user's transaction wait for each other, it is the one that steps back."""

TOTAL_LOCK_TIMEOUT_S: Final = 30.0
"""How long an append waits, in all its turns, for the locks of other transactions."""

RESPONSE_TIMEOUT_S: Final = 60.0
"""How long the server may take for a call, locks included, before its connection counts as lost."""

RECONNECT_TIMEOUT_S: Final = 10.0
"""How long an append waits for a server that went away."""

MAX_RETRIES: Final = 20
"""How often an append is sent again at once before something else must be wrong."""

MAX_BATCHES: Final = 2
"""Batches under way at a time: one is prepared here while the server stores the other. A small pool has one lane."""

MAX_CONCURRENT_RETRIES: Final = 4
"""Most appends that wait for locks at a time; fewer if the pool is small. The batches and one first turn have a
connection each beside them: from a pool of 7 on, readers have one left, and else may wait for the end of a turn."""


class Appender:
    """Belongs to the event loop it was made in.

    Attributes:
        most_batches: how many may be begun before the first of them has ended.
    """

    def __init__(self, database: Database, clock: Clock, tell: Callable[[RecordedEvent, float], None]) -> None:
        self._database = database
        self._on_event_appended = tell
        self._location = database.options.redacted_url
        self._clock = None if isinstance(clock, SystemClock) else clock  # one clock for all: the server's
        self._last_recorded_at: datetime | None = None
        self._senders = SenderPool(database)
        self.max_batches = MAX_BATCHES if database.options.pool_size > MAX_CONCURRENT_RETRIES + 1 + MAX_BATCHES else 1
        self._first_retries = asyncio.Semaphore(1)
        self._retries = asyncio.Semaphore(min(MAX_CONCURRENT_RETRIES, database.options.pool_size - 2))
        self._outcome_unknown: set[str] = set()

    def send(self, requests: Sequence[PendingAppend]) -> EagerTask[Outcomes] | asyncio.Task[Outcomes]:
        """Store requests, in order, in as few calls as can be; an outcome for each."""
        if requests[0].retry_individually:
            append = (requests[0].writes, requests[0].condition)
            return asyncio.create_task(self._retry_individually(append), name="fait-postgres-append")
        return EagerTask(self._send_batch(requests))

    async def _send_batch(self, requests: Sequence[PendingAppend]) -> Outcomes:
        """All of them, on one lane; runs in no task."""
        outcomes: Outcomes = []
        for appends, in_turn in _split_into_calls(requests):
            if outcomes and isinstance(outcomes[-1], StoreUnavailable):
                outcomes += [StoreUnavailable(f"{self._location} went away before the append was sent.")] * len(appends)
                continue
            try:
                outcomes += await self._send_together(appends, in_turn)
            except StoreUnavailable as problem:  # what was sent before has its verdicts
                outcomes += [problem] * len(appends)
        return outcomes

    async def close(self) -> None:
        """Give the connections back."""
        await self._senders.close()

    async def _send_together(self, appends: Sequence[Append], in_turn: bool) -> Sequence[AppendOutcome | Exception]:
        """One call for several; if it fails, they run alone, and it shows whose fault it was."""
        attempt = _SendAttempt(self._location)
        while True:
            try:
                lane = await self._senders.acquire()
                outcomes = await self._send_on(lane, appends, in_turn, attempt)
            except Exception as problem:
                if not is_connection_lost(problem):
                    raise attempt.failure(problem) from problem
                await attempt.wait_for_server(problem)
            else:
                return self._note_unknown_outcomes(appends, outcomes, attempt)

    async def _send_on(
        self, lane: PostgresConnection, appends: Sequence[Append], in_turn: bool, attempt: "_SendAttempt"
    ) -> Sequence[AppendOutcome]:
        try:
            attempt.sent = not lane.is_closed()
            outcomes = await self._call_append(lane, appends, BATCH_LOCK_TIMEOUT_S, in_turn=in_turn)
        except Exception as problem:
            if is_connection_lost(problem) or not isinstance(
                problem, PostgresError
            ):  # then a statement may be half begun on it
                await asyncio.create_task(self._senders.discard(lane))
                raise
            outcomes = [LOCK_TIMEOUT] * len(appends)
        self._senders.release(lane)
        return outcomes

    def _note_unknown_outcomes(
        self, appends: Sequence[Append], outcomes: Sequence[AppendOutcome], attempt: "_SendAttempt"
    ) -> Sequence[AppendOutcome]:
        """Remember of those that will run alone that they may have been written already."""
        # fault: unknown-outcome-forgotten
        if attempt.outcome_unknown:
            left = (append for append, outcome in zip(appends, outcomes, strict=True) if outcome is LOCK_TIMEOUT)
            self._outcome_unknown.update(map(_first_event_id, left))
        return outcomes

    async def _retry_individually(self, append: Append) -> Outcomes:
        """In turns; in the first it waits little, so that it holds up nobody who need not wait at all."""
        attempt = _SendAttempt(self._location, unsettled=_first_event_id(append) in self._outcome_unknown)
        self._outcome_unknown.discard(_first_event_id(append))
        turns, patience_s = self._first_retries, BATCH_LOCK_TIMEOUT_S
        while True:
            try:
                async with turns:
                    outcome = await self._send_once(append, patience_s, attempt)
                if not isinstance(outcome, LockTimeout):
                    return [outcome]
                attempt.retry()
            except UniqueViolation:
                attempt.retry(look_up=True)
            except RETRYABLE_ERRORS:
                attempt.retry()
            except LockNotAvailable as problem:
                attempt.wait_for_lock(problem)
                turns, patience_s = self._retries, RETRY_LOCK_TIMEOUT_S
            except Exception as problem:
                if not is_connection_lost(problem):
                    raise attempt.failure(problem) from problem
                await attempt.wait_for_server(problem)

    async def _send_once(self, append: Append, patience_s: float, attempt: "_SendAttempt") -> AppendOutcome:
        connection = await self._database.acquire()
        attempt.sent = True
        try:
            [outcome] = await self._call_append(connection, [append], patience_s, look_up=attempt.check_ids)
        except Exception as problem:
            ended = self._database.release if isinstance(problem, PostgresError) else self._database.release_to_pool
            await (self._database.discard if is_connection_lost(problem) else ended)(connection)
            raise
        await self._database.release(connection)
        return outcome

    async def _call_append(
        self,
        connection: PostgresConnection,
        appends: Sequence[Append],
        patience_s: float,
        *,
        look_up: bool = False,
        in_turn: bool = False,
    ) -> Sequence[AppendOutcome]:
        moment, patience = self._recorded_at(), round(patience_s * 1000)
        writes, condition = appends[0]
        with self._database.deadline(connection, RESPONSE_TIMEOUT_S):
            if (
                condition is None
                and len(appends) == 1
                and sum(len(write.events) for write in writes) >= MIN_BULK_EVENTS
            ):
                bulk = append_bulk(connection, self._database, writes, moment, patience)
                stored = await asyncio.create_task(bulk)
                if stored is not None:
                    return [stored]
            if is_single_event(appends) and not look_up:
                return await self._call_append_one(connection, appends[0], moment, patience)
            if in_turn:
                each = (appends_to_json(appends), moment, look_up, patience)
                return read_sequential_results(
                    appends, await connection.fetch(self._database.sql["append_batch"], *each)
                )
            values = batch_arguments(appends, moment, look_up=look_up, patience=patience)
            return read_results(appends, await connection.fetch(self._database.sql["append"], *values))

    async def _call_append_one(
        self, connection: PostgresConnection, append: Append, moment: datetime | None, patience: int
    ) -> Sequence[AppendOutcome]:
        began = asyncio.get_running_loop().time()
        values = single_arguments(append, moment, patience=patience)
        rows = await connection.fetch(self._database.sql["append_one"], *values)
        event = recorded_single(append, rows[0])
        if event is not None:
            self._on_event_appended(event, began)
        return read_results([append], rows)

    def _recorded_at(self) -> datetime | None:
        if self._clock is None:
            return None
        now = self._clock.now()
        self._last_recorded_at = max(now, self._last_recorded_at or now)
        return self._last_recorded_at


class _SendAttempt:
    """What is known of an append that may have to be sent several times.

    Attributes:
        sent: it is under way, or was when the connection was lost.
        unsettled: it was lost on its way, and may have been written then.
        look_up: the server is to look for its ids first.
    """

    def __init__(self, where: str, *, unsettled: bool = False) -> None:
        self.sent = False
        self.outcome_unknown = unsettled
        self.check_ids = False
        self._location = where
        self._start = time.monotonic()
        self._lost_since: float | None = None
        self._retries = 0

    def retry(self, *, look_up: bool = False) -> None:
        """Send it again at once: the server took it back, and said why."""
        self.sent = False
        self._retries += 1
        self.check_ids = self.check_ids or look_up
        if self._retries > MAX_RETRIES:
            text = f"{self._location}: an append met others {MAX_RETRIES} times. Try again."
            raise StoreUnavailable(text, self._outcome)

    def wait_for_lock(self, problem: Exception) -> None:
        """Send it again, unless it has waited long enough."""
        self.sent = False
        if time.monotonic() - self._start >= TOTAL_LOCK_TIMEOUT_S:
            raise self.failure(problem) from problem

    async def wait_for_server(self, problem: Exception) -> None:
        """Pause before it is sent again, unless the server has been away for too long."""
        self.outcome_unknown = self.outcome_unknown or self.sent
        self.sent = False
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        if now - self._lost_since >= RECONNECT_TIMEOUT_S or now - self._start >= RESPONSE_TIMEOUT_S:
            raise self.failure(problem) from problem
        await asyncio.sleep(min(0.5, 0.02 + (now - self._lost_since) / 4))

    def failure(self, problem: Exception) -> Exception:
        """What the caller is told when it ends with this problem."""
        if isinstance(problem, PostgresError) or is_connection_lost(problem):
            return map_error(problem, self._location, self._outcome)
        if isinstance(problem, StoreUnavailable) and self.outcome_unknown:
            why = str(problem).removesuffix(" Nothing was written.")
            return StoreUnavailable(f"the connection was lost during the append, and then: {why}", "unknown")
        return problem

    @property
    def _outcome(self) -> Literal["not_written", "unknown"]:
        return "unknown" if self.outcome_unknown else "not_written"


def _first_event_id(append: Append) -> str:
    return append[0][0].events[0].id


def _split_into_calls(requests: Sequence[PendingAppend]) -> list[tuple[list[Append], bool]]:
    """Requests as calls, in order, each with whether its appends are stored one after another.

    An append of several streams stands alone, and so does one beside which there is another that it depends on.
    """
    together: list[list[Append]] = [[]]
    conditions = any(request.condition is not None for request in requests)
    for request in requests:
        append = (request.writes, request.condition)
        last = together[-1]
        if last and (len(request.writes) > 1 or len(last[0][0]) > 1 or (conditions and may_conflict(append, last))):
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
