"""What the processors of a subscription share in this process, such as its reader and the outage that they wait for."""

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from typing import Final

import msgspec

from fait._broker_errors import BrokerUnavailable
from fait._clock import Clock
from fait._errors import CheckpointMismatch, DefinitionChanged, FaitError, StoreUnavailable, Unavailable
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


class SubscriptionRun:
    """What the processors of a subscription share in this process.

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
        error: the error because of which processors wait, or were refused a lease; None if there is none.
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
        self.error: Exception | None = None
        self.is_paused = False
        self.rests_until = 0.0
        self.is_reported = False
        self.is_alive: Callable[[], bool] = lambda: True
        self._numbers = count()
        self._began: dict[int, float] = {}  # monotonic times of the calls that run, the oldest one first
        self._outages = 0
        self._outage_at = self._logged_at = clock.now()
        self._logged = set[type[Exception]]()  # the types of errors that are logged since it began
        self._without_key: dict[RangeKey, tuple[str, int]] = {}  # the last event whose key is unknown, with attempts
        self._of_event: Exception | None = None  # the last error of such an event

    @property
    def is_refused(self) -> bool:
        """Whether the last lease was refused for a reason that concerns all ranges."""
        return self.is_paused or isinstance(self.error, DefinitionChanged | CheckpointMismatch)

    @property
    def has_read_error(self) -> bool:
        """Whether the error may be one of reading events. Otherwise another range may have it."""
        # fault: outage-of-the-store-shown-until-an-event
        return isinstance(self.error, StoreUnavailable) or (self.error is not None and self.definition.is_received)

    def _open_log(self, lease: Lease) -> EventSource:
        return LogSource(self.store.log, self._reader, lease, by_stream=self.definition.order_key == "stream")

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

    def begin_outage(self, error: Exception) -> float:
        """Take note of an error that is not that of an event. Returns after how many seconds to try again."""
        self.error, self.is_reported = error, False
        self._outages += 1
        if self._outages == 1:
            self._outage_at = self.clock.now()
        policy = self.definition.policy if error is self._of_event else OUTAGE_POLICY
        delay_s = policy.delay_s(self._outages)
        if isinstance(error, Unavailable) and error.retry_after_s is not None:
            delay_s = max(0.0, error.retry_after_s)
        self._log_outage(error, delay_s)
        return delay_s

    def count_without_key(self, range: RangeKey, event: RecordedEvent, error: Exception) -> int:
        """Return the number of attempts of this process at an event of a range whose key is unknown, with this one."""
        last, attempts = self._without_key.get(range, ("", 0))
        attempts = attempts + 1 if last == event.id else 1
        self._without_key[range], self._of_event = (event.id, attempts), error
        return attempts

    def _log_outage(self, error: Exception, delay_s: float) -> None:
        """Log an outage once, whatever errors report it, and any other error once for each type.

        Errors of fait, and those that the policy names, say all that is to be done without a traceback.
        """
        # fault: named-outage-logged-as-an-error
        is_expected = isinstance(error, BrokerUnavailable) or self._is_outage(error)
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
            delay_s, self.definition.name, self._outages,
            described.with_traceback() if has_traceback else str(described),
        )  # fmt: skip

    def _is_outage(self, error: Exception) -> bool:
        """Whether the user has named an error as an outage."""
        try:
            return is_outage(error, self.definition.policy)
        except Exception:  # the function of the policy, which may expect errors of handlers only
            return False

    def end_outage(self) -> None:
        """Take note of progress, of this worker or of others."""
        if self._logged:
            waited_s = (self.clock.now() - self._logged_at).total_seconds()
            logger.warning("subscription continues after %.1f s: subscription=%s", waited_s, self.definition.name)
        self._logged.clear()
        self.forget_outage()

    def forget_outage(self) -> None:
        """Take note that the outage concerns other workers now, which may still wait."""
        self.error, self._of_event, self._outages = None, None, 0

    def retry_at_once(self) -> None:
        """Take note that an operator may have removed the cause of the outage."""
        self.rests_until, self.is_reported, self._outages = 0.0, False, 0

    def describe_outage(self) -> str:
        """Return the outage as JSON text, for other processes."""
        assert self.error is not None
        return msgspec.json.encode(
            describe_outage(self.error, self._outage_at, self.definition.policy.messages)
        ).decode()
