"""What the check of event types reports: a rule that is violated, where, an event that breaks, and what to do."""

from typing import Any

from msgspec import UNSET, Struct

__all__ = ["RuleViolation"]


class RuleViolation(Struct, frozen=True, kw_only=True):
    """A rule that an event type violates.

    Attributes:
        rule: the code of the rule, such as `FAIT101`; each has a page in the documentation.
        title: the rule in a few words.
        type: stored name of the event type; empty if there is none.
        version: the schema version; 0 if there is none.
        step: the versions that are concerned: `2`, or `1 -> 2`.
        place: file and line of the class or the upcaster, or the path of a lock file; empty if there is none.
        details: what was found, one line each.
        value: an event, as plain data, that breaks; UNSET if there is none.
        advice: what to do, one line each.
        exempted: the reason of the exemption in pyproject.toml; empty if there is none. An exempted violation is shown
            and does not fail the check.
    """

    rule: str
    title: str
    type: str = ""
    version: int = 0
    step: str = ""
    place: str = ""
    details: tuple[str, ...] = ()
    value: Any = UNSET
    advice: tuple[str, ...] = ()
    exempted: str = ""
