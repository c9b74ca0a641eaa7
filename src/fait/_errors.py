"""The exceptions of fait.

    FaitError
    ├── DeclarationError        a class or function cannot be used as declared
    │   └── UnlockedEvents      … because it is a draft, and the app requires locks
    ├── MissingExtra            an optional dependency is not installed
    ├── UsageError              invalid call: wrong type, unknown column, missing store
    │   ├── InvalidCursor       … because `find` did not return this cursor for this order
    │   └── InvalidPosition     … because a position token is of another log, or lies beyond the head
    ├── Rejected                a command was rejected by the application
    ├── InvalidValue            a value cannot be stored exactly
    ├── WrongExpectedVersion    the stream is not at the expected version
    ├── AppendConditionFailed   a matching event was recorded after the decision
    ├── DuplicateEventId        an event id is already used
    ├── KeyReused               an idempotency key was used for another intention
    ├── UndecodableEvent        a recorded event cannot be decoded
    │   ├── UnknownEventType    … because no included class declares its type
    │   └── EventTooNew         … because its schema version is newer than the declared one
    ├── Stale                   a read model did not reach a position within the timeout
    │   └── NotSettled          … because a subscription fails, or there is no end of new events
    ├── SubscriptionsChanged    subscriptions were removed and others added: renamed?
    ├── DefinitionChanged       a subscription's definition differs from the stored one
    │   └── ReadModelChanged    … of a read model, whose rows are those of other code
    ├── CheckpointMismatch      a checkpoint belongs to another log or lies beyond the head
    ├── PositionExpired         a subscription would start where messages have been dropped
    └── StoreUnavailable        the store cannot be reached or used; see `.outcome`
        └── StoreTooNew         the database schema is from a newer version of fait

Those of brokers are in `_broker_errors`. Each exception has its facts as attributes and builds its message from them. A
message says what failed, why, what was and was not written, and what to do next. Messages never contain event data or
passwords.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

__all__ = [
    "AppendConditionFailed",
    "CheckpointMismatch",
    "DeclarationError",
    "DefinitionChanged",
    "DuplicateEventId",
    "EventTooNew",
    "FaitError",
    "InvalidCursor",
    "InvalidPosition",
    "InvalidValue",
    "KeyReused",
    "MissingExtra",
    "NotSettled",
    "PositionExpired",
    "ReadModelChanged",
    "Rejected",
    "Stale",
    "StoreTooNew",
    "StoreUnavailable",
    "SubscriptionsChanged",
    "Unavailable",
    "UndecodableEvent",
    "UnknownEventType",
    "UnlockedEvents",
    "UsageError",
    "WrongExpectedVersion",
]


class FaitError(Exception):
    """Base class of all exceptions of fait."""


class DeclarationError(FaitError):
    """A class or function cannot be used as declared.

    Raised at import, by `App.include`, by `App.open`, or at the first use of the class or function.
    """


class UnlockedEvents(DeclarationError):
    """Event types are not locked, or their classes differ from their locks, and the app requires locks.

    Attributes:
        reasons: why an event type must not be stored, by its stored name.
    """

    def __init__(self, folder: str, reasons: Mapping[str, str]) -> None:
        self.reasons: dict[str, str] = dict(reasons)
        types = "".join(f"\n  {name}: {reason}" for name, reason in reasons.items())
        super().__init__(
            f"{len(reasons)} event type(s) do not match the locks in {folder}:{types}\nNothing was opened or written. "
            "Deploy the folder with the code. Lock a draft with: fait schema lock. Make a change of a locked version "
            "the next version: fait schema new-version TYPE."
        )


class MissingExtra(FaitError):
    """An optional dependency is not installed.

    Attributes:
        extra: name of the extra to install, as in `fait[postgres]`.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f'{feature} needs an optional dependency. Install it with: pip install "fait[{extra}]"')


class UsageError(FaitError):
    """A call is invalid, for example because of a wrong type, an unknown column or a missing store.

    Nothing was written.
    """


class InvalidCursor(UsageError):
    """A cursor is not one that `find` returned for the same read model and order. Nothing was read.

    A web application passes cursors from requests to `find`, and can answer this error with the status 400.

    Attributes:
        reason: the reason why the cursor is invalid.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"invalid cursor: {reason}. Nothing was read. Pass the `cursor` of the rows that find(...) returned, with "
            "the same order_by, or start from the first page without a cursor."
        )


class InvalidPosition(UsageError):
    """A position to wait for is none of this log, so no wait would end. Nothing was read.

    A web application passes position tokens from requests to `find`, and can answer this error with the status 400.

    Attributes:
        reason: the reason why the position or its token is invalid.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"invalid position in after=: {reason}. Nothing was read. Pass the result of a write, or a token of it, "
            "from the same log; without after= the read does not wait."
        )


