"""Breadth-first exploration of every interleaving of a small system.

A model is a start state, which is hashable, a function that returns the steps from a state, and one that returns the
broken promise of a state.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple, TypeVar

State = TypeVar("State", bound=Hashable)

MAX_STATES = 2_000_000


class Exploration(NamedTuple):
    """The result of an exploration.

    Attributes:
        states: number of different states.
        problem: the broken promise that was found; None if every state keeps all promises.
        schedule: the shortest sequence of steps to the problem.
    """

    states: int
    problem: str | None = None
    schedule: tuple[str, ...] = ()


def explore(
    start: State,
    steps: Callable[[State], Iterable[tuple[str, State]]],
    find_problem: Callable[[State], str | None],
) -> Exploration:
    """Explore all states, until one breaks a promise.

    Raises:
        AssertionError: there are more than `MAX_STATES` states.
    """
    previous: dict[State, tuple[State, str] | None] = {start: None}
    level = [start]
    while level:
        following = list[State]()
        for state in level:
            if problem := find_problem(state):
                return Exploration(len(previous), problem, _schedule(previous, state))
            for label, successor in steps(state):
                if successor not in previous:
                    previous[successor] = (state, label)
                    following.append(successor)
        assert len(previous) <= MAX_STATES, "the state space is too large"
        level = following
    return Exploration(len(previous))


def _schedule(previous: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    labels = list[str]()
    while (step := previous[state]) is not None:
        state, label = step
        labels.append(label)
    return tuple(reversed(labels))
