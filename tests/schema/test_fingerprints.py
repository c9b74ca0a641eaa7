"""Fingerprints of many event classes, equal in all versions of Python, msgspec, Pydantic and attrs that fait supports.

A fingerprint is in every lock file of every application. If one changes here without a change of its class, increment
the version of the canonical form. `python -m tests.schema.test_fingerprints` writes the file again.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, UnsetType

import fait
from fait.schema import describe
from tests.schema.event_types import KINDS, RECORDS, SCALARS, Card, Cash, Currency, Fields, Money, Point, event_class

GOLDEN = Path(__file__).parent / "fingerprints.json"

COMPOSED: list[Any] = [
    list[int], set[str], frozenset[str], tuple[int, ...], tuple[int, str], dict[str, int], dict[int, Money],
    dict[Currency, list[Money]], int | None, int | str | None, list[Money | None], Card | Cash | None, fait.Json,
    Annotated[list[int], Meta(min_length=1, max_length=4)], Annotated[dict[str, int], Meta(max_length=3)],
    Literal["a", 1, None], list[tuple[Point, ...]], Annotated[int, Meta(ge=0)] | None,
]  # fmt: skip
MIXED: Fields = {
    "money": (Money, NODEFAULT),
    "size": (Annotated[int, Meta(ge=0, le=10)], NODEFAULT),
    "names": (list[str], NODEFAULT),
    "note": (str | None, None),
    "currency": (Currency, Currency.EUR),
}


def classes() -> Iterator[tuple[str, type]]:
    for number, kind in enumerate([*SCALARS, *RECORDS, *COMPOSED]):
        yield f"type {number:02}", event_class("struct", {"field": (kind, NODEFAULT)})
    for kind in KINDS:
        yield f"mixed, {kind}", event_class(kind, MIXED)
    yield "omits defaults", event_class("struct", MIXED, omit_defaults=True)
    for option in ("forbid_unknown_fields", "array_like"):
        definition: Any = [("a", int), ("b", int | UnsetType, UNSET)]
        cls = msgspec.defstruct("Described", definition, frozen=True, **{option: True})
        yield option, fait.event("test.option")(cls)


def fingerprints() -> dict[str, str]:
    return {name: describe(cls).fingerprint for name, cls in classes()}


def test_fingerprints_are_those_of_the_golden_file() -> None:
    assert fingerprints() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_fingerprint_of_a_mixed_class_is_the_same_for_all_libraries() -> None:
    found = {name: value for name, value in fingerprints().items() if name.startswith("mixed")}

    assert len(set(found.values())) == 1, found


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(fingerprints(), indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{GOLDEN}\n")
