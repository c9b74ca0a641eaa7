"""Comparisons of event classes, where Python knows more than a JSON Schema does."""

import dataclasses
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pydantic
import pytest
from msgspec import UNSET, Meta

import fait
from fait._events.event import event_type
from fait.schema import Difference, Verdict, compare, describe, worst_verdict

READABLE, DECLARE, TRUST, CONVERT = Verdict.READABLE, Verdict.DECLARE, Verdict.TRUST, Verdict.CONVERT


def event_with(*fields: Any, **options: Any) -> type:
    return fait.event("test.compared")(msgspec.defstruct("Compared", fields, frozen=True, **options))


def only(differences: list[Difference]) -> Difference:
    assert len(differences) == 1, differences
    return differences[0]


class Card(msgspec.Struct, frozen=True, tag="card"):
    number: str


class Cash(msgspec.Struct, frozen=True, tag="cash"):
    pass


CHANGES = [
    (int, float, TRUST, CONVERT),
    (Annotated[int, Meta(ge=0, le=1000)], float, READABLE, CONVERT),
    (Annotated[int, Meta(multiple_of=5)], float, TRUST, CONVERT),
    (Annotated[int, Meta(ge=0)], float, TRUST, CONVERT),
    (Annotated[int, Meta(ge=-(2**53), le=2**53)], float, READABLE, CONVERT),
    (Annotated[int, Meta(gt=-5, lt=2**53 + 2)], float, TRUST, CONVERT),
    (int, Decimal, CONVERT, CONVERT),
    (str, datetime, CONVERT, READABLE),
    (datetime, str, READABLE, CONVERT),
    (bytes, str, READABLE, CONVERT),
    (list[int], set[int], TRUST, READABLE),
    (tuple[int, ...], list[int], READABLE, READABLE),
    (tuple[int, int], list[int], CONVERT, CONVERT),
    (dict[str, int], dict[int, int], CONVERT, READABLE),
    (Card, Card | Cash, READABLE, CONVERT),
    (Card | Cash, Cash, CONVERT, READABLE),
    (int | str, int | str | None, READABLE, CONVERT),
    (int, int | float, READABLE, CONVERT),
    (float, float | Literal[1], CONVERT, READABLE),
    (float | Literal[1], float | Literal[1] | None, READABLE, CONVERT),
    (str, fait.Json, READABLE, CONVERT),
]


@pytest.mark.parametrize(("old", "new", "backward", "forward"), CHANGES, ids=str)
def test_change_of_type_has_verdict(old: Any, new: Any, backward: Verdict, forward: Verdict) -> None:
    before, after = describe(event_with(("a", old))), describe(event_with(("a", new)))

    assert worst_verdict(compare(before, after)) is backward
    assert worst_verdict(compare(before, after, "forward")) is forward


def test_integer_that_a_float_cannot_hold_is_shown() -> None:
    difference = only(compare(describe(event_with(("a", int))), describe(event_with(("a", float)))))

    assert difference.value == {"a": 2**53 + 1}
    assert difference.explanation == "the new version has a float, which holds integers exactly only up to 2**53"


def test_integer_that_msgspec_takes_for_a_constant_is_not_a_float() -> None:
    old, new = describe(event_with(("a", float))), describe(event_with(("a", float | Literal[1])))

    assert only([each for each in compare(old, new) if each.verdict is not READABLE]).verdict is CONVERT


@pytest.mark.parametrize("limits", [{"ge": 5, "gt": 0}, {"le": 5, "lt": 100}])
def test_inclusive_limit_that_is_tighter_than_an_exclusive_one_is_compared(limits: dict[str, int]) -> None:
    def model(**limits: int) -> type:
        return fait.event("test.limits")(
            pydantic.create_model("Limits", __config__={"frozen": True}, a=Annotated[int, pydantic.Field(**limits)])
        )

    loose = {name: limit for name, limit in limits.items() if name in ("gt", "lt")}
    difference = only(compare(describe(model(**loose)), describe(model(**limits))))

    assert (difference.rule, difference.verdict) == ("limit-tightened", TRUST)


def test_default_that_the_writer_omits_cannot_be_changed() -> None:
    def version(default: str, omit: bool) -> type:
        return event_with(("currency", str, default), omit_defaults=omit)

    written = compare(describe(version("EUR", omit=False)), describe(version("USD", omit=False)))
    omitted = compare(describe(version("EUR", omit=True)), describe(version("USD", omit=True)))

    assert (only(written).rule, only(written).verdict) == ("default-changed", READABLE)
    assert (only(omitted).rule, only(omitted).verdict) == ("default-changed", CONVERT)
    assert only(omitted).explanation == 'where currency is absent, it was "EUR" and is read as "USD"'


@pytest.mark.parametrize(("slots", "verdict"), [(False, CONVERT), (True, READABLE)])
def test_default_that_a_decoded_dataclass_omits_cannot_be_changed(slots: bool, verdict: Verdict) -> None:
    def version(default: str) -> type:
        fields: Any = [("currency", str, dataclasses.field(default=default))]
        return fait.event("test.money")(dataclasses.make_dataclass("Money", fields, frozen=True, slots=slots))

    declared = event_type(version("EUR"))
    assert declared is not None
    stored_again = declared.encode(declared.decode("{}"))

    assert (stored_again == b"{}") == (verdict is CONVERT)
    assert only(compare(describe(version("EUR")), describe(version("USD")))).verdict is verdict


