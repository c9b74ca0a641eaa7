"""Turns an error that keeps the registry of an app from being built into a violation."""

import re

from fait._errors import DeclarationError
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.violation import RuleViolation

__all__ = ["violation_of"]

_TWO_UPCASTERS = re.compile(r"two upcasters read version (\d+) of '(.+)': (.+) and (.+)\. Remove one of them\.")
_NOT_INCLUDED = re.compile(r"the upcaster at (.+) reads version (\d+) of '(.+)', but the app does not include it")


def violation_of(error: DeclarationError) -> RuleViolation | None:
    """Return the violation that keeps a registry from being built; None if the error is of another kind.

    The error is one of `build_registry`, and so also one of including objects in an app and of resolving it.
    """
    text = str(error)
    if two := _TWO_UPCASTERS.fullmatch(text):
        version, name, one, other = two.groups()
        return make_violation(
            "FAIT114",
            name,
            int(version),
            place=other,
            details=(f"{one} and {other} read version {version}",),
            advice=("Remove one of them.",),
        )
    if left_out := _NOT_INCLUDED.match(text):
        place, version, name = left_out.groups()
        return make_violation(
            "FAIT115",
            name,
            int(version),
            place=place,
            details=(f"An upcaster reads version {version}, and the app does not include it.",),
            advice=("Include it, or its module: app.include(...)",),
        )
    return None
