"""The treatment of an event that cannot be handled: retries with exponential back-off and jitter, then parking."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal, cast

from msgspec import Struct

from fait._arguments import is_number
from fait._broker_errors import MalformedMessage, MessageRefused
from fait._errors import DeclarationError, EventTooNew, StoreUnavailable, Unavailable
from fait._events.envelope import RecordedEvent
from fait._store.ports.failures import FailureState, KeyFailure
from fait._store.ports.leases import Outage
from fait._store.ports.registrations import slot_of
from fait._subscriptions.error_text import Messages, describe_error
from fait._telemetry import logger

__all__ = [
    "MAX_PARKED_KEYS",
    "PARK_AT_ONCE",
    "FailureAction",
    "FailurePolicy",
    "as_exception",
    "check_policy",
    "describe_failure",
    "describe_outage",
    "ends_task",
    "is_outage",
    "must_wait",
    "needs_newer_code",
]

FailureAction = Literal["retry", "park", "stop", "skip"]
"""The action that follows a failure of an event."""

MAX_PARKED_KEYS: Final = 100
"""Number of parked keys at which a subscription is paused: not some events are wrong, but probably the handler."""

Outages = tuple[type[BaseException], ...] | Callable[[BaseException], bool]


class FailurePolicy(Struct, frozen=True):
    """The treatment of an event that a subscription failed to handle.

    It is the `on_failure` of a handler, a consumer, a relay or a read model. The event is handled again after a delay.
    The upper bound of the delay doubles with each consecutive failure, and the delay is chosen at random between half
    of the bound and the bound. Later events with the same order key (such as those of the same stream) wait, while all
    other events are handled.

    These errors are no failure of an event and count as no attempt, also if a handler raises them: `StoreUnavailable`,
    `Unavailable`, the errors named by `outages`, and `EventTooNew` of an event that only newer code can handle, unless
    `too_new="skip"`. The whole subscription waits then.

    The key of an event may be unknown: `key_of` of a read model or `key=` of a relay fails, or the event that they need
    cannot be decoded. Any key may be concerned then, so none can be parked. The whole subscription waits, and tries the
    event again after the same delays. "stop" and "skip" follow the last attempt of a process.

    An event of a type that the app does not declare is no failure either. A subscription, also one that is rebuilt,
    reads only events of the types that it handles, under all their stored names; it passes all others without decoding
    them. A handler of `Untyped` gets the events of all undeclared types. Folds do not skip: loading a stream with an
    event of an undeclared type raises `UnknownEventType`, unless `evolve` handles `Untyped`.

    Attributes:
        initial_s: maximum delay after the first failure, in seconds.
        max_s: maximum delay after any number of failures, in seconds.
        attempts: maximum number of attempts at an event, in all processes; by default the last one is 4 to 5 minutes
            after the first. None: until one succeeds.
        then: what follows the last attempt. "park": the event and all later ones of its key are set aside, until
            `fait parked redrive` or `fait parked discard`. "stop": the subscription is paused for all processes, until
            `fait resume`. "skip": the event is logged as an error and counts as handled. A malformed message of a
            consumer is parked at once, whatever `then` is. A message that the broker of a relay can never accept is not
            tried again: `then` follows at once.
        too_new: what follows `EventTooNew`. "wait": the subscription waits until a process with newer code handles the
            event. "skip": as for `then`, immediately. An event type that only a newer version of the app handles is
            never skipped.
        outages: further errors that mean that a service is unavailable: classes, or a function that recognizes them.
            `MalformedMessage` and `MessageRefused` are never one.
        messages: what is stored and logged of the text of an error. "mask": at most 1,024 characters, in which what
            looks like a secret is masked. "hide": nothing; only the type, the place and the code that raised it.

    Raises:
        DeclarationError: a value has another type or is out of range, or `then` has no effect without `attempts`.
    """

    initial_s: float = 0.1
    max_s: float = 30.0
    attempts: int | None = 20
    then: Literal["park", "stop", "skip"] = "park"
    too_new: Literal["wait", "skip"] = "wait"
    outages: Outages = ()
    messages: Messages = "mask"

    def __post_init__(self) -> None:
        if not all(is_number(each) and 0 <= each < float("inf") for each in (self.initial_s, self.max_s)):
            raise DeclarationError(
                "the delays of a FailurePolicy are seconds, 0 or more: "
                f"initial_s={self.initial_s!r}, max_s={self.max_s!r}"
            )
        attempts: Any = self.attempts
        if attempts is not None and not (isinstance(attempts, int) and is_number(attempts) and attempts >= 1):
            raise DeclarationError(f"a FailurePolicy needs at least 1 attempt, or None for no limit: {attempts!r}")
        if self.then not in ("park", "stop", "skip"):
            raise DeclarationError(f"a FailurePolicy's then= is 'park', 'stop' or 'skip', not {self.then!r}")
        if self.too_new not in ("wait", "skip"):
            raise DeclarationError(f"a FailurePolicy's too_new= is 'wait' or 'skip', not {self.too_new!r}")
        if self.messages not in ("mask", "hide"):
            raise DeclarationError(f"a FailurePolicy's messages= is 'mask' or 'hide', not {self.messages!r}")
        if attempts is None and self.then == "skip":
            raise DeclarationError("FailurePolicy(then='skip') needs attempts=, the number of attempts before the skip")
        _check_outages(self.outages)

    def delay_s(self, failures: int) -> float:
        """Return a random delay in seconds.

        Args:
            failures: number of consecutive failures, at least 1.
        """
        import random  # slow to import, and only needed after a failure

        bound = min(self.max_s, self.initial_s * 2 ** min(failures - 1, 32))
        return random.uniform(bound / 2, bound)  # noqa: S311 - not a secret

    def action(self, failures: int) -> FailureAction:
        """Return what follows a number of consecutive failures of an event."""
        # fault: reactor-stops-retrying
        return "retry" if self.attempts is None or failures < self.attempts else self.then


def _check_outages(outages: Any) -> None:
    classes = cast("tuple[Any, ...]", outages) if isinstance(outages, tuple) else ()
    are_classes = all(isinstance(each, type) and issubclass(each, BaseException) for each in classes)
    is_function = not isinstance(outages, tuple | type) and callable(cast("object", outages))
    if not (is_function or (isinstance(outages, tuple) and are_classes)):
        raise DeclarationError(
            "a FailurePolicy's outages= is a tuple of exception classes, or a function that takes an exception; got "
            f"{outages!r}"
        )


PARK_AT_ONCE: Final = FailurePolicy(attempts=1)
"""The default of read models and relays: what fails once fails again, as long as the code is the same."""


def check_policy(declaration: str, policy: Any) -> None:
    """Raise `DeclarationError` if `on_failure` of a declaration is no policy.

    Args:
        declaration: kind and name of what is declared, for the error.
        policy: the value of `on_failure`.
    """
    if not isinstance(policy, FailurePolicy):
        raise DeclarationError(
            f"{declaration}: on_failure must be a FailurePolicy, such as fait.FailurePolicy(attempts=5, "
            f"then='skip'); got {policy!r}"
        )


def as_exception(error: BaseException) -> Exception:
    """Return an error that the code of the app raised as one that can be a failure of its event."""
    if isinstance(error, Exception):
        return error
    raised = RuntimeError(f"the code of the app raised {error!r}")
    raised.__cause__ = error
    return raised


def ends_task(error: BaseException) -> bool:
    """Return whether an error asks the current task to end: it was canceled, or Ctrl-C was pressed.

    A `CancelledError` that the code of the app raises, or a `SystemExit`, is an error like any other. If it ended the
    worker, it would end one worker after the other.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and bool(task.cancelling())
    return isinstance(error, KeyboardInterrupt)


