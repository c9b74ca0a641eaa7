"""What a description may say, and which facts follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fait._advice.facts import Value

__all__ = ["Situation"]


@dataclass(frozen=True, slots=True)
class Situation:
    """Something that a description may say.

    Attributes:
        name: what it says.
        facts: what follows from it.
        weight: how strongly; facts are believed from a sum of 1.
        patterns: how it is said.
        denied: what follows if it is said not to be so.
        about_others: whether a statement about other parties counts.
        cap: maximum number of patterns that count, within a few sentences.
    """

    name: str
    facts: Mapping[str, Value]
    weight: float
    patterns: str
    denied: Mapping[str, Value] = field(default_factory=dict[str, Value])
    about_others: bool = False
    cap: int = 2