def test_default_removed_from_a_field_without_another_is_required() -> None:
    old, new = event_with(("a", int), ("b", int, 0)), event_with(("a", int), ("b", int))
    difference = next(each for each in compare(describe(old), describe(new)) if each.verdict is not READABLE)

    assert (difference.rule, difference.verdict, difference.value) == ("required", CONVERT, {"a": 0})


def test_reader_that_refuses_unknown_members_breaks_when_one_is_added() -> None:
    old = event_with(("a", int), forbid_unknown_fields=True)
    new = event_with(("a", int), ("b", int, 0), forbid_unknown_fields=True)

    assert worst_verdict(compare(describe(old), describe(new))) is READABLE
    assert worst_verdict(compare(describe(old), describe(new), "forward")) is CONVERT


def test_model_that_keeps_unknown_members_loses_nothing() -> None:
    class Keeps(pydantic.BaseModel, frozen=True, extra="allow"):
        pass

    class Names(pydantic.BaseModel, frozen=True):
        a: int = 0

    keeps, names = describe(fait.event("a")(Keeps)), describe(fait.event("a")(Names))

    assert compare(names, keeps)[0].verdict is READABLE
    assert worst_verdict(compare(names, keeps)) is READABLE
    assert worst_verdict(compare(keeps, names)) is CONVERT


def test_union_of_untagged_models_is_not_extended() -> None:
    class Person(pydantic.BaseModel, frozen=True):
        name: str

    class Company(pydantic.BaseModel, frozen=True):
        name: str
        tax_id: str = ""

    def party(kind: Any) -> type:
        return fait.event("a")(pydantic.create_model("Party", __config__={"frozen": True}, party=(kind, ...)))

    both = describe(party(Person | Company))

    assert compare(both, both) == []
    assert worst_verdict(compare(describe(party(Person)), both)) is CONVERT


def test_fields_of_a_named_tuple_cannot_be_exchanged() -> None:
    before, after = NamedTuple("Point", [("x", int), ("y", int)]), NamedTuple("Point", [("y", int), ("x", int)])
    difference = only(compare(describe(event_with(("at", before))), describe(event_with(("at", after)))))

    assert (difference.path, difference.verdict) == ("$.at", CONVERT)
    assert difference.explanation == "the items x, y of the old version are y, x in the new version"


def test_values_of_an_enum_cannot_be_exchanged() -> None:
    before = IntEnum("Status", {"PAID": 1, "SENT": 2})
    after = IntEnum("Status", {"PAID": 1, "PACKED": 2, "SENT": 3})
    found = compare(describe(event_with(("status", before))), describe(event_with(("status", after))))

    assert [each.explanation for each in found if each.verdict is CONVERT] == [
        "2 is SENT in the old version and PACKED in the new version"
    ]


def test_members_of_an_enum_can_be_renamed() -> None:
    before, after = IntEnum("Status", {"PAID": 1, "SENT": 2}), IntEnum("Status", {"PAID": 1, "SHIPPED": 2})
    old, new = (describe(event_with(("status", dict[kind, kind | None]))) for kind in (before, after))

    assert compare(old, new) == []
    assert old.fingerprint == new.fingerprint


@pytest.mark.parametrize("library", ["msgspec", "pydantic"])
def test_names_in_json_of_two_fields_cannot_be_exchanged(library: str) -> None:
    def version(gross: str, net: str) -> type:
        if library == "pydantic":
            fields: Any = {"gross": (int, pydantic.Field(alias=gross)), "net": (int, pydantic.Field(alias=net))}
            return fait.event("test.compared")(pydantic.create_model("Price", __config__={"frozen": True}, **fields))
        return event_with(("gross", int, msgspec.field(name=gross)), ("net", int, msgspec.field(name=net)))

    old, new, renamed = version("g", "n"), version("n", "g"), event_with(("g", int), ("n", int))

    assert [each.explanation for each in compare(describe(old), describe(new))] == [
        "g holds gross in the old version and net in the new version",
        "n holds net in the old version and gross in the new version",
    ]
    assert compare(describe(old), describe(renamed)) == []


def test_recursive_type_is_compared_once() -> None:
    class Tree(msgspec.Struct, frozen=True):
        value: int
        children: list["Tree"] = []

    class OtherTree(msgspec.Struct, frozen=True, rename={"children": "children"}):
        value: str
        children: list["OtherTree"] = []

    def rooted(tree: Any) -> type:
        return event_with(("root", tree))

    scope = {"Tree": Tree, "OtherTree": OtherTree}
    for cls in scope.values():
        cls.__annotations__["children"] = list[cls]
    difference = only(compare(describe(rooted(Tree)), describe(rooted(OtherTree))))

    assert (difference.path, difference.value) == ("$.root.value", {"root": {"value": 0}})


def test_differences_of_both_directions_are_marked() -> None:
    both = compare(describe(event_with(("a", int))), describe(event_with(("a", int | None))), "full")

    assert [(each.direction, each.rule, each.verdict) for each in both] == [
        ("backward", "alternative-added", READABLE),
        ("forward", "alternative-added", CONVERT),
    ]
    assert [each.value for each in both] == [UNSET, {"a": None}]
