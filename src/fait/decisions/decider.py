"""A decider is a decision as three functions: the initial state, what a command decides, how an event changes state.

    cart = Decider(category="cart", initial=Cart, decide=decide, evolve=evolve)

It is the functional form of an aggregate; both run through the same loop. Everything that happens to state is a `fold`.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from fait.events.annotation import events_taken

__all__ = ["Decider", "Model", "Tagged"]

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class Decider(Struct, Generic[C, S, E], frozen=True, kw_only=True):
    """A decision in three pure functions.

    Attributes:
        category: of the streams it decides for: "cart" for `cart-7`.
        initial: gives the state before the first event.
        decide: what a command means in a state: the events to store; raises `Rejected` to say no. It may run again when
            somebody else was quicker, so it has no effects.
        evolve: the state after an event. It never refuses: the event has happened. Its annotation says which events
        there are.
    """

    category: str
    initial: Callable[[], S]
    decide: Callable[[C, S], Iterable[E]]
    evolve: Callable[[S, E], S]

    def fold(self, events: Iterable[E], state: S | None = None) -> S:
        """The state after these events, from the initial state or the one given."""
        current = self.initial() if state is None else state
        for event in events:
            current = self.evolve(current, event)
        return current

    @property
    def model(self) -> "Model[S]":
        """How the loop folds it."""
        return Model(self.category, events_taken(self.evolve, 1, {}), lambda _: self.initial(), self.evolve)


class Tagged(Struct, frozen=True):
    """A decided event and the other things it belongs to."""

    event: Any
    tags: tuple[str, ...] = ()


class Model(Struct, Generic[S], frozen=True):
    """State as the loop sees it, whichever form it was written in.

    Attributes:
        category: of its streams.
        events: the classes its `evolve` takes.
        initial: the state before the first event, for an id.
        evolve: the state after an event; may be the same object, changed.
    """

    category: str
    events: tuple[type, ...]
    initial: Callable[[str], S]
    evolve: Callable[[S, Any], S]
