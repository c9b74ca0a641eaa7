"""Samples: valid, repeatable, at the limits, and an error where there is none."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest
from msgspec import Meta

import fait
from fait._schema.patterns import matching_text
from fait.schema import describe, samples


class Leaf(msgspec.Struct, frozen=True, tag="leaf"):
    value: int


class Branch(msgspec.Struct, frozen=True, tag="branch"):
    left: "Leaf | Branch"
    right: "Leaf | Branch"


@fait.event("samples.grown")
class Grown:
    tree: Leaf | Branch
    count: Annotated[int, Meta(ge=3, le=5)]
    code: Annotated[str, Meta(pattern=r"^[A-Z]{3}-\d+$")]
    size: Literal["s", "m", "l"]
    name: Annotated[str, Meta(min_length=2, max_length=4)] = "name"
    note: str | None = None


def test_first_sample_has_all_members_and_second_one_the_required_ones() -> None:
    everything, required = samples(describe(Grown), 1)[:2]

    assert everything.keys() == {"tree", "count", "code", "size", "name", "note"}
    assert required.keys() == {"tree", "count", "code", "size"}


def test_samples_are_at_the_limits_and_have_every_constant() -> None:
    generated = samples(describe(Grown), 1)

    assert {each["count"] for each in generated} == {3, 4, 5}
    assert {each["size"] for each in generated} == {"s", "m", "l"}
    assert {len(each["name"]) for each in generated if "name" in each} >= {2, 4}
    assert {each["note"] for each in generated if "note" in each} > {None}
    assert {each["tree"]["type"] for each in generated} == {"leaf", "branch"}


def test_seed_determines_samples() -> None:
    description = describe(Grown)

    assert samples(description, 1) == samples(description, 1)
    assert samples(description, 1) != samples(description, 2)
    assert len(samples(description, 1, count=5)) == 5


def test_samples_of_a_seed_are_the_same_in_every_version_of_python() -> None:
    cls = msgspec.defstruct("A", [("count", int), ("name", str | None, None)], frozen=True)

    assert samples(describe(fait.event("samples.stable")(cls)), 4711, count=4) == GOLDEN


GOLDEN: list[Any] = [
    {"count": 694, "name": "textt"},
    {"count": 0},
    {"count": 1, "name": None},
    {"count": -1},
]


def test_recursive_type_has_finite_samples() -> None:
    def depth(node: Any) -> int:
        return 1 + max(map(depth, node.values()), default=0) if isinstance(node, dict) else 0

    assert 3 < max(map(depth, samples(describe(Grown), 1, count=50))) < 12


@pytest.mark.parametrize("pattern", [r"^[A-Z]{3}$", r"^a|b$", r"\d{2,4}-[^x]+", r"^(?:ab)*c?$", r"^\w+@\w+\.de$", "."])
def test_text_matches_pattern(pattern: str) -> None:
    numbers: Iterator[int] = iter(range(1000))
    text = matching_text(pattern, lambda count: next(numbers) % count)

    assert msgspec.convert(text, Annotated[str, Meta(pattern=pattern)]) == text


class Endless(msgspec.Struct, frozen=True):
    next: "Endless"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Annotated[int, Meta(ge=5, le=4)], "no value of"),
        (Annotated[str, Meta(pattern="^(?=a)b")], "no value of"),
        (Endless, "Endless contains itself without an end"),
    ],
)
def test_type_without_value_is_an_error(kind: Any, reason: str) -> None:
    description = describe(fait.event("samples.none")(msgspec.defstruct("A", [("field", kind)], frozen=True)))

    with pytest.raises(
        fait.UsageError, match=r"no sample of the event type was found: .* Write one by hand\."
    ) as found:
        samples(description, 1)
    assert reason in str(found.value)


def test_model_that_keeps_unknown_members_has_samples_with_one() -> None:
    class Keeps(pydantic.BaseModel, frozen=True, extra="allow"):
        pass

    generated = samples(describe(fait.event("samples.keeps")(Keeps)), 1)

    assert "another_member" in generated[0]
    assert generated[1] == {}


def test_samples_of_multiples_include_huge_numbers() -> None:
    @fait.event("test.multiples")
    class Multiples:
        value: Annotated[float, Meta(multiple_of=5)]

    assert 1.5e300 in [each["value"] for each in samples(describe(Multiples), 1, count=50)]


class Deepest(msgspec.Struct, frozen=True):
    note: str = ""
    place: str | None = None


class Deep(msgspec.Struct, frozen=True):
    by_name: list[list[dict[str, Deepest]]]


class LessDeep(msgspec.Struct, frozen=True):
    deep: tuple[Deep | None, ...] = ()


@fait.event("samples.deep")
class OutermostRecord:
    less_deep: dict[str, LessDeep] | None = None


def test_members_have_values_at_any_depth() -> None:
    text = json.dumps(samples(describe(OutermostRecord), 1, count=16))

    assert re.search(r'"note": "[^"]', text)
    assert re.search(r'"place": "[^"]', text)


def test_samples_of_a_wide_type_are_bounded() -> None:
    kind: Any = int
    for level in range(8):
        fields = [(f"field_{each}", kind | None, None) for each in range(8)]
        kind = msgspec.defstruct(f"Level{level}", fields, frozen=True)

    generated = samples(describe(fait.event("samples.wide")(kind)), 1, count=16)

    assert max(len(json.dumps(each)) for each in generated) < 100_000
