"""Each rule of the check: what violates it, and its text, which is compared with the files in `golden/`.

To write these files again: `python -m tests.evolution.test_check`. Then read them.
"""

import re
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

import fait
from fait._errors import DeclarationError
from fait._events.registry import build_registry
from fait._events.upcast import Upcaster
from fait._evolution.check.check_types import check_types
from fait._evolution.check.declarations import violation_of
from fait._evolution.check.render import render
from fait._evolution.locks.folder import LockFolder
from fait._evolution.locks.rules import TITLES
from fait._evolution.locks.settings import DeclaredConsumer
from fait._evolution.locks.violation import RuleViolation
from fait._schema.description import Description, JsonObject, Member, Opaque, Text
from tests.evolution.event_locks import check, lock, locks_of, rules

GOLDEN = Path(__file__).parent / "golden"
NAME = "shop.order-placed"

Data = dict[str, Any]


@fait.event(NAME, version=1, kw_only=True)
class Placed1:
    order_id: str
    customer_name: str
    amount: int


@fait.event(NAME, version=2, kw_only=True)
class Placed2:
    order_id: str
    customer: str = ""
    amount: int


@fait.event(NAME, version=3, kw_only=True)
class Placed3:
    order_id: str
    customer: str = ""
    amount: int
    currency: str


@fait.event(NAME, version=2, kw_only=True)
class Changed2:
    order_id: str
    customer: str = ""
    amount: float
    note: str = ""


@fait.event(NAME, version=3, kw_only=True)
class BackAgain3:
    order_id: str
    customer: str = ""
    customer_name: tuple[str, ...] = ()
    amount: int


@fait.event("shop.Order-Placed")
class InAnotherCase:
    order_id: str


@fait.event("shop.order-sent", version=2)
class Sent2:
    order_id: str


@fait.event("shop.order-shipped", version=1)
class Shipped1:
    order_id: str


@fait.event("shop.order-shipped", version=2, was=("shop.order-sent",))
class Shipped2:
    order_id: str
    note: str = ""


def to_customer() -> Upcaster:
    return fait.upcast(NAME, 1, fait.renamed("customer_name", "customer"))


def step(function: Callable[[Data], Data]) -> Upcaster:
    """Return an upcaster from version 2. One at the top level of this module would have to be included in each test."""
    return fait.upcast(NAME, 2)(function)


def with_currency(data: Data) -> Data:
    return {**data, "currency": "EUR"}


def with_currency_misspelled(data: Data) -> Data:
    return {**data, "curency": "EUR"}


def with_currency_in_place(data: Data) -> Data:
    data["currency"] = "EUR"
    return data


COUNT = iter(range(1_000_000))


def with_counted_currency(data: Data) -> Data:
    return {**data, "currency": str(next(COUNT))}


def published_event_changed() -> list[RuleViolation]:
    return check([Changed2], [Placed1, Placed2], to_customer())


def lock_edited() -> list[RuleViolation]:
    with TemporaryDirectory() as base:
        folder = LockFolder(Path(base, "events"))
        file = folder.write(lock(Placed2))
        file.write_bytes(file.read_bytes().replace(b"2026-10-02", b"2026-01-01"))
        text = msgspec.json.encode(folder.read()[1]).replace(f"{base}/".encode(), b"")
    return msgspec.json.decode(text, type=list[RuleViolation])


def version_missing() -> list[RuleViolation]:
    return check([Placed3], [Placed1, Placed3], to_customer())


def type_vanished() -> list[RuleViolation]:
    return check([Shipped1], [Sent2, Shipped1])[-1:]


def version_unreadable() -> list[RuleViolation]:
    return check([Placed2], [Placed1, Placed2, Placed3], to_customer())


def field_disappeared() -> list[RuleViolation]:
    return check([Placed2], [Placed1, Placed2])


def reserved_name_back() -> list[RuleViolation]:
    return check([BackAgain3], [Placed1, Placed2, BackAgain3], to_customer())


def names_by_case() -> list[RuleViolation]:
    return check([Placed1, InAnotherCase], [Placed1])


