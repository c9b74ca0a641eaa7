"""The steps after the failure of an event: its key is retried later or parked, or the subscription is paused."""

import logging
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from fait._broker_errors import MalformedMessage, MessageRefused
from fait._errors import EventTooNew, Unavailable
from fait._events.envelope import RecordedEvent
from fait._store.ports.failures import KeyFailure
from fait._subscriptions.error_text import describe_error, name_of_type
from fait._subscriptions.failure import MAX_PARKED_KEYS, FailureAction, describe_failure, must_wait
from fait._subscriptions.lane import Job, RangeLane
from fait._subscriptions.subscription import FailedKey, Outcome
from fait._subscriptions.subscription_run import SubscriptionRun
from fait._telemetry import logger

__all__ = ["RetryPlan"]

MAX_FAILURES_IN_A_ROW: Final = 20
"""Number of different keys that fail one after another at which the whole subscription waits, as in an outage."""

_LOG_WORDS: Final[Mapping[FailureAction, str]] = {
    "retry": "retrying in {:.2f} s",
    "park": "parked",
    "stop": "subscription paused",
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

    def must_wait(self, outcome: Outcome, error: Exception) -> bool:
        """Whether an error is no failure of its event."""
        # fault: outage-of-broker-counts-as-attempt
        is_of_all = error is outcome.error and outcome.error_of == "all"
        return is_of_all or must_wait(error, self._definition.policy)

    def key_to_fail(self, outcome: Outcome, error: Exception, event: RecordedEvent) -> str | None:
        """Return the key that an error concerns; None if that may be any, or if all must wait."""
        if outcome.error_of == "any_key" or self.must_wait(outcome, error):
            return None
        return self._run.subscription.key_of(event)

    def next_job(self) -> Job | None:
        """Return a job for a key that is due; None if there is none, or if jobs of these keys run."""
        now = self._run.clock.monotonic()
        for key, due_at in self.due.items():
            if due_at <= now and (job := self._lane.begin(self._lane.failures[key])) is not None:
                return job
        return None

    def failure_of(self, failed: FailedKey, previous: KeyFailure | None) -> tuple[KeyFailure, FailureAction]:
        """Return the failure of a key after an error, and what follows."""
        policy = self._definition.policy
        failure = describe_failure(
            failed.error, failed.event, failed.key, previous, "retrying",
            subscription=self._definition.name, generation=self._lane.lease.key.generation, now=self._run.clock.now(),
            messages=policy.messages,
        )  # fmt: skip
        action = self._action(failed.error, failure.attempts)
        is_redriven = previous is not None and previous.requested_by and not isinstance(failed.error, EventTooNew)
        # fault: redriven-key-retried
        # fault: redriven-key-parked-against-the-policy
        if is_redriven and policy.then != "stop":
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
        action = (
            "skip" if failure is None else "park" if failure.state == "parked" else self._action(failed.error, attempt)
        )
        delay_s = policy.delay_s(attempt)
        self._log(failed.event, failed.error, action, delay_s, attempt)
        if action == "skip":
            return action
        if action == "retry":
            self.due[failed.key] = self._run.clock.monotonic() + delay_s
        if action == "stop":
            await self._stop(failed.event, failed.error)
        # A stranger can write any number of these. They say nothing about the handler, or a service that it uses.
        # fault: malformed-messages-stop-the-consumer
        if isinstance(failed.error, MalformedMessage):
            return action
        if action == "park" and await self._parked() >= MAX_PARKED_KEYS:
            await self._pause(f"{MAX_PARKED_KEYS} parked keys", failed.event, failed.error)
            self.pause = "too many keys are parked"
        self._count_in_a_row(failed)
        return action

    async def skips_without_key(self, outcome: Outcome, error: Exception, event: RecordedEvent) -> bool:
        """Decide what follows an error that concerns no certain key. None can be parked, as it may be any.

        Returns:
            Whether the event is skipped. If it is not, the subscription is paused.

        Raises:
            Exception: the error, if the whole subscription waits for the next attempt.
        """
        if self.must_wait(outcome, error):
            raise error
        attempt = self._run.count_without_key(self._lane.lease.key, event, error)
        action = self._action(error, attempt)
        if action == "skip":
            self._log(event, error, action, 0, attempt)
        elif action == "stop":
            await self._stop(event, error)
        # fault: event-without-key-never-skipped
        if action not in ("skip", "stop"):
            raise error
        return action == "skip"

    def _action(self, error: Exception, attempt: int) -> FailureAction:
        """Return what follows an attempt.

        What is certain to fail again is not tried again: a malformed message, a message that a broker can never accept,
        an event that only newer code can handle. Any program can write a malformed one: it neither pauses the consumer
        (`then="stop"`) nor is dropped (`then="skip"`).
        """
        # fault: malformed-message-follows-the-policy
        if isinstance(error, MalformedMessage):
            return "park"
        if isinstance(error, EventTooNew) and self._definition.policy.too_new == "skip":
            return "skip"
        # fault: refused-message-retried
        if isinstance(error, MessageRefused):
            return self._definition.policy.then
        return self._definition.policy.action(attempt)

    def _log(self, event: RecordedEvent, error: Exception, action: FailureAction, delay_s: float, attempt: int) -> None:
        described = describe_error(error, self._definition.policy.messages)
        # fault: secrets-logged
        text = described.with_traceback() if attempt == 1 or action != "retry" else str(described)
        logger.log(
            logging.WARNING if action == "retry" else logging.ERROR,
            "event failed, %s: subscription=%s position=%d stream=%s type=%s event_id=%s attempt=%d error=%s",
            _LOG_WORDS[action].format(delay_s), self._definition.name, event.position, event.stream, event.type,
            event.id, attempt, text,
        )  # fmt: skip

    async def _stop(self, event: RecordedEvent, error: Exception) -> None:
        # fault: failed-subscription-keeps-lease
        await self._pause(f"the policy of {self._definition.name!r}", event, error)
        self.pause = "its policy paused the subscription"

    async def _pause(self, reason: str, event: RecordedEvent, error: Exception) -> None:
        reason = f"{reason}: {type(error).__qualname__} at event {event.id}"
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
            self.outage.__cause__ = failed.error  # its line in the code of the app is the place of the outage
