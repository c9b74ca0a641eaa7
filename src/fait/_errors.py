"""Every error fait raises on purpose, in one tree.

    FaitError
    ├── DeclarationError        a class cannot be used as it is declared; raised before anything runs
    ├── MissingExtra            an optional dependency is not installed; says the install line
    ├── UsageError              a call that cannot be meant: wrong type, unknown column, closed system
    ├── Rejected                a command said no; nothing was written
    ├── InvalidValue            a value that no store can keep exactly; nothing was written
    ├── WrongExpectedVersion    the stream is at another version; nothing was written
    ├── AppendConditionFailed   something the append depends on has happened; nothing was written
    ├── DuplicateEventId        an event id is taken by another event; nothing was written
    ├── KeyReused               an idempotency key was used for something else; nothing was written
    ├── UndecodableEvent        a stored event cannot be read by today's code
    │   ├── UnknownEventType    … its type is declared nowhere
    │   └── EventFromTheFuture  … its schema version is newer than the declared one
    ├── Stale                   a read model did not reach the asked position in time
    ├── SubscriptionsChanged    subscriptions vanished and appeared: renamed, or removed and added?
    ├── ReadModelChanged        a read model's columns differ from its table's
    ├── CheckpointMismatch      a checkpoint does not belong to this log, or lies beyond its head
    ├── PositionExpired         a subscription would begin where messages were dropped already
    ├── LeaseLost               another process took over; the work in hand was not recorded
    └── StoreUnavailable        the store cannot be reached or used; `.outcome` says what is known
        └── StoreTooNew         the database was written by a newer fait

Errors carry their facts as attributes and make their message from them. A message says what happened, what was and was
not written, and what to do next. Payloads and passwords are never part of a message.
"""

from collections.abc import Sequence
from typing import Literal

__all__ = [
    "AppendConditionFailed",
    "CheckpointMismatch",
    "DeclarationError",
    "DuplicateEventId",
    "EventTooNew",
    "FaitError",
    "InvalidValue",
    "KeyReused",
    "LeaseLost",
    "MissingExtra",
    "PositionExpired",
    "ReadModelChanged",
    "Rejected",
    "Stale",
    "StoreTooNew",
    "StoreUnavailable",
    "SubscriptionsChanged",
    "UndecodableEvent",
    "UnknownEventType",
    "UsageError",
    "WrongExpectedVersion",
]


class FaitError(Exception):
    """The root of the tree: `except fait.FaitError` catches all that fait raises on purpose."""


class DeclarationError(FaitError):
    """A class cannot be used as it is declared. Raised at import, `include` or `open`; nothing was written."""


class MissingExtra(FaitError):
    """An optional dependency is not installed.

    Attributes:
        extra: the extra to install.
    """

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f'{what} needs an optional dependency. Install it with: pip install "fait[{extra}]"')


class UsageError(FaitError):
    """A call that cannot be meant: a wrong type, an unknown column, a closed system. Nothing was written."""


class Rejected(FaitError):
    """A command said no: raise it in a command or in `decide`. Nothing was written, and it is not tried again."""


class InvalidValue(FaitError):
    """A value that cannot be stored exactly, on any backend. Nothing was written.

    Attributes:
        path: where in the event, as in `$.items[2].price`.
        reason: what is wrong with it.
    """

    def __init__(self, what: str, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{what} cannot be stored: {path}: {reason}. Nothing was written.")


class WrongExpectedVersion(FaitError):
    """Somebody else appended to the stream. Nothing was written: load again and decide again.

    Attributes:
        stream: the stream's name.
        expected: the version the caller expected, or "no_stream", "exists".
        actual: the version the stream has; 0 means there is no such stream.
    """

    def __init__(self, stream: str, expected: int | str, actual: int) -> None:
        self.stream = stream
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"stream {stream!r} is at version {actual}, expected {expected}. Nothing was written: load it again and "
            f"decide again."
        )


class AppendConditionFailed(FaitError):
    """Something that the append depends on has happened since it was decided. Nothing was written: decide again.

    Attributes:
        types: stored names of the events that came between.
        position: the log's position up to which they were looked for.
    """

    def __init__(self, types: Sequence[str], position: int) -> None:
        self.types = tuple(types)
        self.position = position
        came = ", ".join(sorted(set(types)))
        super().__init__(
            f"{len(types)} event(s) that the decision depends on came between ({came}). Nothing was written: read "
            f"them and "
            "decide again."
        )


class DuplicateEventId(FaitError):
    """An event id is taken by another event, or only a part of an append was stored before. Nothing was written.

    Attributes:
        event_id: an id that is taken.
    """

    def __init__(self, event_id: str) -> None:
        self.event_id = event_id
        super().__init__(
            f"event id {event_id} is taken by another event, so this is not a repetition of an earlier append. "
            "Nothing was written: let fait choose the ids, or use a key= of its own for each intention."
        )