def upcaster_wrong() -> list[RuleViolation]:
    return check([Placed3], [Placed1, Placed2, Placed3], to_customer(), step(with_currency_misspelled))


def upcaster_not_repeatable() -> list[RuleViolation]:
    return check([Placed3], [Placed1, Placed2, Placed3], to_customer(), step(with_counted_currency))


def upcaster_changes_input() -> list[RuleViolation]:
    return check([Placed3], [Placed1, Placed2, Placed3], to_customer(), step(with_currency_in_place))


class Reversing(msgspec.Struct, frozen=True):
    pattern: "Endless"


class Endless(msgspec.Struct, frozen=True):
    inner: Reversing


@fait.event(NAME)
class NoFiniteValue:
    tree: Endless


def not_sampled() -> list[RuleViolation]:
    @fait.event(NAME, version=2)
    class Next:
        tree: Endless
        note: str = ""

    return check([Next], [lock(NoFiniteValue, frozen=[])])


def two_upcasters() -> list[RuleViolation]:
    with pytest.raises(DeclarationError) as raised:
        build_registry([Placed3], [to_customer(), step(with_currency), step(with_currency_misspelled)])
    violation = violation_of(raised.value)
    return [violation] if violation else []


def change_needs_upcaster() -> list[RuleViolation]:
    return check([Placed3], [Placed1, Placed2, Placed3], to_customer())


def consumer_cannot_read() -> list[RuleViolation]:
    billing = DeclaredConsumer(name="billing", event=NAME, version=1)
    return check([Placed2], [Placed1, Placed2], to_customer(), consumers=[billing])


def draft() -> list[RuleViolation]:
    return check([Placed2], [Placed1], to_customer(), drafts_allowed=False)


def not_comparable() -> list[RuleViolation]:
    written = Description(JsonObject({"order_id": Member(Text()), "note": Member(Opaque("if"), required=False)}), {})
    foreign = msgspec.structs.replace(
        lock(Placed1), description=written, fingerprint=written.fingerprint, samples=({"order_id": "o"},)
    )

    @fait.event(NAME, version=2)
    class Next:
        order_id: str
        note: str = ""

    return check([Next], [foreign])


CASES: dict[str, Callable[[], list[RuleViolation]]] = {
    "FAIT101": published_event_changed,
    "FAIT102": lock_edited,
    "FAIT103": version_missing,
    "FAIT104": type_vanished,
    "FAIT105": version_unreadable,
    "FAIT107": field_disappeared,
    "FAIT108": reserved_name_back,
    "FAIT109": names_by_case,
    "FAIT110": upcaster_wrong,
    "FAIT111": upcaster_not_repeatable,
    "FAIT112": upcaster_changes_input,
    "FAIT113": not_sampled,
    "FAIT114": two_upcasters,
    "FAIT115": change_needs_upcaster,
    "FAIT120": consumer_cannot_read,
    "FAIT130": draft,
    "FAIT190": not_comparable,
}


def texts() -> Iterator[tuple[str, str]]:
    """Yield the rules with their texts; lines of the source are left out."""
    for rule, case in CASES.items():
        text = "\n\n".join(render(each, folder=str(Path(__file__).parents[2])) for each in case())
        yield rule, re.sub(r"(\.py):\d+", r"\1:LINE", text) + "\n"


@pytest.mark.parametrize("rule", CASES)
def test_violation_of_rule_is_the_only_one_with_its_text(rule: str) -> None:
    found = CASES[rule]()

    assert [each.rule for each in found] == [rule]
    assert dict(texts())[rule] == (GOLDEN / f"{rule}.txt").read_text(encoding="utf-8")


def test_each_rule_of_the_check_has_a_text() -> None:
    assert {*TITLES} - {*CASES} == {"FAIT140"}  # exemptions are not part of the check


def test_right_history_has_no_violations() -> None:
    assert check([Placed3], [Placed1, Placed2, Placed3], to_customer(), step(with_currency), drafts_allowed=False) == []


