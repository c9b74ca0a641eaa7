"""What happens when an event cannot be handled: retries with exponential back-off and jitter, then a stop or a skip."""

from typing import Any, Literal

from msgspec import Struct

from fait._arguments import is_number
from fait._errors import DeclarationError

__all__ = ["FailureAction", "FailurePolicy", "Failures"]

FailureAction = Literal["retry", "stop", "skip"]
"""What follows a failure of an event."""


class FailurePolicy(Struct, frozen=True):
    """What a subscription does with an event that it failed to handle.

    The event is handled again after a delay. The upper bound of the delay doubles with each consecutive failure, and
    the delay is chosen at random between half of the bound and the bound. Later events wait.

    Two errors are no failure of an event and count as no attempt, also if a handler raises them: `StoreUnavailable`,
    and `EventTooNew` of an event that only newer code can handle, unless `too_new="skip"`.

    An event of a type that the app does not declare is no failure either. A subscription, also one that is rebuilt,
    reads only events of the types that it handles, under all their stored names; it passes all others without decoding
    them. A handler of `Untyped` gets the events of all undeclared types. Folds do not skip: loading a stream with an
    event of an undeclared type raises `UnknownEventType`, unless `evolve` handles `Untyped`.

    Attributes:
        initial_s: maximum delay after the first failure, in seconds.
        max_s: maximum delay after any number of failures, in seconds.
        attempts: maximum number of attempts at an event in one process; None: until one succeeds. A batch that fails as
            a whole is no attempt at one of its events.
        then: what follows the last attempt. "stop": the subscription stops in this process until the app is opened
            again or its read model is rebuilt. "skip": the event is logged as an error and counts as handled.
        too_new: what follows `EventTooNew`. "wait": the subscription waits until a process with newer code handles the
            event. "skip": as for `then`, immediately. An event type that only a newer version of the app handles is
            never skipped.

    Raises:
        DeclarationError: a value has another type or is out of range, or `then="skip"` has no `attempts`.
    """

    initial_s: float = 0.1
    max_s: float = 30.0
    attempts: int | None = None
    then: Literal["stop", "skip"] = "stop"
    too_new: Literal["wait", "skip"] = "wait"

    def __post_init__(self) -> None:
        if not all(is_number(each) and 0 <= each < float("inf") for each in (self.initial_s, self.max_s)):
            raise DeclarationError(
                "the delays of a FailurePolicy are seconds, 0 or more: "
                f"initial_s={self.initial_s!r}, max_s={self.max_s!r}"
            )
        attempts: Any = self.attempts
        if attempts is not None and not (isinstance(attempts, int) and is_number(attempts) and attempts >= 1):
            raise DeclarationError(f"a FailurePolicy needs at least 1 attempt, or None for no limit: {attempts!r}")
        if self.then not in ("stop", "skip"):
            raise DeclarationError(f"a FailurePolicy's then= is 'stop' or 'skip', not {self.then!r}")
        if self.too_new not in ("wait", "skip"):
            raise DeclarationError(f"a FailurePolicy's too_new= is 'wait' or 'skip', not {self.too_new!r}")
        if attempts is None and self.then == "skip":
            raise DeclarationError("FailurePolicy(then='skip') needs attempts=, the number of attempts before the skip")

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


class Failures:
    """Counts consecutive failures in one process: of one event, and of the store. They outlast a lost lease.

    Attributes:
        delay_s: delay before the next attempt.
        outages: number of consecutive failures of the store.
        conflicts: number of consecutive records that were in conflict with appends of others.
    """

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.outages = self.conflicts = 0
        self._position = self._number = 0  # of the event that failed last

    def attempt(self, position: int) -> int:
        """Return the number of the next attempt at an event: 1, and one more after each failure."""
        return self._number + 1 if position == self._position else 1

    def count(self, position: int, policy: FailurePolicy) -> tuple[int, FailureAction]:
        """Count a failure of an event. Returns the number of its consecutive failures, and what follows."""
        self._number = self.attempt(position)
        self._position = position
        self.delay_s = policy.delay_s(self._number)
        return self._number, policy.action(self._number)

    def count_outage(self, policy: FailurePolicy) -> int:
        """Count a failure of the store, and return the number of consecutive ones."""
        self.outages += 1
        self.delay_s = policy.delay_s(self.outages)
        return self.outages