class Rejected(FaitError):
    """A command was rejected. Nothing was written.

    Raise it in a command of an aggregate, or in `decide`. fait does not retry a rejected command.
    """


class InvalidValue(FaitError):
    """A value cannot be stored exactly by every backend. Nothing was written.

    Attributes:
        path: JSON path of the value, such as `$.items[2].price`; `$` is the whole value. Or the name of an argument,
            such as `occurred_at`.
        reason: the reason why it cannot be stored.
    """

    def __init__(self, subject: str, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        place = "" if path == "$" else f"{path}: "
        super().__init__(f"{subject} cannot be stored: {place}{reason}. Nothing was written.")


class WrongExpectedVersion(FaitError):
    """The stream is not at the expected version. Nothing was written.

    Load the stream again and decide again.

    Attributes:
        stream: name of the stream.
        expected: the expected version, or "no_stream" or "exists".
        actual: the current version of the stream; 0: the stream does not exist.
    """

    def __init__(self, stream: str, expected: int | str, actual: int) -> None:
        self.stream = stream
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"stream {stream!r} is at version {actual}, expected {expected}. Nothing was written: load the stream "
            f"again and decide again."
        )


class AppendConditionFailed(FaitError):
    """Events that the append depends on were recorded after the decision. Nothing was written.

    Run the query again and decide again.

    Attributes:
        types: names of the types of these events, in order of position.
        position: position up to which the log was searched for them.
    """

    def __init__(self, types: Sequence[str], position: int) -> None:
        self.types: tuple[str, ...] = tuple(types)
        self.position = position
        names = ", ".join(sorted(set(types)))
        super().__init__(
            f"append condition failed: {len(types)} event(s) that the decision depends on were recorded after it "
            f"({names}). Nothing was written: run the query again and decide again."
        )


class DuplicateEventId(FaitError):
    """An event id is already used, and the append is not a repetition of the one that used it. Nothing was written.

    A repetition has the same event, in the same stream. Also raised if an id occurs twice in one append, or if only
    some of its ids are in use.

    Attributes:
        event_id: one of the ids in use.
    """

    def __init__(self, event_id: str) -> None:
        self.event_id = event_id
        super().__init__(
            f"event id {event_id} is already used by another event, and this append is not a repetition of the append "
            "that stored it. Nothing was written: let fait generate the ids, or use a different key= for each "
            "intention."
        )


class KeyReused(FaitError):
    """An idempotency key was already used for another intention. Nothing was written.

    The same intention is the same command on the same stream with the same arguments, or an append of the same events.

    Attributes:
        key: the idempotency key.
        stream: name of the stream it was used on; "" if it was used for a decision without events.
    """

    def __init__(self, key: str, stream: str, original: str) -> None:
        self.key = key
        self.stream = stream
        place = f"on stream {stream!r} " if stream else ""
        super().__init__(
            f"idempotency key {key!r} was already used {place}for {original}. Nothing was written: use a "
            f"new key for a new intention, or a scope= of its own for each kind of key."
        )


class UndecodableEvent(FaitError):
    """A recorded event cannot be decoded by the current code. The event itself remains in the log, unchanged.

    Attributes:
        stream: name of its stream.
        version: its version in the stream.
        type: stored name of its type.
        reason: why, without its data.
    """

    def __init__(self, stream: str, version: int, type: str, reason: str) -> None:
        self.stream = stream
        self.version = version
        self.type = type
        self.reason = reason
        super().__init__(f"cannot decode event {version} of stream {stream!r} ({type!r}): {reason}")


class UnknownEventType(UndecodableEvent):
    """A recorded event has a type that no included class declares."""


class EventTooNew(UndecodableEvent):
    """A recorded event has a newer schema version than its class declares: newer code wrote it."""


class Stale(FaitError):
    """A subscription did not reach a position within the timeout, or cannot, as a key is parked. The write is stored.

    Attributes:
        subscription: name of the subscription.
        position: the position it has reached.
        target: the position that the call waited for.
        parked_key: order key that the call depends on, and that is parked. Waiting does not help, so the call ended as
            soon as it was known. None if there is none.
        parked_since: when the key was parked; None if there is none.
    """

    def __init__(
        self,
        subscription: str,
        position: int,
        target: int,
        waited_s: float,
        hint: str,
        parked_key: str | None = None,
        parked_since: datetime | None = None,
    ) -> None:
        self.subscription = subscription
        self.position = position
        self.target = target
        self.parked_key = parked_key
        self.parked_since = parked_since
        since = "" if parked_since is None else f" since {parked_since:%Y-%m-%d %H:%M:%SZ}"
        problem = f"did not reach position {target} within {waited_s:g} s"
        # fault: parked-read-says-that-it-has-waited
        if parked_key is not None:
            problem = f"cannot reach position {target} by waiting: its key {parked_key!r} is parked{since}"
        super().__init__(f"subscription {subscription!r} is at position {position} and {problem}. {hint}")


