"""State that the processors of a subscription share in this process, such as its reader and its outages."""

import asyncio
import logging
from collections.abc import Callable, Container
from datetime import datetime
from itertools import count
from typing import Final

import msgspec
from msgspec import Struct

from fait._broker_errors import BrokerUnavailable
from fait._clock import Clock
from fait._errors import CheckpointMismatch, DefinitionChanged, FaitError, Unavailable
from fait._events.envelope import RecordedEvent
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Store
from fait._subscriptions.error_text import describe_error
from fait._subscriptions.event_source import EventSource, LogSource, OpenSource
from fait._subscriptions.failure import FailurePolicy, describe_outage, is_outage
from fait._subscriptions.page_reader import PageReader
from fait._subscriptions.subscription import Subscription
from fait._telemetry import logger

__all__ = ["SubscriptionRun"]

OUTAGE_POLICY: Final = FailurePolicy()
"""Delays between attempts to use what is unavailable."""


class _RangeOutage(Struct, eq=False):
    """Why a range waits, since when, and after how many attempts."""

    error: Exception
    began_at: datetime
    attempts: int = 0


class _EventWithoutKey(Struct, eq=False):
    """Attempts at an event whose key is unknown, with the last error."""

    event_id: str
    attempts: int
    error: Exception


class SubscriptionRun:
    """State that the processors of a subscription share in this process.

    Args:
        subscription: handles the events.
        store: the store of the log and of the ranges.
        worker: id of this process, for its leases.
        lease_s: duration of a lease, in seconds.
        clock: current time, for the times of failures.
        open_source: where events come from, if not from the log.

    Attributes:
        definition: the definition of the subscription.
        open_source: returns the source of the events of a range.
        calls: limits the number of calls at the same time.
        failing_keys: keys that have failed since an event was last handled.
        owned: the ranges for which processors have a lease.
        refusal: the error because of which a lease was refused, or a processor has ended; None if there is none.
        is_paused: whether a lease was refused because an operator has paused the subscription.
        rests_until: monotonic time before which this process takes no range, as it makes no progress.
        is_reported: whether the health of a range says why this process waits.
        is_alive: returns whether the heartbeat of this worker is recent enough to begin a call.
    """

    def __init__(
        self,
        subscription: Subscription,
        store: Store,
        worker: str,
        lease_s: float,
        clock: Clock,
        open_source: OpenSource | None = None,
    ) -> None:
        self.subscription = subscription
        self.definition = subscription.definition
        self.store = store
        self.worker = worker
        self.lease_s = lease_s
        self.clock = clock
        self.open_source = open_source or self._open_log
        self._reader = PageReader(store.log, subscription.key_of)
        self.calls = asyncio.Semaphore(self.definition.concurrency)
        self.failing_keys = set[str]()
        self.owned = set[RangeKey]()
        self.refusal: Exception | None = None
        self.is_paused = False
        self.rests_until = 0.0
        self.is_reported = False
        self.is_alive: Callable[[], bool] = lambda: True
        self._numbers = count()
        self._began: dict[int, float] = {}  # monotonic times of the calls that run, the oldest one first
        self._outages: dict[RangeKey, _RangeOutage] = {}  # the last one began or continued last
        self._logged_at = clock.now()
        self._logged = set[type[Exception]]()  # the types of errors that are logged since it began
        self._without_key: dict[RangeKey, _EventWithoutKey] = {}  # the last event of which any key may be concerned

    @property
    def is_refused(self) -> bool:
        """Whether the last lease was refused for a reason that concerns all ranges."""
        return self.is_paused or isinstance(self.refusal, DefinitionChanged | CheckpointMismatch)

    @property
    def error(self) -> Exception | None:
        """The error because of which a range waits, or was refused; None if there is none."""
        last = next(reversed(self._outages.values()), None)
        return self.refusal if last is None else last.error

    @property
    def makes_no_progress(self) -> bool:
        """Whether all ranges of this process wait because of outages."""
        # fault: outage-of-one-range-stops-all
        return self.owned <= self._outages.keys()

    def refuse(self, refusal: Exception) -> None:
        """Show why no range can be acquired, and log it once."""
        if type(refusal) is not type(self.refusal):
            logger.warning("subscription waits: subscription=%s error=%s", self.definition.name, refusal)
            self.refusal = refusal

    def refuse_retired(self) -> None:
        """Show that the subscription is no longer registered: the store has no range of it."""
        self.is_paused = False
        self.keep_outages(())
        reason = "it was renamed or forgotten while the subscription was running; see fait actions"
        advice = "Restart this process with the code that the others run."
        self.refuse(CheckpointMismatch(self.definition.name, reason, advice))

    def outage_error(self, range: RangeKey) -> Exception | None:
        """Return the error because of which a range waits; None if it does not."""
        outage = self._outages.get(range)
        # fault: outage-of-the-store-shown-until-an-event
        return None if outage is None else outage.error

    def _open_log(self, lease: Lease) -> EventSource:
        return LogSource(self.store, self._reader, lease, by_stream=self.definition.order_key == "stream")

    def begin_call(self) -> int:
        """Let others know for how long a call of the subscription runs. Returns its number, for `end_call`."""
        number = next(self._numbers)
        # fault: hung-call-not-told
        self._began[number] = self.clock.monotonic()
        return number

    def end_call(self, number: int) -> None:
        """Take note that a call has ended."""
        del self._began[number]

    @property
    def oldest_call_s(self) -> float:
        """For how many seconds the oldest call has run; 0.0 if none runs."""
        now = self.clock.monotonic()
        return now - next(iter(self._began.values()), now)

    def begin_outage(self, range: RangeKey, error: Exception) -> float:
        """Take note of an error of a range that is not that of an event. Returns after how many seconds to try again.

        Each range has outages of its own: those of several count once, and the progress of one does not end another's.
        """
        # fault: outage-counts-once-for-each-range
        outage = self._outages.pop(range, None) or _RangeOutage(error, self.clock.now())
        self._outages[range] = outage
        outage.error, self.is_reported = error, False
        outage.attempts += 1
        policy = self.definition.policy if self._is_of_event(range, error) else OUTAGE_POLICY
        delay_s = policy.delay_s(outage.attempts)
        if isinstance(error, Unavailable) and error.retry_after_s is not None:
            delay_s = max(0.0, error.retry_after_s)
        self._log_outage(error, delay_s, outage.attempts)
        return delay_s

    def count_without_key(self, range: RangeKey, event: RecordedEvent, error: Exception) -> int:
        """Return the number of attempts of this process at an event of a range whose key is unknown, with this one."""
        last = self._without_key.get(range)
        attempts = last.attempts + 1 if last is not None and last.event_id == event.id else 1
        self._without_key[range] = _EventWithoutKey(event.id, attempts, error)
        return attempts

    def _is_of_event(self, range: RangeKey, error: Exception) -> bool:
        last = self._without_key.get(range)
        return last is not None and last.error is error

    def _log_outage(self, error: Exception, delay_s: float, attempts: int) -> None:
        """Log an outage once, whatever errors report it, and any other error once for each type.

        Errors of fait, and those that the policy names, say all that is to be done without a traceback.
        """
        # fault: named-outage-logged-as-an-error
        is_expected = isinstance(error, BrokerUnavailable) or is_outage(error, self.definition.policy)
        kind = Unavailable if is_expected else type(error)
        # fault: each-attempt-in-an-outage-logged
        level = logging.DEBUG if kind in self._logged else logging.WARNING if is_expected else logging.ERROR
        if not self._logged:
            self._logged_at = self.clock.now()
        self._logged.add(kind)
        has_traceback = not (is_expected or isinstance(error, FaitError) or level == logging.DEBUG)
        described = describe_error(error, self.definition.policy.messages)
        logger.log(
            level,
            "subscription waits, retrying in %.2f s: subscription=%s failures=%d error=%s",
            delay_s, self.definition.name, attempts,
            described.with_traceback() if has_traceback else str(described),
        )  # fmt: skip

    def end_outage(self, range: RangeKey) -> None:
        """Take note of progress in a range."""
        self.refusal = None
        # fault: outage-ended-by-another-range
        if self._outages.pop(range, None) is not None and not self._outages:
            self.end_outages()

    def end_outages(self) -> None:
        """Take note that no range waits, of this worker or of others."""
        if self._logged:
            waited_s = (self.clock.now() - self._logged_at).total_seconds()
            logger.warning("subscription continues after %.1f s: subscription=%s", waited_s, self.definition.name)
        self._logged.clear()
        self.forget_outages()

    def forget_outages(self) -> None:
        """Take note that the outages concern other workers now, which may still wait."""
        self.refusal = None
        self._outages.clear()

    def keep_outages(self, ranges: Container[RangeKey]) -> None:
        """Forget the outages of all ranges but these: other workers own them, or they were split or merged."""
        self._outages = {key: each for key, each in self._outages.items() if key in ranges}

    def retry_at_once(self) -> None:
        """Take note that an operator may have removed the cause of the outage."""
        self.rests_until, self.is_reported = 0.0, False
        for each in self._outages.values():
            each.attempts = 0

    def describe_outage(self, range: RangeKey) -> str:
        """Return the outage of a range as JSON text, for other processes."""
        outage = self._outages[range]
        return msgspec.json.encode(
            describe_outage(outage.error, outage.began_at, self.definition.policy.messages)
        ).decode()
