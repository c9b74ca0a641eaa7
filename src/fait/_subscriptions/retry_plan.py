"""What follows when an event of a key has failed: the key is retried later or parked, or the subscription is paused."""

import logging
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from fait._broker_errors import MalformedMessage
from fait._errors import EventTooNew, Unavailable
from fait._store.ports.failures import KeyFailure
from fait._subscriptions.error_text import describe_error, name_of_type
from fait._subscriptions.failure import MAX_PARKED_KEYS, FailureAction, describe_failure
from fait._subscriptions.lane import RangeLane
from fait._subscriptions.subscription import FailedKey
from fait._subscriptions.subscription_run import SubscriptionRun
from fait._telemetry import logger

__all__ = ["RetryPlan"]

MAX_FAILURES_IN_A_ROW: Final = 20
"""Number of different keys that fail one after another at which the whole subscription waits, as in an outage."""

_LOG_WORDS: Final[Mapping[FailureAction, str]] = {
    "retry": "retrying in {:.2f} s",
    "park": "parked",
    "stop": "stopped",
    "skip": "skipped",
}


class RetryPlan:
    """When the failing keys of a range are tried again, by the failure policy of the subscription.

    Args:
        run: what the processors of the subscription share.
        lane: the events of the range.

    Attributes:
        due: monotonic time from which a key is tried again, by key. It has no parked keys, unless they are redriven.
        pause: why the subscription has been paused; "" if it has not.
        outage: the error, if so many keys have failed that this is probably no fault of their events.
    """

    def __init__(self, run: SubscriptionRun, lane: RangeLane) -> None:
        self.due = {key: 0.0 for key, each in lane.failures.items() if each.state != "parked"}
        self.pause = ""
        self.outage: Unavailable | None = None
        self._run = run
        self._lane = lane
        self._definition = run.definition

    def failure_of(self, failed: FailedKey, previous: KeyFailure | None) -> tuple[KeyFailure, FailureAction]:
        """Return the failure of a key after an error, and what follows."""
        policy = self._definition.policy
        failure = describe_failure(
            failed.error, failed.event, failed.key, previous, "retrying",
            subscription=self._definition.name, generation=self._lane.lease.key.generation, now=self._run.clock.now(),
            messages=policy.messages,
        )  # fmt: skip
        action = self._action(failed, failure.attempts)
        if isinstance(failed.error, EventTooNew) and policy.too_new == "skip":
            action = "skip"
        # fault: redriven-key-retried
        elif previous is not None and previous.requested_by:
            action = "park"
        return (replace(failure, state="parked"), action) if action == "park" else (failure, action)

    async def follow(self, failed: FailedKey, failure: KeyFailure | None, attempt: int) -> FailureAction:
        """Log a failure that was recorded, plan the retry, or pause the subscription.

        Args:
            failed: the key, its event and the error.
            failure: the failure; None if the event is skipped.
            attempt: number of the attempt that failed, from 1.

        Returns:
            What follows.
        """
        policy = self._definition.policy
        action = "skip" if failure is None else "park" if failure.state == "parked" else self._action(failed, attempt)
        delay_s = policy.delay_s(attempt)
        self._log(failed, action, delay_s, attempt)
        if action == "skip":
            return action
        if action == "retry":
            self.due[failed.key] = self._run.clock.monotonic() + delay_s
        reason = f"{type(failed.error).__qualname__} at event {failed.event.id}"
        if action == "stop":
            # fault: failed-subscription-keeps-lease
            await self._pause(f"the policy of {self._definition.name!r}: {reason}")
            self.pause = "its policy paused the subscription"
        # A stranger can write any number of these. They say nothing about the handler, or a service that it uses.
        # fault: malformed-messages-stop-the-consumer
        if isinstance(failed.error, MalformedMessage):
            return action
        if action == "park" and await self._parked() >= MAX_PARKED_KEYS:
            await self._pause(f"{MAX_PARKED_KEYS} parked keys: {reason}")
            self.pause = "too many keys are parked"
        self._count_in_a_row(failed)
        return action

    def _action(self, failed: FailedKey, attempt: int) -> FailureAction:
        """Return what follows an attempt.

        A malformed message stays malformed, so it is not tried again. Any program can write one: it neither pauses the
        consumer (`then="stop"`) nor is dropped (`then="skip"`).
        """
        # fault: malformed-message-follows-the-policy
        if isinstance(failed.error, MalformedMessage):
            return "park"
        return self._definition.policy.action(attempt)

    def _log(self, failed: FailedKey, action: FailureAction, delay_s: float, attempt: int) -> None:
        event, error = failed.event, describe_error(failed.error, self._definition.policy.messages)
        # fault: secrets-logged
        text = error.with_traceback() if attempt == 1 or action != "retry" else str(error)
        logger.log(
            logging.WARNING if action == "retry" else logging.ERROR,
            "event failed, %s: subscription=%s position=%d stream=%s type=%s event_id=%s attempt=%d error=%s",
            _LOG_WORDS[action].format(delay_s), self._definition.name, event.position, event.stream, event.type,
            event.id, attempt, text,
        )  # fmt: skip

    async def _pause(self, reason: str) -> None:
        await self._run.store.registrations.pause(self._definition.name, by="fait", reason=reason)

    async def _parked(self) -> int:
        """Return the number of parked keys in all ranges, apart from those of malformed messages."""
        failures = await self._run.store.failures.failures(self._definition.name)
        malformed = name_of_type(MalformedMessage)
        # fault: parked-malformed-messages-pause-the-consumer
        return sum(each.state == "parked" and each.error_type != malformed for each in failures)

    def _count_in_a_row(self, failed: FailedKey) -> None:
        """Wait with the whole subscription if many keys fail. After the wait, the next failure suffices."""
        failing_keys = self._run.failing_keys
        failing_keys.add(failed.key)
        # fault: whole-log-is-parked
        if len(failing_keys) >= MAX_FAILURES_IN_A_ROW:
            self.outage = Unavailable(
                f"{len(failing_keys)} keys of {self._definition.name!r} have failed one after another, the last "
                f"one with {type(failed.error).__qualname__}: this is probably no fault of their events"
            )
