"""The rules of the check of event types: codes and titles. Each has a page in the documentation."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import UNSET

from fait._evolution.locks.violation import RuleViolation

__all__ = ["TITLES", "make_violation"]

TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "FAIT101": "published event was changed",
        "FAIT102": "lock file was edited or cannot be read",
        "FAIT103": "a version is missing in the history",
        "FAIT104": "event type vanished",
        "FAIT105": "version cannot be read any more",
        "FAIT107": "field disappeared without a declaration",
        "FAIT108": "reserved name came back with another meaning",
        "FAIT109": "names of event types differ only in case",
        "FAIT110": "upcaster does not give what the next version needs",
        "FAIT111": "upcaster is not repeatable",
        "FAIT112": "upcaster changed its input",
        "FAIT113": "event cannot be described or sampled",
        "FAIT114": "two upcasters for one step",
        "FAIT115": "change needs an upcaster",
        "FAIT120": "declared consumers cannot read the new version",
        "FAIT130": "version is a draft",
        "FAIT140": "exemption is wrong",
        "FAIT190": "cannot compare this",
    }
)
"""The title of each rule."""


def make_violation(
    rule: str,
    type: str,
    version: int = 0,
    *,
    step: str = "",
    place: str = "",
    details: Iterable[str] = (),
    advice: Iterable[str] = (),
    value: Any = UNSET,
) -> RuleViolation:
    """Return a violation of a rule, with its title. `step` is the version if it is not given."""
    return RuleViolation(
        rule=rule,
        title=TITLES[rule],
        type=type,
        version=version,
        step=step or (str(version) if version else ""),
        place=place,
        details=tuple(details),
        advice=tuple(advice),
        value=value,
    )
