"""What a comparison of two descriptions finds: differences, each with a verdict."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct

__all__ = ["Difference", "Direction", "Rule", "Verdict", "reversed_rule", "worst_verdict"]

Direction: TypeAlias = Literal["backward", "forward", "full"]
"""`backward`: new code reads old data. `forward`: old code reads new data. `full`: both."""

Rule: TypeAlias = Literal[
    "member-added",
    "member-removed",
    "required",
    "optional",
    "default-added",
    "default-removed",
    "default-changed",
    "meaning-changed",
    "type-changed",
    "type-widened",
    "type-narrowed",
    "alternative-added",
    "alternative-removed",
    "values-added",
    "values-removed",
    "format-added",
    "format-removed",
    "format-changed",
    "limit-tightened",
    "limit-loosened",
    "not-understood",
]
"""What was changed, from old to new."""


class Verdict(StrEnum):
    """What a change means for a reader of data that was written before it; the worst is the last.

    Attributes:
        READABLE: the reader reads every value, without loss. A default takes the place of an absent member.
        DECLARE: a member is no longer read, so its values would be lost silently. Declare it dropped or renamed.
        TRUST: the reader refuses some values that were allowed. Declare that none was written, or write an upcaster.
        CONVERT: the reader refuses values, or reads them as something else. Write an upcaster.
        UNKNOWN: a part of a JSON Schema is not understood, so the change counts as incompatible.
    """

    READABLE = "readable"
    DECLARE = "declare"
    TRUST = "trust"
    CONVERT = "convert"
    UNKNOWN = "unknown"


class Difference(Struct, frozen=True, kw_only=True):
    """A difference between two descriptions.

    Attributes:
        path: where it is: `$.lines[].amount`; `[]` stands for each item, `.*` for each value of a dict.
        rule: what was changed.
        verdict: what it means for the reader.
        explanation: a sentence that says what was changed and why it matters.
        direction: `backward` if the new version is the reader, `forward` if the old one is.
        value: an event, as plain data, that the writer may have written and the reader refuses or reads with a loss;
            UNSET if every value is readable, or none was found.
    """

    path: str
    rule: Rule
    verdict: Verdict
    explanation: str
    direction: Literal["backward", "forward"] = "backward"
    value: Any = UNSET


def worst_verdict(differences: Iterable[Difference]) -> Verdict:
    """Return the worst verdict of several differences; READABLE if there are none."""
    order = list(Verdict)
    return max((each.verdict for each in differences), key=order.index, default=Verdict.READABLE)


_PAIRS: list[tuple[Rule, Rule]] = [
    ("member-added", "member-removed"),
    ("required", "optional"),
    ("default-added", "default-removed"),
    ("type-widened", "type-narrowed"),
    ("alternative-added", "alternative-removed"),
    ("values-added", "values-removed"),
    ("format-added", "format-removed"),
    ("limit-tightened", "limit-loosened"),
]
_REVERSED: dict[Rule, Rule] = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}


def reversed_rule(rule: Rule) -> Rule:
    """Return the rule for the change in the other direction, from new to old."""
    return _REVERSED.get(rule, rule)