class NotSettled(Stale):
    """`settle` ended before every subscription had processed the whole log. Its cause is the error of a subscription.

    Attributes:
        statuses: the lines of the table in the message, one for each subscription, with its position, lag, state and
            the class of its error.
    """

    def __init__(self, stale: Stale, waited_s: float, statuses: Sequence[str], *, has_timed_out: bool = True) -> None:
        self.statuses: tuple[str, ...] = tuple(statuses)
        table = "".join(f"\n  {line}" for line in statuses)
        hint = f"The subscriptions:{table}\nCorrect the first error, which is the cause of this one"
        if has_timed_out:
            hint += ", or use a longer timeout_s"
        super().__init__(
            stale.subscription, stale.position, stale.target, waited_s, f"{hint}.", stale.parked_key, stale.parked_since
        )


class SubscriptionsChanged(FaitError):
    """Subscriptions were removed from the app while others were added, which may be a renaming. Nothing was started.

    A renamed subscription has no checkpoint under its new name. It would start as a new subscription, and so repeat or
    skip effects.

    Attributes:
        removed: names that have a checkpoint but are no longer declared.
        added: names that are declared but have no checkpoint.
    """

    def __init__(self, app: str, removed: Sequence[str], added: Sequence[str]) -> None:
        self.removed: tuple[str, ...] = tuple(removed)
        self.added: tuple[str, ...] = tuple(added)
        old, new = ", ".join(map(repr, removed)), ", ".join(map(repr, added))
        super().__init__(
            f"app {app!r} has checkpoints of the subscriptions {old}, which it no longer declares, and declares the "
            f"subscriptions {new}, which have no checkpoint. Nothing was started. If one was renamed, open the app "
            "once with renamed={'old': 'new'} (fait run --renamed old=new). If the old ones were removed, open it once "
            "with forget=['old'] (fait run --forget old)."
        )


class DefinitionChanged(FaitError):
    """The definition of a subscription changed since it was registered. It does not run, and nothing was changed.

    Of a handler and a relay, that is the order in which events are handled; of a relay, its category, too; of a
    consumer, the broker and the topic; of a read model, all that its rows depend on, see `ReadModelChanged`.

    Attributes:
        subscription: name of the subscription.
        differences: what differs, such as "topic (orders, was sales)"; () if the store does not have the parts of its
            definition.
    """

    def __init__(self, subscription: str, kind: str, differences: Sequence[str] = ()) -> None:
        self.subscription = subscription
        self.differences: tuple[str, ...] = tuple(differences)
        noun, since, unknown, advice = _DEFINITIONS[kind]
        open_app = f"--app module:app --store URL, or open(url, accept=[{subscription!r}])"
        super().__init__(
            f"the definition of {noun} {subscription!r} changed since {since}: {_first_of(differences) or unknown}. "
            + advice.format(name=subscription, accept=f"fait definition accept {subscription} {open_app}")
        )


class ReadModelChanged(DefinitionChanged):
    """The definition of a read model changed since its table was built, so its rows are those of other code.

    Also raised for a consumer that is declared for another topic or broker, and for a relay or handler with another
    order key: what is stored of it has another meaning.

    The definition of a read model is `evolve` and `key_of` with all code they refer to, the columns and their types,
    the key, the event types and the version, but not the indexes. Another minor version of Python changes it too.
    Nothing was changed.

    Attributes:
        model: name of the read model's table.
        differences: what differs, such as "the code of Order.evolve and shop.prices.discount" or "column total
            (integer, was decimal)". Code is that of functions, classes and constants.
    """

    def __init__(self, model: str, differences: Sequence[str] = ()) -> None:
        self.model = model
        super().__init__(model, "read_model", differences)


