"""One field changes its name or its meaning, with and without an upcaster of another one."""

from enum import Enum
from typing import Any

import msgspec
import pytest

import fait
from tests.evolution.event_locks import check, rules

Data = dict[str, Any]


@pytest.mark.parametrize("nested", [False, True])
def test_renamed_required_field_is_one_finding(nested: bool) -> None:
    def version(number: int, *names: str) -> type:
        fields = [(name, str) for name in names]
        part: Any = msgspec.defstruct("Part", fields, frozen=True)
        return fait.event("test.named", version=number)(
            msgspec.defstruct("Named", [("parts", list[part])] if nested else fields, frozen=True)
        )

    path = "parts[]." if nested else ""
    (found,) = check([version(2, "b")], [version(1, "a")])

    assert (found.rule, found.advice[0]) == (
        "FAIT107",
        f'Renamed: fait.upcast("test.named", 1, fait.renamed("{path}a", "b"))',
    )
    assert rules(check([version(2, "b", "c")], [version(1, "a")])) == ["FAIT107 1 -> 2", "FAIT115 1 -> 2"]


@pytest.mark.parametrize("nested", [False, True])
def test_exchanged_values_of_an_enum_are_found_next_to_an_upcaster_of_another_field(nested: bool) -> None:
    def version(number: int, name: str, values: dict[str, str]) -> type:
        paid: Any = msgspec.defstruct("Part", [("by", Enum("By", values))], frozen=True)
        kind: Any = list[paid] if nested else Enum("By", values)
        return fait.event("test.paid", version=number)(
            msgspec.defstruct("Paid", [("by", kind), (name, int)], frozen=True)
        )

    def exchanged(data: Any) -> Any:
        return "b" if data == "a" else "a"

    @fait.upcast("test.paid", 1)
    def converting(data: Data) -> Data:
        by = [{"by": exchanged(each["by"])} for each in data["by"]] if nested else exchanged(data["by"])
        return {"by": by, "n": data["number"]}

    before = version(1, "number", {"CARD": "a", "CASH": "b"})
    after = version(2, "n", {"CARD": "b", "CASH": "a"})
    found = check([after], [before], fait.upcast("test.paid", 1, fait.renamed("number", "n")))

    assert rules(found) == ["FAIT115 1 -> 2"]
    assert "is CARD in the old version and CASH in the new version, and the upcaster leaves it" in found[0].details[0]
    assert check([after], [before], converting) == []


def test_default_that_is_omitted_cannot_be_changed_next_to_an_upcaster_of_another_field() -> None:
    def version(number: int, name: str, default: int) -> type:
        fields = [(name, str), ("count", int, default)]
        return fait.event("test.counted", version=number)(
            msgspec.defstruct("Counted", fields, frozen=True, omit_defaults=True)
        )

    before, after, renamed = version(1, "a", 1), version(2, "b", 2), fait.renamed("a", "b")
    found = check([after], [before], fait.upcast("test.counted", 1, renamed))

    assert rules(found) == ["FAIT115 1 -> 2"]
    assert check([after], [before], fait.upcast("test.counted", 1, renamed, fait.defaulted("count", 1))) == []
