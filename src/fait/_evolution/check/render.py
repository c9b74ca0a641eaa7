"""The text of a violation: what, where, an event that breaks, why, and what to do."""

import json
from collections.abc import Iterator

from msgspec import UNSET

from fait._evolution.locks.violation import RuleViolation

__all__ = ["render"]


def render(violation: RuleViolation, *, folder: str = "") -> str:
    """Return the text of a violation, in several lines without a newline at the end.

    Args:
        violation: what the check reported.
        folder: places in this folder are shown relative to it.
    """
    text = "\n".join(_lines(violation))
    return text.replace(f"{folder.rstrip('/')}/", "") if folder else text


def _lines(violation: RuleViolation) -> Iterator[str]:
    yield f"{violation.rule} {violation.title}"
    subject = "  ".join(filter(None, (violation.type, violation.step)))
    if subject or violation.place:
        yield f"  {subject:<58}  {violation.place}".rstrip()
    if violation.value is not UNSET:
        yield f"    input    {json.dumps(violation.value, ensure_ascii=False)}"
    yield from (f"    {each}" for each in violation.details)
    yield from (f"  {each}" for each in violation.advice)
    if violation.exempted:
        yield f"  Exempted in pyproject.toml: {violation.exempted}"