_ROW_PARTS: Final = (
    "its evolve or key_of, code or types that these use, its columns, key, event types or version, or the minor "
    "version of Python"
)
_REBUILD: Final = (
    "Nothing was changed; new code does not continue with rows of old code. Rebuild the table from the log: fait "
    "rebuild {name} --app module:app --store URL, or open(url, rebuild=['{name}']). If the new code computes the same "
    "rows, continue with them: {accept}."
)
_FINISH_FAILED_KEYS: Final = (
    "Nothing was changed. The keys that have failed are those of the former order: see them with fait parked list "
    "{name} --store URL, and handle or discard them with the former code. Then continue: {accept}."
)
_CONTINUE_RELAY: Final = (
    "Nothing was changed. To continue with the definition of this code, so that workers with another one no longer run "
    "it: {accept}. If the order key differs, handle or discard the keys that have failed before, with the former code: "
    "see fait parked list {name} --store URL."
)
_MOVE_OFFSETS: Final = (
    "Nothing was changed. Its offsets have no meaning elsewhere: it would pass over messages. If it is the same broker "
    "under another name, or messages and offsets were moved, continue with them: {accept}. Otherwise correct the URL; "
    "or accept it, and then let it read the topic from the beginning: fait rewind {name} --app module:app --store URL. "
    "It recognizes what it has handled."
)
_DEFINITIONS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "read_model": ("read model", "its table was built", _ROW_PARTS, _REBUILD),
    "reactor": ("handler", "it was registered", "the order of its events", _FINISH_FAILED_KEYS),
    "relay": ("relay", "it was registered", "the order of its events, or its category", _CONTINUE_RELAY),
    "consumer": ("consumer", "it was registered", "its broker or topic", _MOVE_OFFSETS),
}
"""Of each kind of subscription: how people call it, when its definition was stored, what that is, and what to do."""

MAX_DIFFERENCES: Final = 10
"""Maximum number of differences in a message."""


def _first_of(differences: Sequence[str]) -> str:
    others = len(differences) - MAX_DIFFERENCES
    return ", ".join(differences[:MAX_DIFFERENCES]) + (f" and {others} others" if others > 0 else "")


class CheckpointMismatch(FaitError):
    """A checkpoint belongs to another log, lies beyond the head of this one, or was renamed or deleted while in use.

    The subscription does not run. A restored or copied database assigns its last positions again. If the subscription
    continued from the checkpoint, it would skip new events.

    Attributes:
        subscription: name of the subscription.
    """

    def __init__(self, subscription: str, reason: str, advice: str = "") -> None:
        self.subscription = subscription
        after_restore = (
            "If the database was restored or copied, run fait log adopt --store URL. If the checkpoint still does not "
            f"match, rebuild a read model with fait rebuild {subscription} --app module:app --store URL; for a "
            "handler, check which of its effects must be repeated, then open the app once with "
            f"forget=[{subscription!r}]."
        )
        super().__init__(
            f"the checkpoint of subscription {subscription!r} does not match this log: {reason}. The subscription does "
            f"not run. {advice or after_restore}"
        )


class PositionExpired(FaitError):
    """A subscription to messages would start at a position after which some have been dropped. It does not start.

    Attributes:
        subscription: name of the subscription.
        position: the position it would start at.
        expired: position of the last dropped message.
    """

    def __init__(self, subscription: str, position: int, expired: int) -> None:
        self.subscription = subscription
        self.position = position
        self.expired = expired
        super().__init__(
            f"subscription {subscription!r} handles messages that expire and would start at position {position}, but "
            f"messages up to position {expired} have been dropped. Nothing was handled. Subscribe only to events that "
            "do not expire, or start at the end of the log with start='now'. If the subscription already has a "
            f"checkpoint, also open the app once with forget=[{subscription!r}]."
        )


class StoreUnavailable(FaitError):
    """The store cannot be reached or used.

    Attributes:
        outcome: "not_written": certainly nothing was written. "unknown": the append may have been committed; retry it
            with the same event ids or the same idempotency key, and it is stored exactly once.
        reason: the message without its last sentence, which tells the outcome.
    """

    def __init__(self, reason: str, outcome: Literal["not_written", "unknown"] = "not_written") -> None:
        self.reason = reason
        self.outcome: Literal["not_written", "unknown"] = outcome
        consequence = "Nothing was written." if outcome == "not_written" else "It may or may not have been written."
        super().__init__(f"{reason} {consequence}")


class StoreTooNew(StoreUnavailable):
    """The database schema is from a newer version of fait. Upgrade fait to open the store."""


class Unavailable(FaitError):
    """A service that a handler uses is unavailable. The handler raises it, so that its subscription waits.

    It is no failure of the event, and counts as no attempt.

    Args:
        reason: which service, and what it answered; without values of the event.
        retry_after_s: time after which to try again, in seconds; None: a growing delay.

    Attributes:
        retry_after_s: as the argument.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(reason)
