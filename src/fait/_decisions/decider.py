"""A decider is a decision as three functions: the initial state, what a command decides, how an event changes state.

    cart = Decider(category="cart", initial=Cart, decide=decide, evolve=evolve)

It is the functional form of an aggregate; both run through the same loop. Everything that happens to state is a `fold`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fait._errors import DeclarationError
from fait._events.annotation import annotated_events

__all__ = ["DecidedEvent", "Decider", "FoldDefinition", "SnapshotPolicy"]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class Decider(Struct, Generic[C, S, E], frozen=True, kw_only=True):
    """A decision as three functions: `initial`, `decide` and `evolve`. The functional form of an aggregate.

    Attributes:
        category: category of its streams: with "cart", the stream of id "7" is `cart-7`.
        initial: returns the state before the first event.
        decide: takes a command and the state, and returns the events to append; raises `Rejected` to reject the
            command. It may run again after a version conflict, so it must have no other effects.
        evolve: takes the state and an event, and returns the next state. It must not raise. The annotation of its event
            parameter lists the events that the decider accepts.
        snapshot_every: save a snapshot after this many events since the last one, so that loading need not start at
            version 1; None: never. Requires that `evolve` is annotated with a return type that JSON can store exactly.

    Example:
        cart = fait.Decider(category="cart", initial=Cart, decide=decide, evolve=evolve)
        await system.decide(cart, "c-1", AddItem("tea"))
    """

    category: str
    initial: Callable[[], S]
    decide: Callable[[C, S], Iterable[E]]
    evolve: Callable[[S, E], S]
    snapshot_every: int | None = None

    def fold(self, events: Iterable[E], state: S | None = None) -> S:
        """The state after these events, from the initial state or the one given."""
        current = self.initial() if state is None else state
        for event in events:
            current = self.evolve(current, event)
        return current

    @property
    def fold_definition(self) -> "FoldDefinition[S]":
        """How the loop folds it."""
        policy = None
        if self.snapshot_every is not None:
            policy = SnapshotPolicy(self.snapshot_every, self.evolve, self.initial)
        return FoldDefinition(
            self.category, annotated_events(self.evolve, 1, {}), lambda _: self.initial(), self.evolve, policy
        )


class SnapshotPolicy(Struct, frozen=True):
    """When the state of a fold is kept as a snapshot, and what the fold is.

    Attributes:
        every: so many events after the last one.
        evolve: the fold as its user wrote it.
        initial: what gives the first state.
        state: the type of the state; None = what `evolve` is annotated to return.
        names: what local classes are called where the state was declared.
        restored: tells a state that was read back its id.
    """

    every: int
    evolve: Callable[..., Any]
    initial: Callable[..., Any]
    state: type | None = None
    local_names: Mapping[str, Any] = {}
    on_restore: Callable[[Any, str], Any] = lambda state, id: state

    def __post_init__(self) -> None:
        if self.every < 1:
            raise DeclarationError(f"snapshot_every is a number of events, at least 1, not {self.every}")


class DecidedEvent(Struct, frozen=True):
    """A decided event and the other things it belongs to."""

    event: Any
    tags: tuple[str, ...] = ()


class FoldDefinition(Struct, Generic[S], frozen=True):
    """State as the loop sees it, whichever form it was written in.

    Attributes:
        category: of its streams.
        events: the classes its `evolve` takes.
        initial: the state before the first event, for an id.
        evolve: the state after an event; may be the same object, changed.
        snapshots: whether and when the state is kept.
        versioned: tells the state the version it is folded from, if it wants to know.
    """

    category: str
    events: tuple[type, ...]
    initial: Callable[[str], S]
    evolve: Callable[[S, Any], S]
    snapshots: SnapshotPolicy | None = None
    set_version: Callable[[S, int], None] | None = None