def test_violations_of_all_types_are_reported_in_one_run_and_in_one_order() -> None:
    found = check([Placed3, Shipped1, InAnotherCase], [Placed1, Placed3, Sent2], drafts_allowed=False)

    assert [(each.type, each.rule) for each in found] == [
        ("shop.Order-Placed", "FAIT130"),
        ("shop.order-placed", "FAIT109"),
        ("shop.order-placed", "FAIT103"),
        ("shop.order-sent", "FAIT104"),
        ("shop.order-shipped", "FAIT130"),
    ]


def test_check_gives_the_same_twice() -> None:
    registry, locks = build_registry([Placed2]), locks_of(Placed1, Placed2)

    assert check_types(registry, locks) == check_types(registry, locks)


def test_draft_may_change_and_is_checked_against_the_locks_before_it() -> None:
    assert rules(check([Placed2], [Placed1])) == ["FAIT107 1 -> 2"]


def test_no_locks_of_a_type_with_version_one_are_no_violation() -> None:
    assert check([Placed1], []) == []


def test_renamed_type_has_one_history() -> None:
    @fait.event("shop.order-sent", version=1)
    class Sent1:
        order_id: str

    assert check([Shipped2], [Sent1, Shipped2]) == []


def test_version_locked_under_two_names_with_different_contents_is_refused() -> None:
    @fait.event("shop.order-sent", version=1)
    class Sent1:
        order_id: int

    found = check([Shipped2], [Sent1, Shipped1, Shipped2])

    assert "FAIT101 1" in rules(found)


def test_retired_type_that_becomes_another_is_read_with_proof() -> None:
    @fait.upcast("shop.order-sent", 2, to=("shop.order-shipped", 1))
    def function(data: Data) -> Data:
        return {"order": data["order_id"]}

    found = check([Shipped1], [Sent2, Shipped1], function)

    assert "FAIT110 2 -> shop.order-shipped 1" in rules(found)


def test_retired_type_whose_events_are_dropped_needs_no_proof() -> None:
    found = check([Shipped1], [Sent2, Shipped1], fait.drop_event("shop.order-sent", 2))

    assert rules(found) == ["FAIT103 1"]


def test_retired_type_with_a_newer_locked_version_cannot_be_read() -> None:
    found = check([Shipped1], [Sent2, Shipped1], fait.drop_event("shop.order-sent", 1))

    assert "FAIT105 2 -> ?" in rules(found)


def test_upcaster_is_proven_with_the_results_of_the_one_before() -> None:
    @fait.upcast(NAME, 1)
    def to_longer_name(data: Data) -> Data:
        return {"order_id": data["order_id"], "customer": data["customer_name"] or "x" * 99, "amount": data["amount"]}

    @fait.upcast(NAME, 2)
    def only_short_names(data: Data) -> Data:
        if len(data.get("customer", "")) > 90:
            raise ValueError("too long")
        return {**data, "currency": "EUR"}

    (found,) = check([Placed3], [Placed1, Placed2, Placed3], to_longer_name, only_short_names)

    assert rules([found]) == ["FAIT110 2 -> 3"]
    assert 'made from version 1: {"amount": 0, "customer_name": "", "order_id": ""}' in found.details


def test_input_is_shown_as_it_was_before_the_upcaster_failed() -> None:
    def pops_and_fails(data: Data) -> Data:
        del data["order_id"]
        raise ValueError("failed")

    (found,) = check([Placed3], [Placed1, Placed2, Placed3], to_customer(), step(pops_and_fails))

    assert found.value == {"amount": 0, "order_id": ""}


def test_input_from_another_upcaster_is_shown_as_json() -> None:
    @fait.upcast(NAME, 1)
    def with_object(data: Data) -> Data:
        return {"order_id": UUID(int=1), "customer": data["customer_name"], "amount": data["amount"]}

    def needs_text(data: Data) -> Data:
        return {**data, "order_id": data["order_id"].upper(), "currency": "EUR"}

    (found,) = check([Placed3], [Placed1, Placed2, Placed3], with_object, step(needs_text))

    assert found.value["order_id"] == str(UUID(int=1))
    assert "'UUID' object has no attribute 'upper'" in render(found)


