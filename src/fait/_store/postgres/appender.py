"""Sends appends to the server: in batches over the sender pool, and individually if one could block the others.

An append whose connection is lost is sent again. Its events have ids, so the server recognizes a repetition, and the
outcome is certain. The outcome is unknown only if the server stays unreachable.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal

from fait._clock import Clock, SystemClock
from fait._errors import FaitError, StoreUnavailable
from fait._events.append import StreamWrite
from fait._events.envelope import RecordedEvent
from fait._store.group_commit import LOCK_TIMEOUT, AppendOutcome, LockTimeout, PendingAppend
from fait._store.ports.unit_of_work import HandlerAppend
from fait._store.postgres.append_protocol import (
    Append,
    Expected,
    appends_to_json,
    batch_arguments,
    handler_arguments,
    is_single_event,
    may_conflict,
    read_handler_result,
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
from fait._store.postgres.open_append import describe_lock_holders
from fait._store.postgres.sender_pool import SenderPool
from fait._store.recording_time import recording_time

__all__ = ["Appender"]

Outcomes = list[AppendOutcome | Exception]

BATCH_LOCK_TIMEOUT_S: Final = 0.05
"""Lock timeout of a batch. After it, the appends of the batch are retried individually, so that a lock blocks only the
appends that need it."""

RETRY_LOCK_TIMEOUT_S: Final = 0.5
"""Lock timeout of an append that is retried individually. While it waits, later requests for the lock queue behind it.
It is less than the server's `deadlock_timeout`, so that in a deadlock with a transaction of the application, the append
is the one that rolls back."""

TOTAL_LOCK_TIMEOUT_S: Final = 30.0
"""Timeout for an append on locks of other transactions, over all retries."""

RESPONSE_TIMEOUT_S: Final = 7.0
"""Timeout for a call, including lock waits; after it, the connection counts as lost, and the append is sent again.
After a second one, or if no connection can be opened, its outcome is unknown."""

MIN_BYTES_PER_S: Final = 250_000
"""Minimum throughput of a call that is not lost: large appends have a longer timeout."""

RECONNECT_TIMEOUT_S: Final = 10.0
"""Timeout for an append while the server is unreachable."""

MAX_RETRIES: Final = 20
"""Maximum number of immediate retries of an append because of concurrent appends."""

MAX_BATCHES: Final = 2
"""Maximum number of batches in flight: one is encoded while the server stores the other. With a small pool, 1."""

MAX_CONCURRENT_RETRIES: Final = 4
"""Maximum number of appends that wait for locks at a time; fewer if the pool is small. The batches in flight and one
first retry have further connections. So from a pool size of 7, one connection remains for readers; with a smaller pool,
readers may have to wait until a retry ends."""


class Appender:
    """Sends batches of appends, and retries appends.

    Belongs to the event loop in which it was created.

    Args:
        database: the database of the log.
        clock: the clock for `recorded_at`; the server's clock is used in place of the system clock.
        expected: returns what an append requires of the log. Raises if the log was moved.
        on_event_appended: called after a call that appended a single event, with the event, the time at which the call
            started, and the sum of the revisions of all registrations.

    Attributes:
        max_batches: maximum number of batches in flight.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        expected: Callable[[], Expected],
        on_event_appended: Callable[[RecordedEvent, float, int], None],
    ) -> None:
        self._database = database
        self._expected = expected
        self._on_event_appended = on_event_appended
        self._location = database.options.redacted_url
        self._clock = None if isinstance(clock, SystemClock) else clock  # None: all processes use the server's clock
        self._last_recorded_at: datetime | None = None
        self._senders = SenderPool(database)
        self.max_batches = MAX_BATCHES if database.options.pool_size > MAX_CONCURRENT_RETRIES + 1 + MAX_BATCHES else 1
        self._first_retries = asyncio.Semaphore(1)
        self._retries = asyncio.Semaphore(min(MAX_CONCURRENT_RETRIES, database.options.pool_size - 2))
        self._outcome_unknown: set[str] = set()

    async def send(self, pending: Sequence[PendingAppend]) -> Outcomes:
        """Send appends in order, in as few calls as possible. Return an outcome for each."""
        if pending[0].retry_individually:
            return await self._retry_individually((pending[0].writes, pending[0].condition), pending[0].size_bytes)
        size_bytes = sum([each.size_bytes for each in pending])
        outcomes: Outcomes = []
        for appends, sequential in _split_into_calls(pending):
            if outcomes and isinstance(outcomes[-1], StoreUnavailable):
                error = StoreUnavailable(f"{self._location} became unreachable before the append was sent.")
                outcomes += [error] * len(appends)
                continue
            try:
                outcomes += await self._send_together(appends, sequential, size_bytes)
            except StoreUnavailable as error:  # the outcomes of earlier calls are known
                outcomes += [error] * len(appends)
        return outcomes

    async def close(self) -> None:
        """Release the connections."""
        await self._senders.close()

    async def append_in(self, connection: PostgresConnection, append: HandlerAppend) -> AppendOutcome:
        """Call the append function in the transaction of a connection."""
        lock_timeout_ms = round(RETRY_LOCK_TIMEOUT_S * 1000)
        values = handler_arguments(append, self._recorded_at(), lock_timeout_ms, self._expected())
        with self._database.deadline(connection, RESPONSE_TIMEOUT_S):
            return read_handler_result(append, await connection.fetch(self._database.sql["append"], *values))

    async def append_after_move(
        self, connection: PostgresConnection, append: HandlerAppend, move: Sequence[object]
    ) -> int | None:
        """Move a range and call an append function, in one statement.

        Args:
            connection: a connection outside of a transaction.
            append: the events.
            move: the parameters of `move_range`.

        Returns:
            The position of the last event; None if the work is fenced.

        Raises:
            PostgresError: the append was rejected, or met a lock. Nothing was written.
        """
        now, lock_timeout_ms, sql = self._recorded_at(), round(BATCH_LOCK_TIMEOUT_S * 1000), self._database.sql
        if len(append.events) == 1 and not append.conditions:
            name, [(stream, event)] = "append_one_after_move", append.events
            write = StreamWrite(stream, (event,), append.expected[stream])
            values = single_arguments(([write], None), now, lock_timeout_ms=lock_timeout_ms, expected=self._expected())
        else:
            name, values = "append_after_move", handler_arguments(append, now, lock_timeout_ms, self._expected())
        statement = f"WITH moved AS ({sql['move_range'].rstrip(';')}) {sql[name]}"
        with self._database.deadline(connection, RESPONSE_TIMEOUT_S):
            [(position,)] = await connection.fetch(statement, *move, *values)
        return position

    async def _send_together(
        self, appends: Sequence[Append], sequential: bool, size_bytes: int
    ) -> Sequence[AppendOutcome | Exception]:
        """Send several appends in one call. If the server refuses it, each append is retried individually."""
        attempt = _SendAttempt(self._location, size_bytes)
        while True:
            try:
                connection = await self._senders.acquire()
                outcomes = await self._send_on(connection, appends, sequential, attempt)
            except Exception as error:
                if not is_connection_lost(error):
                    raise attempt.failure(error) from error
                await attempt.wait_for_server(error)
            else:
                return self._note_unknown_outcomes(appends, outcomes, attempt)

    async def _send_on(
        self, connection: PostgresConnection, appends: Sequence[Append], sequential: bool, attempt: "_SendAttempt"
    ) -> Sequence[AppendOutcome]:
        try:
            attempt.sent = not connection.is_closed()
            outcomes = await self._call_append(
                connection, appends, BATCH_LOCK_TIMEOUT_S, attempt, sequential=sequential
            )
        except (Exception, asyncio.CancelledError) as error:
            # After an error that is not the server's, a statement may be unfinished on the connection.
            if is_connection_lost(error) or not isinstance(error, PostgresError):
                await self._senders.discard(connection)
                raise
            outcomes = [LOCK_TIMEOUT] * len(appends)
        self._senders.release(connection)
        return outcomes

    def _note_unknown_outcomes(
        self, appends: Sequence[Append], outcomes: Sequence[AppendOutcome], attempt: "_SendAttempt"
    ) -> Sequence[AppendOutcome]:
        """Remember which appends may already have been written, for their individual retries."""
        # fault: unknown-outcome-forgotten
        if attempt.outcome_unknown:
            to_retry = (append for append, outcome in zip(appends, outcomes, strict=True) if outcome is LOCK_TIMEOUT)
            self._outcome_unknown.update(map(_first_event_id, to_retry))
        return outcomes

    async def _retry_individually(self, append: Append, size_bytes: int) -> Outcomes:
        """Send an append until it has a result. The first retry has a short lock timeout: most need not wait at all."""
        attempt = _SendAttempt(
            self._location, size_bytes, outcome_unknown=_first_event_id(append) in self._outcome_unknown
        )
        self._outcome_unknown.discard(_first_event_id(append))
        semaphore, lock_timeout_s = self._first_retries, BATCH_LOCK_TIMEOUT_S
        while True:
            try:
                async with semaphore:
                    outcome = await self._send_once(append, lock_timeout_s, attempt)
                if not isinstance(outcome, LockTimeout):
                    return [outcome]
                attempt.retry()
            except UniqueViolation:
                attempt.retry(check_ids=True)
            except RETRYABLE_ERRORS:
                attempt.retry()
            except LockNotAvailable as error:
                if attempt.is_lock_overdue():
                    raise await self._lock_timeout(attempt, error) from error
                semaphore, lock_timeout_s = self._retries, RETRY_LOCK_TIMEOUT_S
            except Exception as error:
                if not is_connection_lost(error):
                    raise attempt.failure(error) from error
                await attempt.wait_for_server(error)

    async def _lock_timeout(self, attempt: "_SendAttempt", error: Exception) -> Exception:
        """Return the exception for an append that met a lock for too long, with the sessions that may hold it."""
        failure = attempt.failure(error)
        assert isinstance(failure, StoreUnavailable)
        with suppress(FaitError):
            return StoreUnavailable(failure.reason + await describe_lock_holders(self._database), failure.outcome)
        return failure

    async def _send_once(self, append: Append, lock_timeout_s: float, attempt: "_SendAttempt") -> AppendOutcome:
        connection = await self._database.acquire()
        attempt.sent = True
        try:
            [outcome] = await self._call_append(connection, [append], lock_timeout_s, attempt)
        except (Exception, asyncio.CancelledError) as error:
            release = self._database.release if isinstance(error, PostgresError) else self._database.release_to_pool
            await (self._database.discard if is_connection_lost(error) else release)(connection)
            raise
        await self._database.release(connection)
        return outcome

    async def _call_append(
        self,
        connection: PostgresConnection,
        appends: Sequence[Append],
        lock_timeout_s: float,
        attempt: "_SendAttempt",
        *,
        sequential: bool = False,
    ) -> Sequence[AppendOutcome]:
        """Call the append function that fits. `sequential`: each append sees the events of those before it."""
        now, lock_timeout_ms, expected = self._recorded_at(), round(lock_timeout_s * 1000), self._expected()
        (writes, condition), check_ids = appends[0], attempt.check_ids
        with self._database.deadline(connection, attempt.response_timeout_s):
            if (
                condition is None
                and len(appends) == 1
                and sum(len(write.events) for write in writes) >= MIN_BULK_EVENTS
            ):
                appended = await append_bulk(connection, self._database, writes, now, lock_timeout_ms, expected)
                if appended is not None:
                    return [appended]
            if is_single_event(appends) and not check_ids:
                return await self._call_append_one(connection, appends[0], now, lock_timeout_ms, expected)
            if sequential:
                arguments = (appends_to_json(appends), now, check_ids, lock_timeout_ms, *expected)
                rows = await connection.fetch(self._database.sql["append_batch"], *arguments)
                return read_sequential_results(appends, rows)
            values = batch_arguments(
                appends, now, check_ids=check_ids, lock_timeout_ms=lock_timeout_ms, expected=expected
            )
            return read_results(appends, await connection.fetch(self._database.sql["append"], *values))

    async def _call_append_one(
        self,
        connection: PostgresConnection,
        append: Append,
        now: datetime | None,
        lock_timeout_ms: int,
        expected: Expected,
    ) -> Sequence[AppendOutcome]:
        started = asyncio.get_running_loop().time()
        values = single_arguments(append, now, lock_timeout_ms=lock_timeout_ms, expected=expected)
        rows = await connection.fetch(self._database.sql["append_one"], *values)
        event = recorded_single(append, rows[0])
        if event is not None:
            self._on_event_appended(event, started, rows[0][-1])
        return read_results([append], rows)

    def _recorded_at(self) -> datetime | None:
        if self._clock is None:
            return None
        self._last_recorded_at = recording_time(self._clock.now(), self._last_recorded_at)
        return self._last_recorded_at


