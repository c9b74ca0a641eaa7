"""Descriptions: what they contain, what they do not depend on, and what they refuse."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from msgspec import UNSET, Meta, UnsetType

import fait
from fait._schema.description import (
    Anything,
    Array,
    Boolean,
    Choice,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    Member,
    Null,
    Number,
    OneOf,
    Reference,
    Text,
)
from fait.schema import Description, compare, describe

T = TypeVar("T")
CustomerId = NewType("CustomerId", str)


class Currency(Enum):
    USD = "USD"
    EUR = "EUR"


class Money(msgspec.Struct, frozen=True):
    amount: Decimal
    currency: Currency = Currency.EUR


class Tree(msgspec.Struct, frozen=True):
    name: str
    children: list["Tree"] = []


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]


class Card(msgspec.Struct, frozen=True, tag="card"):
    number: str


class Cash(msgspec.Struct, frozen=True, tag="cash"):
    pass


class Row(msgspec.Struct, frozen=True, array_like=True, tag="row"):
    x: int
    y: int = 0


class Point(NamedTuple):
    x: int
    y: int = 0


class Address(TypedDict):
    city: str
    zip: NotRequired[str]


def event_with(kind: Any, **options: Any) -> type:
    return fait.event("test.described")(msgspec.defstruct("Described", [("field", kind)], frozen=True, **options))


def type_of(kind: Any) -> JsonType:
    root = describe(event_with(kind)).records["Described"]
    assert isinstance(root, JsonObject)
    return root.members["field"].type


TYPES: list[tuple[Any, JsonType]] = [
    (bool, Boolean()),
    (int, Number()),
    (float, Number("double")),
    (Decimal, Number("decimal")),
    (str, Text()),
    (bytes, Text("base64")),
    (datetime, Text("date-time")),
    (Annotated[datetime, Meta(tz=True)], Text("date-time")),
    (date, Text("date")),
    (time, Text("time")),
    (timedelta, Text("duration")),
    (UUID, Text("uuid")),
    (fait.Json, Anything()),
    (CustomerId, Text()),
    (Currency, Choice(("EUR", "USD"))),
    (Literal["b", "a"], Choice(("a", "b"))),
    (Literal["a", 1, None], OneOf((Choice((1,)), Choice(("a",)), Null()))),
    (str | None, OneOf((Null(), Text()))),
    (int | str | None, OneOf((Null(), Number(), Text()))),
    (list[int], Array(Number())),
    (tuple[int, ...], Array(Number())),
    (set[int], Array(Number(), unique=True)),
    (frozenset[str], Array(Text(), unique=True)),
    (tuple[int, str], FixedArray((Number(), Text()))),
    (dict[str, int], JsonMap(Text(), Number())),
    (dict[int, int], JsonMap(Text("integer"), Number())),
    (dict[Currency, int], JsonMap(Choice(("EUR", "USD")), Number())),
    (dict[UUID, bool], JsonMap(Text("uuid"), Boolean())),
    (Annotated[int, Meta(ge=1, lt=9, multiple_of=2)], Number(minimum=1, exclusive_maximum=9, multiple_of=2)),
    (Annotated[int, Meta(ge=1)] | None, OneOf((Null(), Number(minimum=1)))),
    (Annotated[str, Meta(min_length=1, max_length=3, pattern="^a")], Text("", 1, 3, "^a")),
    (Annotated[list[int], Meta(min_length=1, max_length=3)], Array(Number(), 1, 3)),
    (Annotated[dict[str, int], Meta(max_length=3)], JsonMap(Text(), Number(), 0, 3)),
    (Annotated[str, "a note", Meta(description="documented")], Text()),
    (Point, Reference("Point")),
]


@pytest.mark.parametrize(("kind", "expected"), TYPES, ids=lambda each: str(each)[:40])
def test_type_has_description(kind: Any, expected: JsonType) -> None:
    described = type_of(kind)

    assert sorted_types(described) == sorted_types(expected)


def sorted_types(node: JsonType) -> Any:
    return set(map(repr, node.types)) if isinstance(node, OneOf) else node


def test_records_are_described_by_name() -> None:
    description = describe(event_with(tuple[Money, Tree, Point, Address, Row, Page[int]]))

    assert description.root == Reference("Described")
    records = {name: each for name, each in description.records.items() if name != "Described"}
    assert records == {
        "Money": JsonObject(
            {
                "amount": Member(Number("decimal")),
                "currency": Member(Choice(("EUR", "USD")), required=False, default="EUR"),
            }
        ),
        "Tree": JsonObject(
            {"children": Member(Array(Reference("Tree")), required=False, default=[]), "name": Member(Text())}
        ),
        "Point": FixedArray((Number(), Number()), optional=1, names=("x", "y")),
        "Address": JsonObject({"city": Member(Text()), "zip": Member(Text(), required=False)}),
        "Row": FixedArray((Choice(("row",)), Number(), Number()), optional=1, names=("x", "y")),
        "Page[int]": JsonObject({"items": Member(Array(Number()))}),
    }


def test_tagged_union_has_the_tags_as_members() -> None:
    described = describe(event_with(Card | Cash))

    assert described.records["Cash"] == JsonObject({"type": Member(Choice(("cash",)))})
    assert sorted_types(type_of(Card | Cash)) == sorted_types(OneOf((Reference("Card"), Reference("Cash"))))


def test_field_that_may_be_unset_is_optional_without_a_default() -> None:
    cls = msgspec.defstruct("Described", [("field", int | UnsetType, UNSET)], frozen=True)
    record = describe(fait.event("test.described")(cls)).records["Described"]

    assert record == JsonObject({"field": Member(Number(), required=False)})


def test_default_that_a_function_computes_has_no_value() -> None:
    cls = msgspec.defstruct("Described", [("field", str, msgspec.field(default_factory=lambda: "x"))], frozen=True)
    record = describe(fait.event("test.described")(cls)).records["Described"]

    assert record == JsonObject({"field": Member(Text(), required=False)})


def test_options_of_a_struct_are_part_of_its_description() -> None:
    cls = msgspec.defstruct(
        "Described",
        [("some_field", int, 3)],
        frozen=True,
        omit_defaults=True,
        forbid_unknown_fields=True,
        rename="camel",
    )
    record = describe(fait.event("test.described")(cls)).records["Described"]

    assert record == JsonObject({"someField": Member(Number(), False, 3, omitted=True)}, strict=True)


def as_struct() -> type:
    return msgspec.defstruct(
        "A", [("id", UUID), ("at", datetime), ("total", Decimal), ("note", str | None, None)], frozen=True
    )


def as_dataclass() -> type:
    definition: Any = [("at", datetime), ("id", UUID), ("total", Decimal), ("note", None | str, None)]
    return dataclasses.make_dataclass("B", definition, frozen=True)


def as_attrs() -> type:
    @attrs.frozen
    class C:
        total: Decimal
        at: datetime
        id: UUID
        note: str | None = None

    return C


def as_pydantic() -> type:
    class D(pydantic.BaseModel, frozen=True):
        id: UUID
        at: pydantic.AwareDatetime
        total: Decimal
        note: str | None = None

    return D


def as_plain_class() -> type:
    class E:
        id: UUID
        at: datetime
        total: Decimal
        note: str | None = None

    return E


@pytest.mark.parametrize("make", [as_struct, as_dataclass, as_attrs, as_pydantic, as_plain_class])
def test_fingerprint_is_the_same_whatever_made_the_class(make: Callable[[], type]) -> None:
    assert describe(fait.event("test.described")(make())).fingerprint == "f1:d1c475edb1411ee7"


def test_fingerprint_of_every_type_is_stable() -> None:
    definition: Any = [(f"field_{number}", kind) for number, (kind, _) in enumerate(TYPES)]
    cls = msgspec.defstruct(
        "Every", [*definition, ("tree", Tree), ("page", Page[int]), ("ways", Card | Cash)], frozen=True
    )

    assert describe(fait.event("test.every")(cls)).fingerprint == "f1:e9108b82de98cb4d"


def test_fingerprint_does_not_depend_on_names_of_classes() -> None:
    other = msgspec.defstruct(
        "Price", [("currency", Currency, Currency.EUR), ("amount", Decimal)], frozen=True, kw_only=True
    )

    assert describe(event_with(other)).fingerprint == describe(event_with(Money)).fingerprint
    assert compare(describe(event_with(other)), describe(event_with(Money)), "full") == []


def test_classes_of_one_name_are_distinguished() -> None:
    other = msgspec.defstruct("Money", [("cents", int)], frozen=True)

    assert {"Money", "Money 2"} < describe(event_with(tuple[Money, other])).records.keys()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (int, float), (int, int | None), (str, bytes), (list[int], set[int]), (Money, Card), (tuple[int], list[int]),
        (int, Annotated[int, Meta(ge=0)]), (Literal["a"], Literal["b"]), (Literal[1], Literal["1"]), (Tree, Page[int]),
        (datetime, str), (Decimal, str), (UUID, str), (dict[str, int], dict[int, int]), (Card | Cash, Card),
    ],
)  # fmt: skip
def test_fingerprints_of_different_types_differ(one: Any, other: Any) -> None:
    assert describe(event_with(one)).fingerprint != describe(event_with(other)).fingerprint


def test_fingerprints_of_records_that_refer_to_each_other_differently_differ() -> None:
    def description(of_second: str) -> Description:
        first = JsonObject({"next": Member(Reference("Second"))})
        second = JsonObject({"n": Member(Number()), "next": Member(Reference(of_second))})
        return Description(Reference("First"), {"First": first, "Second": second})

    assert description("First").fingerprint != description("Second").fingerprint


def test_fingerprint_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import fait, fait.schema\n"
        "@fait.event('a')\n"
        "class A:\n"
        "    a: set[str] | int | None\n"
        "    b: frozenset[str] = frozenset({'x', 'y', 'z'})\n"
        "print(fait.schema.describe(A).fingerprint)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, env={"PYTHONHASHSEED": seed, **PATHS}
        ).stdout
        for seed in "123"
    }

    assert len(found) == 1


PATHS = {"PYTHONPATH": ":".join(sys.path)}


def test_limits_of_pydantic_are_those_of_msgspec() -> None:
    class Model(pydantic.BaseModel, frozen=True):
        count: pydantic.PositiveInt
        name: Annotated[str, pydantic.StringConstraints(min_length=1, pattern="^a")]
        prices: list[Annotated[Decimal, pydantic.Field(ge=0, max_digits=5, decimal_places=2)]]
        data: bytes = b""
        extra: pydantic.JsonValue = None

    record = describe(fait.event("test.described")(Model)).records["Model"]

    assert record == JsonObject(
        {
            "count": Member(Number(exclusive_minimum=0)),
            "data": Member(Text("utf8"), required=False, default=""),
            "extra": Member(Anything(), required=False, default=None),
            "name": Member(Text("", 1, None, "^a")),
            "prices": Member(Array(Number("decimal", 0, max_digits=5, decimal_places=2))),
        }
    )


def test_pydantic_model_may_keep_or_refuse_unknown_members() -> None:
    class Keeps(pydantic.BaseModel, frozen=True, extra="allow"):
        pass

    class Refuses(pydantic.BaseModel, frozen=True, extra="forbid"):
        pass

    assert describe(fait.event("test.keeps")(Keeps)).records["Keeps"] == JsonObject({}, Anything())
    assert describe(fait.event("test.refuses")(Refuses)).records["Refuses"] == JsonObject({}, strict=True)


def model_with_serializer() -> type:
    class Model(pydantic.BaseModel, frozen=True):
        field: int

        @pydantic.field_serializer("field")
        def as_text(self, value: int) -> str:
            return str(value)

    return Model


def model_with_computed_field() -> type:
    class Model(pydantic.BaseModel, frozen=True):
        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def field(self) -> int:
            return 1

    return Model


def model_with(kind: Any) -> Callable[[], type]:
    return lambda: pydantic.create_model("Model", __config__={"frozen": True}, field=(kind, ...))


@pytest.mark.parametrize(
    ("make", "path", "reason"),
    [
        (model_with_serializer, "$", "has a serializer, so its types do not determine its JSON"),
        (model_with_computed_field, "$", "has a computed field, so its types do not determine its JSON"),
        (model_with(pydantic.HttpUrl), "$.field", "HttpUrl has no description"),
        (model_with(list[pydantic.SecretStr]), "$.field[]", "SecretStr has no description"),
        (model_with(Annotated[str, pydantic.StringConstraints(to_upper=True)]), "$.field", "to_upper"),
        (model_with(Annotated[int, pydantic.AfterValidator(abs)]), "$.field", "AfterValidator"),
        (model_with(Annotated[date, pydantic.Field(ge=date(2024, 1, 1))]), "$.field", "has no meaning for this type"),
        (model_with(complex), "$.field", "complex has no description"),
    ],
)
def test_type_without_description_is_refused_with_its_path(make: Callable[[], type], path: str, reason: str) -> None:
    cls = fait.event("test.described")(make())

    with pytest.raises(fait.DeclarationError) as refused:
        describe(cls)
    assert str(refused.value).startswith(f"event 'test.described' cannot be described: {path}: ")
    assert reason in str(refused.value)


def test_class_that_is_no_event_is_refused() -> None:
    with pytest.raises(fait.UsageError, match="Money is not declared as an event"):
        describe(Money)


def test_type_that_json_cannot_store_is_refused_as_for_events() -> None:
    with pytest.raises(fait.DeclarationError, match="specify the type, or use"):
        describe(event_with(Any))


def test_dataclass_inside_a_strict_model_refuses_other_members() -> None:
    @dataclasses.dataclass(frozen=True)
    class Inner:
        a: int

    def described(extra: Any) -> tuple[bool, bool]:
        class Outer(pydantic.BaseModel, frozen=True, extra=extra):
            inner: Inner

        strict = {
            name: getattr(each, "strict", None) for name, each in describe(fait.event("a")(Outer)).records.items()
        }
        return bool(strict["Outer"]), bool(strict["Inner"])

    assert (described("forbid"), described("ignore"), described("allow")) == (
        (True, True),
        (False, False),
        (False, False),
    )