def test_dropped_member_is_declared_next_to_a_function() -> None:
    def without_note(data: Data) -> Data:
        return {key: value for key, value in data.items() if key != "customer"}

    silent = fait.upcast(NAME, 2, without_note, fait.defaulted("currency", "EUR"))
    declared = fait.upcast(NAME, 2, without_note, fait.defaulted("currency", "EUR"), fait.dropped("customer"))

    (found,) = check([Placed3], [Placed1, Placed2, Placed3], to_customer(), silent)

    assert found.details == ("customer is in both versions, and no result of the upcaster has it",)
    assert check([Placed3], [Placed1, Placed2, Placed3], to_customer(), declared) == []


def test_class_that_refuses_a_locked_sample_is_found() -> None:
    @fait.event(NAME, version=2)
    class Positive:
        amount: int

        def __post_init__(self) -> None:
            if self.amount < 1:
                raise ValueError("not positive")

    @fait.event(NAME, version=1)
    class Any1:
        amount: int

    assert rules(check([Positive], [lock(Any1, frozen=[{"amount": 0}])])) == ["FAIT110 1 -> 2"]
    assert check([Positive], [lock(Any1, frozen=[{"amount": 1}])]) == []


def test_class_that_changes_a_locked_sample_is_found() -> None:
    pydantic = pytest.importorskip("pydantic")

    @fait.event(NAME, version=1)
    class Stripped(pydantic.BaseModel, frozen=True):
        note: str

        @pydantic.field_validator("note")
        @classmethod
        def without_spaces(cls, value: str) -> str:
            return value.strip()

    found = check([Stripped], [lock(Stripped, frozen=[{"note": " a"}])])

    assert found[0].details[0] == 'Stripped changes note: {"note": ""}'
    assert check([Stripped], [lock(Stripped, frozen=[{"note": "a"}])]) == []


def test_code_of_a_class_that_refuses_what_the_locked_class_read_is_found() -> None:
    @fait.event(NAME, version=1)
    @dataclass(frozen=True)
    class Paid1:
        amount: int

    @fait.event(NAME, version=2)
    @dataclass(frozen=True)
    class Paid2:
        amount: int

        def __post_init__(self) -> None:
            if self.amount < 0:
                raise ValueError("the amount is negative")

    before = lock(Paid1, frozen=[{"amount": 5}])

    assert check([Paid2], [before]) == []
    found = check([Paid2], [msgspec.structs.replace(before, reads_all=True)])
    assert rules(found) == ["FAIT110 1 -> 2"]
    assert "the amount is negative" in found[0].details[0]


def test_downcaster_is_proven() -> None:
    @fait.downcast(NAME, 2)
    def keeps_the_new_name(data: Data) -> Data:
        return data

    right = fait.downcast(NAME, 2, fait.defaulted("customer", ""), fait.renamed("customer", "customer_name"))

    assert check([Placed2], [Placed1, Placed2], to_customer(), right) == []
    assert "FAIT110 2 -> 1" in rules(check([Placed2], [Placed1, Placed2], to_customer(), keeps_the_new_name))


def test_consumer_that_gets_a_downcast_version_can_read_it() -> None:
    billing = DeclaredConsumer(name="billing", event=NAME, version=1)
    right = fait.downcast(NAME, 2, fait.defaulted("customer", ""), fait.renamed("customer", "customer_name"))

    assert check([Placed2], [Placed1, Placed2], to_customer(), right, consumers=[billing]) == []


def test_consumer_of_an_unknown_version_is_refused() -> None:
    found = check([Placed1], [Placed1], consumers=[DeclaredConsumer(name="billing", event=NAME, version=7)])

    assert rules(found) == ["FAIT120 7"]


def test_reserved_name_of_a_lock_is_kept_although_no_version_has_it() -> None:
    found = check([Placed2], [lock(Placed1, reserved=["customer"]), Placed2], to_customer())

    assert rules(found) == ["FAIT108 2"]