class _SendAttempt:
    """The state of an append, or of a call with several, that may be sent more than once.

    Attributes:
        response_timeout_s: timeout for a response of the server.
        sent: whether it was sent to the server in this attempt.
        outcome_unknown: whether a connection was lost after it was sent, so that it may have been written.
        check_ids: whether the server must look up the event ids first.
    """

    def __init__(self, location: str, size_bytes: int, *, outcome_unknown: bool = False) -> None:
        self.response_timeout_s = RESPONSE_TIMEOUT_S + size_bytes / MIN_BYTES_PER_S
        self.sent = False
        self.outcome_unknown = outcome_unknown
        self.check_ids = False
        self._location = location
        self._start = time.monotonic()
        self._lost_since: float | None = None
        self._retries = 0

    def retry(self, *, check_ids: bool = False) -> None:
        """Prepare an immediate retry after the server rolled the append back; raise after `MAX_RETRIES`."""
        self.sent = False
        self._retries += 1
        self.check_ids = self.check_ids or check_ids
        if self._retries > MAX_RETRIES:
            raise StoreUnavailable(
                f"{self._location}: the append failed after {MAX_RETRIES} retries because of concurrent appends. "
                "Retry it.",
                self._outcome,
            )

    def is_lock_overdue(self) -> bool:
        """Prepare a retry after a lock timeout, and return whether `TOTAL_LOCK_TIMEOUT_S` has passed."""
        self.sent = False
        return time.monotonic() - self._start >= TOTAL_LOCK_TIMEOUT_S

    async def wait_for_server(self, error: Exception) -> None:
        """Back off after a lost connection; raise if the server has been unreachable for too long."""
        self.outcome_unknown = self.outcome_unknown or self.sent
        self.sent = False
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        if now - self._lost_since >= RECONNECT_TIMEOUT_S or now - self._start >= 2 * self.response_timeout_s:
            raise self.failure(error) from error
        await asyncio.sleep(min(0.5, 0.02 + (now - self._lost_since) / 4))

    def failure(self, error: Exception) -> Exception:
        """Return the exception for the caller when the append fails with an error."""
        if isinstance(error, PostgresError) or is_connection_lost(error):
            return map_error(error, self._location, self._outcome)
        if isinstance(error, StoreUnavailable) and self.outcome_unknown:
            return StoreUnavailable(
                f"the connection was lost during the append, and the retry failed: {error.reason}", "unknown"
            )
        return error

    @property
    def _outcome(self) -> Literal["not_written", "unknown"]:
        return "unknown" if self.outcome_unknown else "not_written"


def _first_event_id(append: Append) -> str:
    return append[0][0].events[0].id


def _split_into_calls(pending: Sequence[PendingAppend]) -> list[tuple[list[Append], bool]]:
    """Split appends into calls, in order; each call with whether its appends are stored sequentially.

    A call that is not sequential has one append with several streams, or appends of one stream each that cannot match
    each other's conditions.
    """
    groups: list[list[Append]] = [[]]
    has_conditions = any(each.condition is not None for each in pending)
    for each in pending:
        append, group = (each.writes, each.condition), groups[-1]
        if group and (len(each.writes) > 1 or len(group[0][0]) > 1 or (has_conditions and may_conflict(append, group))):
            groups.append([append])
        else:
            group.append(append)
    calls: list[tuple[list[Append], bool]] = []
    for appends in groups:
        if calls and len(appends) == 1 and (calls[-1][1] or len(calls[-1][0]) == 1):
            calls[-1] = (calls[-1][0] + appends, True)
        else:
            calls.append((appends, False))
    return calls
