"""Deciders: a decision as three functions, `initial`, `decide` and `evolve`.

    cart = Decider(category="cart", initial=Cart, decide=decide, evolve=evolve)

A decider is the functional form of an aggregate. The same decision loop runs both; it sees each of them as a
`FoldDefinition`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fait._arguments import check_functions, described
from fait._errors import DeclarationError
from fait._events.annotation import annotated_events

__all__ = ["DecidedEvent", "Decider", "FoldDefinition", "SnapshotPolicy", "fold_definition_of_decider"]

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

    def __post_init__(self) -> None:
        """Check the functions, also for code that no type checker has seen."""
        check_functions(
            f"the decider of {described(self.category, show_text=True)}",
            initial=self.initial,
            decide=self.decide,
            evolve=self.evolve,
        )

    def fold(self, events: Iterable[E], state: S | None = None) -> S:
        """Fold events, without a store. Useful in tests.

        Args:
            events: events that `evolve` handles, in order.
            state: the state to start from; None: the initial state.

        Returns:
            The state after the last event.
        """
        current = self.initial() if state is None else state
        for event in events:
            current = self.evolve(current, event)
        return current


class SnapshotPolicy(Struct, frozen=True):
    """The interval between snapshots of a fold, and the inputs of its fold hash and state decoder.

    Attributes:
        every: number of events after which a new snapshot is saved.
        evolve: the application's `evolve`.
        initial: the function that returns the initial state; the class of an aggregate.
        state: the type of the state; None: the return annotation of `evolve`.
        local_names: names of local classes where the state was declared, to resolve its annotations.
        on_restore: called with a state decoded from a snapshot and its id; returns the state to use.
    """

    every: int
    evolve: Callable[..., Any]
    initial: Callable[..., Any]
    state: type | None = None
    local_names: Mapping[str, Any] = {}
    on_restore: Callable[[Any, str], Any] = lambda state, id: state

    def __post_init__(self) -> None:
        if type(self.every) is not int or self.every < 1:
            given = described(self.every)
            raise DeclarationError(f"snapshot_every must be a number of events, at least 1; got {given}")


class DecidedEvent(Struct, frozen=True):
    """A decided event, encoded when it was decided: later changes of the state may change what the event refers to.

    Attributes:
        event: the event.
        data: its fields as JSON.
        tags: its tags.
    """

    event: Any
    data: bytes
    tags: tuple[str, ...] = ()


class FoldDefinition(Struct, Generic[S], frozen=True):
    """A fold over one stream: the common part of an aggregate and a decider.

    Attributes:
        category: category of its streams.
        events: the event classes that `evolve` handles.
        initial: returns the state before the first event, given an id.
        evolve: returns the state after an event; it may change and return the same object.
        snapshots: when snapshots are saved; None: never.
        set_version: called with a loaded state and the version of its stream; None if the state does not need it.
    """

    category: str
    events: tuple[type, ...]
    initial: Callable[[str], S]
    evolve: Callable[[S, Any], S]
    snapshots: SnapshotPolicy | None = None
    set_version: Callable[[S, int], None] | None = None


def fold_definition_of_decider(decider: Decider[Any, S, Any]) -> FoldDefinition[S]:
    """Return a decider's fold, as the decision loop uses it."""
    policy = None
    if decider.snapshot_every is not None:
        policy = SnapshotPolicy(decider.snapshot_every, decider.evolve, decider.initial)
    events = annotated_events(decider.evolve, 1, {})
    return FoldDefinition(decider.category, events, lambda _: decider.initial(), decider.evolve, policy)