def is_outage(error: BaseException, policy: FailurePolicy) -> bool:
    """Return whether an error says that a service is unavailable, so that it is no failure of an event."""
    if isinstance(error, StoreUnavailable | Unavailable):
        return True
    # fault: malformed-message-is-an-outage
    # fault: refused-message-is-an-outage
    if isinstance(error, MalformedMessage | MessageRefused):
        return False
    outages = policy.outages
    if isinstance(outages, tuple):
        return isinstance(error, outages)
    try:
        return bool(outages(error))
    except Exception as error_of_policy:  # it may expect errors of a service only
        logger.error(
            "outages= of a policy has failed, so that an error is no outage: error=%s",
            describe_error(error_of_policy, policy.messages),
        )
        # fault: error-of-outages-stops-the-subscription
        return False


def must_wait(error: BaseException, policy: FailurePolicy) -> bool:
    """Return whether the whole subscription waits after an error, because it is no failure of its event."""
    # fault: outage-counts-as-attempt
    return (isinstance(error, EventTooNew) and policy.too_new == "wait") or is_outage(error, policy)


def needs_newer_code(subscription: str, event: RecordedEvent) -> EventTooNew:
    """Return the error of an event whose type only another version of the app handles."""
    reason = (
        f"another version of the app has declared that {subscription!r} handles it. Deploy it, or open the app with "
        f"accept=[{subscription!r}] to no longer handle it"
    )
    return EventTooNew(event.stream, event.version, event.type, reason)


def describe_failure(
    error: BaseException,
    event: RecordedEvent,
    key: str,
    previous: KeyFailure | None,
    state: FailureState,
    *,
    subscription: str,
    generation: int,
    now: datetime,
    messages: Messages = "mask",
) -> KeyFailure:
    """Return the failure of a key after an error.

    Args:
        error: the error. Its text is shortened, and what looks like a secret is removed. No local variable is kept.
        event: the event that failed.
        key: its order key.
        previous: the failure so far.
        state: the new state.
        subscription: name of the subscription.
        generation: number of its generation.
        now: current time.
        messages: what is kept of its text.
    """
    # fault: attempts-forgotten
    attempts = previous.attempts if previous and previous.event_id == event.id else 0
    described = describe_error(error, messages)
    return KeyFailure(
        subscription=subscription, generation=generation, key=key, slot=slot_of(key), state=state,
        next_position=event.position, attempts=attempts + 1, stream=event.stream,
        event_id=event.id, event_type=event.type,
        first_failed_at=previous.first_failed_at if previous else now, last_failed_at=now,
        error_type=described.type, error=described.text, location=described.location, traceback=described.traceback,
    )  # fmt: skip


def describe_outage(error: BaseException, now: datetime, messages: Messages = "mask") -> Outage:
    """Return what other processes may know of an error that makes a whole subscription wait, from now on."""
    described = describe_error(error, messages)
    return Outage(now, described.type, described.text, described.location)
