"""The port `Registrations`: the subscriptions that a store knows, and the definition under which each one runs.

A registration has a revision, which increases whenever its definition changes. A worker records work under the revision
that it read when it acquired its range: work of an older definition is rejected.
"""

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct

from fait._errors import UsageError
from fait._store.ports.tables import Table

__all__ = [
    "SLOTS",
    "Kind",
    "RangeKey",
    "Registration",
    "Registrations",
    "accepted_types",
    "not_registered",
    "slot_of",
    "widened",
]

Kind = Literal["read_model", "reactor", "relay", "consumer", "system"]
"""Kind of a subscription. `relay`: publishes events to a broker. `consumer`: its source is a broker, so the positions
of its range count messages and not events. `system`: a task of fait itself that needs a lease, such as retention."""


SLOTS: Final = 1 << 16
"""Number of the hashes of order keys. The ranges of a subscription cover 0 to `SLOTS`, without gaps."""


def slot_of(key: str) -> int:
    """Return the hash of an order key: the first two bytes of SHA-256, big-endian. PostgreSQL computes the same."""
    from hashlib import sha256  # here, as it is slow to import

    return int.from_bytes(sha256(key.encode()).digest()[:2], "big")


class RangeKey(Struct, frozen=True):
    """Identifies a range: the part of a subscription's work that one worker does at a time.

    Attributes:
        subscription: name of the subscription.
        generation: number of its generation.
        low: lowest hash of an order key that belongs to the range.
    """

    subscription: str
    generation: int = 1
    low: int = 0


class Registration(Struct, frozen=True):
    """A subscription, as the store knows it.

    Attributes:
        subscription: name of the subscription, unique in the store.
        app: name of the app that declares it.
        kind: its kind.
        definition_hash: hash of its definition; "" if it has none.
        handled_types: stored names of the event types that it handles, sorted; empty: all types.
        log_id: id of the log that its positions belong to.
        epoch_id: id of the epoch of that log.
        generation: number of its generation.
        revision: number that increases with each change of the definition.
        paused: whether an operator has paused it, or it has stopped because of an error.
    """

    subscription: str
    app: str
    kind: Kind
    definition_hash: str
    handled_types: tuple[str, ...]
    log_id: str
    epoch_id: str
    generation: int = 1
    revision: int = 1
    paused: bool = False


def widened(registration: Registration, handled_types: Sequence[str]) -> Registration:
    """Return a registration that also handles these types; the same one if it handles them already."""
    current = registration.handled_types
    if not current or (handled_types and set(handled_types) <= set(current)):
        return registration
    union = tuple(sorted({*current, *handled_types})) if handled_types else ()
    return msgspec.structs.replace(registration, handled_types=union, revision=registration.revision + 1)


def accepted_types(stored: Registration, accepted: Registration, *, keeps_types: bool) -> tuple[str, ...]:
    """Return the types that are handled after a definition was accepted; see `Registrations.accept`."""
    # fault: types-forgotten-with-an-unknown-definition
    return widened(stored, accepted.handled_types).handled_types if keeps_types else accepted.handled_types


def not_registered(subscription: str) -> UsageError:
    """Return the error for a change of a subscription that is not registered."""
    return UsageError(
        f"the subscription {subscription!r} is not registered in this store. Nothing was changed. Open the app that "
        "declares it: this registers its subscriptions."
    )


class Registrations(Protocol):
    """The registrations of a store. `fait.testing.contract` tests each guarantee below.

    `forget` and `rename` retire a registration: it and its ranges are no longer listed, and no work is recorded for
    them. The backend keeps their fencing tokens, because a token is never used twice for the same range.

    Every method may raise `StoreUnavailable`.
    """

    async def registrations(self) -> list[Registration]:
        """Return all registrations except those of kind `system`, in order of subscription (code points)."""
        ...

    async def registration(self, subscription: str) -> Registration | None:
        """Return the registration of a subscription of any kind; None if there is none."""
        ...

    async def retired(self) -> list[str]:
        """Return the names of all retired subscriptions, in order (code points)."""
        ...

    async def definition(self, subscription: str) -> str:
        """Return the parts of a subscription's definition, as JSON text; "" if there are none.

        Only an error needs them, so they are not read with the registrations.
        """
        ...

    async def register(self, registration: Registration, position: int, definition: str = "") -> Registration:
        """Register a subscription with one free range, unless it is registered.

        Args:
            registration: the registration. If the subscription was retired, the next revision is stored.
            position: position of the range.
            definition: the parts of its definition, as JSON text.

        Returns:
            The stored registration: the given one, or the one that existed. Concurrent callers all get the same.
        """
        ...

    async def widen(self, subscription: str, handled_types: Sequence[str]) -> Registration:
        """Add event types to those that a subscription handles.

        Args:
            subscription: name of the subscription.
            handled_types: stored names of event types; empty: all types.

        Returns:
            The stored registration. Its revision has increased if a type was added. No range is freed.

        Raises:
            UsageError: the subscription is not registered.
        """
        ...

    async def pause(self, subscription: str, *, by: str, reason: str) -> bool:
        """Pause a subscription: free its ranges, which no worker acquires until `resume`.

        The action is recorded in the same transaction.

        Returns:
            Whether it was changed: it is registered, and was not paused.

        Guarantees:
            `record` rejects work of the previous workers, until they have acquired their ranges again.
        """
        ...

    async def resume(self, subscription: str, *, by: str, reason: str) -> bool:
        """End a pause, and record the action in the same transaction.

        Returns:
            Whether it was changed: it is registered, and was paused.
        """
        ...

    async def accept(self, registration: Registration, definition: str = "", *, keeps_types: bool = False) -> None:
        """Replace the definition, its hash and the handled types of a subscription, and free its ranges.

        The positions, the failures and a pause are kept, and the revision increases. If the subscription is not
        registered, nothing happens.

        Args:
            registration: the new definition.
            definition: its parts, as JSON text.
            keeps_types: whether the types are added to those that are handled, instead of replacing them.

        Guarantees:
            `record` rejects work of the previous workers.
        """
        ...

    async def rename(self, old: str, new: str) -> None:
        """Rename a subscription. It keeps its definition, its ranges, which are freed, and its failures.

        If `old` is not registered, or `new` is, nothing happens.

        Guarantees:
            `acquire` and `record` reject the old name.
        """
        ...

    async def forget(self, subscription: str) -> None:
        """Retire a registration, if there is one, free its ranges, and remove its failures.

        Guarantees:
            `acquire` and `record` reject the subscription until it is registered again.
        """
        ...

    async def reset(self, registration: Registration, table: Table, position: int, definition: str = "") -> None:
        """Recreate a read model's table, and register its definition with one free range and no failure.

        All of this is one transaction.

        Args:
            registration: the new definition. If there was a registration, the next revision is stored.
            table: the table. If it exists, it is replaced by an empty one.
            position: position of the range.
            definition: the parts of its definition, as JSON text.

        Raises:
            UsageError: something that `Tables.create_table` has not created has the name of the table or of one of its
                indexes. Nothing was changed.

        Guarantees:
            `record` rejects work of the previous workers, so that a rebuild starts at the position.
        """
        ...