def test_upcaster_that_is_not_included_is_a_violation() -> None:
    module = types.ModuleType("shop_without_upcaster")
    sys.modules[module.__name__] = module
    exec(
        "import fait\n"
        "fait.upcast('shop.left-out', 1, fait.dropped('a'))\n"
        "@fait.event('shop.left-out', version=2)\n"
        "class LeftOut:\n"
        "    order_id: str\n",
        vars(module),
    )
    with pytest.raises(DeclarationError) as raised:
        build_registry([module.LeftOut])

    violation = violation_of(raised.value)

    assert violation is not None
    assert (violation.rule, violation.type, violation.version) == ("FAIT115", "shop.left-out", 1)
    assert violation.place == "<string>:2"


def test_other_error_of_a_declaration_is_no_violation() -> None:
    assert violation_of(DeclarationError("something else")) is None


def test_nested_field_without_a_declaration_is_found_with_its_path() -> None:
    class Line1(msgspec.Struct, frozen=True):
        sku: str
        hint: str = ""

    class Line2(msgspec.Struct, frozen=True):
        sku: str
        note: str = ""

    first = fait.event(NAME, version=1)(type("Lines1", (), {"__annotations__": {"lines": list[Line1]}}))
    second = fait.event(NAME, version=2)(type("Lines2", (), {"__annotations__": {"lines": list[Line2]}}))

    (found,) = check([second], [first])

    assert found.advice == (
        f'Renamed: fait.upcast("{NAME}", 1, fait.renamed("lines[].hint", "note"))',
        f'Dropped: fait.upcast("{NAME}", 1, fait.dropped("lines[].hint"))',
    )
    assert check([second], [first], fait.upcast(NAME, 1, fait.renamed("lines[].hint", "note"))) == []


def test_exchanged_values_of_an_enum_change_a_locked_version() -> None:
    def version(values: dict[str, str]) -> type:
        return fait.event("test.paid")(msgspec.defstruct("Paid", [("by", Enum("By", values))], frozen=True))

    before, after = version({"CARD": "a", "CASH": "b"}), version({"CARD": "b", "CASH": "a"})
    found = check([after], [before])

    assert rules(found) == ["FAIT101 1"]
    assert found[0].details[0] == 'by: "a" is CARD in the old version and CASH in the new version'


def test_new_member_with_a_default_that_differs_in_each_reading_is_found() -> None:
    def version(number: int, *fields: Any) -> type:
        return fait.event("test.numbered", version=number)(
            msgspec.defstruct("Numbered", [("a", int), *fields], frozen=True)
        )

    computed = ("id", UUID, msgspec.field(default_factory=uuid4))
    found = check([version(2, computed)], [version(1)])

    assert rules(found) == ["FAIT111 1 -> 2"]
    assert found[0].details[0] == "Numbered computes another default in each reading: id"
    assert check([version(2, computed, ("b", int, 0))], [version(1, computed)]) == []


def test_default_that_an_earlier_version_omits_cannot_be_changed() -> None:
    def version(number: int, default: int, *, omit: bool = False) -> type:
        fields = [("count", int, default)]
        return fait.event("test.counted", version=number)(
            msgspec.defstruct("Counted", fields, frozen=True, omit_defaults=omit)
        )

    locked = [version(1, 1, omit=True), version(2, 1)]

    assert rules(check([version(3, 2)], locked)) == ["FAIT115 2 -> 3"]
    assert check([version(3, 2)], locked, fait.upcast("test.counted", 2, fait.defaulted("count", 1))) == []


def test_pydantic_dataclass_and_msgspec_classes_are_checked_alike() -> None:
    import dataclasses

    pydantic = pytest.importorskip("pydantic")

    @fait.event(NAME, version=1)
    @dataclasses.dataclass(frozen=True)
    class First:
        at: datetime
        name: str

    @fait.event(NAME, version=2)
    class Second(pydantic.BaseModel, frozen=True):
        at: datetime
        customer: str

    assert check([Second], [First], fait.upcast(NAME, 1, fait.renamed("name", "customer"))) == []
    assert rules(check([Second], [First], fait.upcast(NAME, 1, fait.renamed("name", "costumer")))) == ["FAIT110 1 -> 2"]


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for code, text in texts():
        (GOLDEN / f"{code}.txt").write_text(text, encoding="utf-8")
