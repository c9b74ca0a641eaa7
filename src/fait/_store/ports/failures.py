"""The port `Failures`: keys of a subscription whose events are not handled with all others.

A subscription handles events in order of their positions for each order key, such as a stream. If an event of a key
fails, the key leaves the live lane: its failure says from which position on its events are not handled, while the
events of all other keys are. Retries, parking, redrives and discards are states of the failure. When all events of the
key are handled again, the failure is removed.

    (none) ─► retrying ─► parked ─► redriving ─► (none)          only the owner of the range changes a failure,
                 │          │           │                         except for `request`, by which an operator asks for
                 └► (none)  └► discarding ─► redriving            a redrive or a discard of a parked key

During a pause no worker has the range: then an operator can request the same of a key that is retried.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

from msgspec import Struct, json

__all__ = [
    "MAX_ACTIONS",
    "REQUESTED",
    "Action",
    "FailureChange",
    "FailureRequest",
    "FailureState",
    "Failures",
    "KeyFailure",
    "are_expected",
    "is_requestable",
]

FailureState = Literal["retrying", "parked", "redriving", "discarding"]

REQUESTED: Final[frozenset[FailureState]] = frozenset({"redriving", "discarding"})
"""The states that an operator requests."""

MAX_ACTIONS: Final = 100
"""Default for the maximum number of actions that `actions` returns."""


class KeyFailure(Struct, frozen=True, kw_only=True):
    """A key whose events are not handled from a position on.

    No text contains a NUL or a surrogate, which PostgreSQL and SQLite cannot store.

    Attributes:
        subscription: name of the subscription.
        generation: number of its generation.
        key: the order key: the name of a stream, or the key of a row as JSON text, or "" if all events have one key.
        slot: hash of the key, which says to which range it belongs.
        state: "retrying": its first event is retried; "parked": it waits for an operator; "redriving": its events are
            handled again, in order; "discarding": its events up to `discard_until` are passed without handling.
        next_position: the events of the key below this position are finished, from it on they are not.
        attempts: number of attempts at the first event that failed.
        stream: stream of the event that failed.
        event_id: its id.
        event_type: its type.
        first_failed_at: time of the first failure.
        last_failed_at: time of the last failure.
        error_type: type of the last error.
        error: its text, without values of events.
        location: file, line and function where it was raised.
        traceback: its traceback.
        requested_by: user who requested the redrive or the discard; "" if there is no request.
        reason: why.
        discard_until: position up to which an operator discards the events of the key.
    """

    subscription: str
    generation: int = 1
    key: str
    slot: int
    state: FailureState
    next_position: int
    attempts: int
    stream: str
    event_id: str
    event_type: str
    first_failed_at: datetime
    last_failed_at: datetime
    error_type: str
    error: str
    location: str
    traceback: str
    requested_by: str = ""
    reason: str = ""
    discard_until: int = 0

    @property
    def shown_state(self) -> FailureState:
        """Its state as an operator sees it: without a request, a key is retried until its later events are handled."""
        # fault: retried-key-shown-as-requested
        return "retrying" if self.state == "redriving" and not self.requested_by else self.state


class FailureChange(Struct, frozen=True):
    """A change of one failure, part of a unit of work.

    Attributes:
        key: the order key.
        expected: states that the stored failure may have; empty: there must be none.
        failure: the failure afterwards, of the same key; None: it is removed.
    """

    key: str
    expected: tuple[FailureState, ...]
    failure: KeyFailure | None


def are_expected(changes: Iterable[FailureChange], states: Mapping[str, str]) -> bool:
    """Return whether all changes expect what is stored.

    Args:
        changes: the changes.
        states: state of the stored failure of each changed key that has one.
    """
    # fault: expected-state-of-failure-ignored
    return all(states[each.key] in each.expected if each.key in states else not each.expected for each in changes)


def is_requestable(failure: KeyFailure, *, paused: bool) -> bool:
    """Return whether an operator can request something of a key: it is parked, or it is retried after a pause.

    Args:
        failure: the failure of the key.
        paused: whether its subscription is paused.
    """
    # fault: retried-key-requested-in-memory
    return failure.state == "parked" or (failure.shown_state == "retrying" and paused)


class FailureRequest(Struct, frozen=True):
    """An operator's request for keys that are parked, or that are retried after a pause.

    Attributes:
        subscription: name of the subscription.
        keys: the order keys, at least one.
        state: what shall happen.
        by: who requests it.
        reason: why.
        discard_until: for "discarding": position up to which the events are discarded.
    """

    subscription: str
    keys: tuple[str, ...]
    state: Literal["redriving", "discarding"]
    by: str
    reason: str = ""
    discard_until: int = 0

    def as_action(self) -> tuple[str, str, str, str, str]:
        """Return the arguments of `Failures.record_action` for this request."""
        name = "redrive" if self.state == "redriving" else "discard"
        details = {"keys": self.keys, "discard_until": self.discard_until}
        return name, self.subscription, json.encode(details).decode(), self.by, self.reason


class Action(Struct, frozen=True):
    """An action of an operator, as it is recorded.

    Attributes:
        at: when it was recorded.
        action: what was done: "redrive", "discard", "pause", "resume", "rewind"; of a registration: "rename", "forget",
            "accept", "rebuild".
        subscription: name of the subscription.
        details: what it concerned, as JSON text.
        by: who did it.
        reason: why.
    """

    at: datetime
    action: str
    subscription: str
    details: str
    by: str
    reason: str


class Failures(Protocol):
    """The failures of a store, and the actions of operators. `fait.testing.contract` tests each guarantee below.

    Failures are written by `Recorder.record`, in the transaction of the work. Every method may raise
    `StoreUnavailable`.
    """

    async def failures(self, subscription: str | None = None) -> list[KeyFailure]:
        """Return the failures of a subscription, or of all, in order of subscription and key (code points)."""
        ...

    async def requested(self) -> list[KeyFailure]:
        """Return the failures that are "redriving" or "discarding", in the order of `failures`."""
        ...

    async def request(self, request: FailureRequest) -> int:
        """Change the state of keys for an operator, and record the action, in one transaction.

        A request is possible for a key that is parked, and for one that is "retrying" while the subscription is paused.

        Returns:
            The number of the keys for which it is possible. If it is not for all of the request, nothing was changed or
            recorded.

        Guarantees:
            Of concurrent requests for a key, one succeeds.
        """
        ...

    async def record_action(self, action: str, subscription: str, details: str, by: str, reason: str) -> None:
        """Record an action of an operator, with the current time."""
        ...

    async def actions(
        self, subscription: str | None = None, action: str | None = None, *, limit: int = MAX_ACTIONS
    ) -> Sequence[Action]:
        """Return the last actions, the latest first.

        Args:
            subscription: only those that concern this subscription; None: all.
            action: only those of this name, such as "pause"; None: all.
            limit: maximum number of actions.
        """
        ...