class KeyReused(FaitError):
    """An idempotency key was used for another command, or for the same one with other arguments. Nothing was written.

    Attributes:
        key: the key.
        stream: the stream it was used on.
    """

    def __init__(self, key: str, stream: str, was: str) -> None:
        self.key = key
        self.stream = stream
        super().__init__(
            f"key {key!r} was used on stream {stream!r} for {was}. Nothing was written: use a new key for a new "
            f"intention."
        )


class UndecodableEvent(FaitError):
    """A stored event cannot be read by today's code. Nothing is lost: it is in the log as it was written.

    Attributes:
        stream, version, type: which event.
    """

    def __init__(self, stream: str, version: int, type: str, reason: str) -> None:
        self.stream = stream
        self.version = version
        self.type = type
        super().__init__(f"event {version} of stream {stream!r} ({type!r}) cannot be read: {reason}")


class UnknownEventType(UndecodableEvent):
    """The log holds an event whose type no included class declares."""


class EventTooNew(UndecodableEvent):
    """The log holds an event of a schema version newer than the declared one: it was written by newer code."""


class Stale(FaitError):
    """A read model did not reach the asked position in time. Nothing was written, and nothing is lost.

    Attributes:
        subscription: the laggard.
        position: where it is.
        target: the position that was asked for.
    """

    def __init__(self, subscription: str, position: int, target: int, waited_s: float, hint: str) -> None:
        self.subscription = subscription
        self.position = position
        self.target = target
        super().__init__(
            f"{subscription!r} is at position {position} and did not reach {target} in {waited_s:g} s. {hint}"
        )


class SubscriptionsChanged(FaitError):
    """Some subscriptions of this app vanished while new ones appeared. Nothing was started.

    A renamed subscription would start again from its start rule: effects would repeat, or be skipped.

    Attributes:
        vanished, appeared: their names.
    """

    def __init__(self, app: str, vanished: Sequence[str], appeared: Sequence[str]) -> None:
        self.removed = tuple(vanished)
        self.added = tuple(appeared)
        gone, new = ", ".join(map(repr, vanished)), ", ".join(map(repr, appeared))
        super().__init__(
            f"app {app!r} had the subscriptions {gone}, which are not declared any more, and declares {new}, which "
            f"are new. "
            "Nothing was started. If one was renamed: open(url, renamed={'old': 'new'}); if they are gone for good: "
            "open(url, forget=['old'])."
        )


class ReadModelChanged(FaitError):
    """A read model's columns, key or fold version differ from what its table was built with. Nothing was changed.

    Attributes:
        model: the read model's name.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"read model {model!r} is declared differently from the table that was built for it. Nothing was changed. "
            f"Build it anew from the log: fait rebuild {model} --app module:app (or system.rebuild(...))."
        )


class CheckpointMismatch(FaitError):
    """A checkpoint belongs to another log or lies beyond this log's head. The subscription does not start.

    A restored or copied database reuses positions: going on would skip events silently.

    Attributes:
        subscription: whose checkpoint it is.
    """

    def __init__(self, subscription: str, reason: str) -> None:
        self.subscription = subscription
        super().__init__(
            f"the checkpoint of {subscription!r} does not fit this log: {reason}. Nothing was handled or written. "
            "If the database was restored or copied, decide what the subscription may have done already, then set its "
            "checkpoint anew or rebuild it."
        )


class PositionExpired(FaitError):
    """A subscription takes messages that expire, and would begin where some were dropped already. It does not start.

    Attributes:
        subscription: its name.
        position: where it would begin.
        expired: of the last message that was dropped.
    """

    def __init__(self, subscription: str, position: int, expired: int) -> None:
        self.subscription = subscription
        self.position = position
        self.expired = expired
        super().__init__(
            f"{subscription!r} takes messages that expire and would begin at position {position}, but messages up to "
            f"position {expired} have been dropped: it would miss them. Nothing was handled. Take only events that are "
            "kept, or begin with what comes from now on: start='now', and if it has a checkpoint already, "
            f"open(url, forget=[{subscription!r}])."
        )


class LeaseLost(FaitError):
    """Another process owns the subscription now. What this one had in hand was not recorded; the other goes on."""


class StoreUnavailable(FaitError):
    """The store cannot be reached or used.

    Attributes:
        outcome: "not_written" = certainly not written; "unknown" = it may have been written: the same event ids, or the
            same key, make a retry safe.
    """

    def __init__(self, message: str, outcome: Literal["not_written", "unknown"] = "not_written") -> None:
        self.outcome: Literal["not_written", "unknown"] = outcome
        known = "Nothing was written." if outcome == "not_written" else "It may or may not have been written."
        super().__init__(f"{message} {known}")


class StoreTooNew(StoreUnavailable):
    """The database was written by a newer fait than this one."""
