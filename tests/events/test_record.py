"""The description of a record class is the same, whatever library made the class."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from msgspec import NODEFAULT

from fait._events.record import (
    RecordField,
    Unresolved,
    changed_copy,
    fields_of,
    is_frozen,
    is_record,
    kind_of,
    types_of,
)

T = TypeVar("T")


class AsStruct(msgspec.Struct, frozen=True, rename="camel"):
    line_id: str
    count: int = 1
    tags: list[str] = []


@dataclass(frozen=True)
class AsDataclass:
    line_id: str
    count: int = 1
    tags: list[str] = field(default_factory=list)
    kinds: ClassVar[int] = 7


@attrs.frozen
class AsAttrs:
    line_id: str
    count: int = 1
    tags: list[str] = attrs.field(factory=list)


class AsPydantic(pydantic.BaseModel, frozen=True):
    line_id: str = pydantic.Field(alias="lineId")
    count: int = 1
    tags: list[str] = pydantic.Field(default_factory=list)


class AsNamedTuple(NamedTuple):
    line_id: str
    count: int = 1
    tags: tuple[str, ...] = ()


class AsTypedDict(TypedDict):
    line_id: str
    count: NotRequired[int]


def no_names(cls: type) -> Mapping[str, Any] | None:
    return None


RECORDS = [
    pytest.param("struct", AsStruct, lambda: AsStruct("a"), id="struct"),
    pytest.param("dataclass", AsDataclass, lambda: AsDataclass("a"), id="dataclass"),
    pytest.param("attrs", AsAttrs, lambda: AsAttrs("a"), id="attrs"),
    pytest.param("pydantic", AsPydantic, lambda: AsPydantic(lineId="a"), id="pydantic"),
    pytest.param("named_tuple", AsNamedTuple, lambda: AsNamedTuple("a"), id="named_tuple"),
]


@pytest.mark.parametrize(("kind", "cls", "create"), RECORDS)
def test_record_of_each_kind_has_the_same_fields(kind: str, cls: Any, create: Callable[[], Any]) -> None:
    line_id, count, tags = fields_of(cls)
    renamed = "lineId" if kind in ("struct", "pydantic") else "line_id"

    assert kind_of(cls) == kind
    assert is_frozen(cls)
    assert line_id == RecordField("line_id", renamed, NODEFAULT, None, required=True)
    assert count == RecordField("count", "count", 1, None, required=False)
    assert (tags.name, tags.required) == ("tags", False)
    assert tags.default == () if kind == "named_tuple" else tags.factory is list
    assert types_of(cls, no_names)["count"] is int


@pytest.mark.parametrize(("kind", "cls", "create"), RECORDS)
def test_changed_copy_has_the_change_and_keeps_the_original(kind: str, cls: Any, create: Callable[[], Any]) -> None:
    original = create()

    copy = changed_copy(original, {"count": 2})

    assert (type(copy), copy.line_id, copy.count, original.count) == (cls, "a", 2, 1)


def test_typed_dict_has_required_and_optional_keys() -> None:
    assert kind_of(AsTypedDict) == "typed_dict"
    assert fields_of(AsTypedDict) == (
        RecordField("line_id", "line_id", required=True),
        RecordField("count", "count", required=False),
    )
    assert changed_copy({"line_id": "a"}, {"count": 2}) == {"line_id": "a", "count": 2}


def test_plain_class_and_other_values_are_no_records() -> None:
    class Plain:
        name: str

    assert (kind_of(Plain), is_record(Plain), fields_of(Plain)) == ("plain", False, ())
    assert (kind_of(3), kind_of(list[int])) == ("plain", "plain")


def test_init_var_is_among_the_fields_and_class_variable_is_not() -> None:
    @dataclass
    class Given:
        seed: InitVar[int]
        number: int = 0
        shared: ClassVar[int] = 0

    assert [each.name for each in fields_of(Given)] == ["seed", "number"]


def test_subclass_of_dataclass_has_its_kind_only_if_inherited() -> None:
    class Derived(AsDataclass):
        pass

    assert (kind_of(Derived), kind_of(Derived, inherited=False)) == ("dataclass", "plain")


def test_attrs_factory_that_takes_the_instance_is_a_factory() -> None:
    @attrs.define
    class Named:
        name: str
        label: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))

    assert fields_of(Named)[1].factory is not None
    assert not is_frozen(Named)


def test_types_of_generic_base_are_those_of_the_subclass() -> None:
    class Base(msgspec.Struct, Generic[T]):
        items: list[T]

    class Derived(Base[int]):
        pass

    assert types_of(Derived, no_names) == {"items": list[int]}
    assert types_of(Base, no_names, {T: str}) == {"items": list[str]}


def test_types_are_resolved_with_local_names() -> None:
    class Local(msgspec.Struct):
        pass

    class Holder(msgspec.Struct):
        one: "Local"
        other: "Missing"  # type: ignore[name-defined]  # noqa: F821

    assert types_of(Holder, lambda _: {"Local": Local}) == {"one": Local, "other": Unresolved("Missing")}


def test_record_module_imports_no_library_that_makes_records() -> None:
    source = sys.modules["fait._events.record"].__dict__

    assert not {"dataclasses", "inspect", "attr", "attrs", "pydantic"} & source.keys()
