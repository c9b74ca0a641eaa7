"""Inspection of an event's field types: types that JSON cannot store exactly raise at declaration, all at once."""

import importlib.util
import sys
from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, Flag
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypedDict, TypeVar, Union

import attrs
import msgspec
import pydantic
import pytest

from fait._errors import DeclarationError, InvalidValue
from fait._events.event import EventType, describe, event, event_type
from fait._events.validation import Json

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
Either = TypeVar("Either", int, str)
Moment = NewType("Moment", datetime)
ShortText = NewType("ShortText", Annotated[str, msgspec.Meta(max_length=3)])  # pyright: ignore[reportGeneralTypeIssues]
NAIVE = datetime(2024, 1, 1)
AWARE = datetime(2024, 1, 1, tzinfo=UTC)


class Plain:
    a: int


class Empty: ...


class Shape(ABC):  # noqa: B024 - an ABC without abstract methods is common
    pass


class Words(str): ...


class Mixed(Enum):
    A = 1
    B = "b"


class Real(Enum):
    A = 1.5


class Rights(Flag):
    READ = 1
    WRITE = 2


class Letter(Enum):
    A = "a"


class Model(pydantic.BaseModel):
    a: int


@dataclass(eq=False)
class Unequal:
    a: int


class UnequalStruct(msgspec.Struct, eq=False):
    a: int


@attrs.define(eq=False)
class UnequalAttrs:
    a: int


@dataclass
class Loose:
    a: Any


@dataclass
class Node:
    children: "list[Node]"


class Box(msgspec.Struct, Generic[T]):
    content: T


class Left(msgspec.Struct):
    a: int


class Right(msgspec.Struct):
    b: int


class Untyped(TypedDict):
    a: Any


def declare(kind: Any, **default: Any) -> EventType:
    cls = event("test.walked")(type("Walked", (), {"__annotations__": {"a": kind}, "__module__": __name__, **default}))
    found = event_type(cls)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kind", "reason", "advice"),
    [
        (Any, "does not specify", "fait.Json"),
        (object, "does not specify", "fait.Json"),
        (dict, "does not specify", "dict[str, X]"),
        (list, "does not specify", "list[X]"),
        (tuple, "does not specify", "tuple[X, ...]"),
        (set, "does not specify", "set[X]"),
        (dict[str, Any], "does not specify", "fait.Json"),
        (list[list[Any]], "does not specify", "fait.Json"),
        (Optional[Any], "does not specify", "fait.Json"),  # noqa: UP045
        (Loose, "does not specify", "fait.Json"),
        (Box[Any], "does not specify", "fait.Json"),
        (list[Untyped], "does not specify", "fait.Json"),
        (T, "variable T is not bound", "bound"),
        (Box, "variable T is not bound", "bound"),
        (Either, "variable Either is not bound", "bound"),
        (complex, "complex cannot be stored as JSON", "two floats"),
        (bytearray, "bytearray cannot be stored as JSON", "bytes"),
        (Callable[[], int], "Callable cannot be stored as JSON", "holds data"),
        (type[int], "type cannot be stored as JSON", "holds data"),
        (Plain, "Plain cannot be stored as JSON", "dataclass or a msgspec.Struct"),
        (Empty, "Empty cannot be stored as JSON", "holds data"),
        (Shape, "Shape cannot be stored as JSON", "holds data"),
        (Words, "Words cannot be stored as JSON", "holds data"),
        (Path, "Path cannot be stored as JSON", "holds data"),
        (msgspec.Raw, "Raw cannot be stored as JSON", "holds data"),
        (Model, "Pydantic model in a class that is not one", "make the event itself a Pydantic model"),
        (Sequence[int], "does not specify the type to decode to", "list[X]"),
        (Mapping[str, int], "does not specify the type to decode to", "dict[str, X]"),
        (Iterable[int], "does not specify the type to decode to", "list[X]"),
        (str | datetime, "str and datetime are both strings in JSON", "tagged Structs"),
        (Decimal | str | None, "Decimal and str are both strings in JSON", "tagged Structs"),
        (list[date | Letter], "date and Letter are both strings in JSON", "tagged Structs"),
        (Annotated[str, msgspec.Meta(pattern="a")] | list[int], "msgspec corrupts memory", "into a record"),
        (ShortText | tuple[int, str] | None, "msgspec corrupts memory", "into a record"),
        (Union[Literal["a"], bytes], "both strings in JSON", "tagged Structs"),  # noqa: UP007
        (Left | Right, "all Struct types must be tagged", "another type"),
        (list[int] | set[int], "Type unions may not contain more than one", "another type"),
        (Mixed, "all str or all int", "str values"),
        (Real, "all str or all int", "str values"),
        (Rights, "one number in JSON", "set of an Enum"),
        (dict[float, int], "cannot store float exactly as a key", "str keys"),
        (dict[str | int, int], "exactly as a key", "str keys"),
        (dict[bool, int], "cannot store bool exactly as a key", "str keys"),
        (dict[tuple[int, int], int], "exactly as a key", "str keys"),
        (Annotated[datetime, msgspec.Meta(tz=False)], "without a time zone cannot be stored", "Meta(tz=True)"),
        (Unequal, "do not compare equal", "remove eq=False"),
        (UnequalStruct, "do not compare equal", "remove eq=False"),
        (UnequalAttrs, "do not compare equal", "remove eq=False"),
        ("Missing", "Missing is not defined where the class is declared", "import it"),
        ("list[Missing]", "Missing is not defined where the class is declared", "import it"),
        ("1 +", "SyntaxError", "import it"),
    ],
)
def test_type_that_json_cannot_store_raises_with_advice(kind: Any, reason: str, advice: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare(kind).check()

    _, reason_line, advice_line = str(refused.value).rsplit("\n", 2)
    assert reason in reason_line
    assert advice in advice_line


@pytest.mark.parametrize(
    "kind",
    [
        Json,
        str | list[int],
        Annotated[str, msgspec.Meta(description="a code")] | list[int],
        ShortText | None,
        list[Json],
        dict[str, Json],
        Json | None,
        Node,
        Box[int],
        Box[list[datetime]],
        Bound,
        Moment,
        str | int | float | bool | None,
        str | Literal["a"],
        Literal["a", 1, None],
        dict[Letter, int],
        dict[Annotated[str, msgspec.Meta(max_length=3)], int],
        Annotated[int, msgspec.Meta(ge=0, extra={"unit": "g"})],
        int | msgspec.UnsetType,
        tuple[int, str] | None,
        "datetime | None",
    ],
)
def test_type_that_json_can_store_is_accepted(kind: Any) -> None:
    declare(kind).check()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (datetime, '"{}"'),
        (Moment, '"{}"'),
        (list[datetime | None], '[null,"{}"]'),
        (dict[str, tuple[datetime, ...]], '{{"a":["{}"]}}'),
        (Box[datetime], '{{"content":"{}"}}'),
        (Annotated[datetime, msgspec.Meta(description="when")], '"{}"'),
        (Annotated[datetime, msgspec.Meta(tz=True)], '"{}"'),
    ],
)
def test_decode_of_nested_naive_datetime_by_plain_class_raises(kind: Any, text: str) -> None:
    decode = declare(kind).decode
    decode('{"a":' + text.format("2024-01-01T00:00:00+01:00") + "}")

    with pytest.raises(msgspec.ValidationError, match="timezone"):
        decode('{"a":' + text.format("2024-01-01T00:00:00") + "}")


@pytest.mark.parametrize(
    ("kind", "default", "reason"),
    [
        (datetime, NAIVE, "no time zone"),
        (float, float("nan"), "not finite"),
        (float, float("inf"), "not finite"),
        (Decimal, Decimal("NaN"), "not finite"),
        (str, "a\0", "NUL"),
        (int, 2**63, "64 bits"),
        (tuple[datetime, ...], (AWARE, NAIVE), "no time zone"),
    ],
)
def test_default_that_cannot_be_stored_raises(kind: Any, default: Any, reason: str) -> None:
    as_dataclass = dataclass(frozen=True)(type("D", (), {"__annotations__": {"a": kind}, "a": default}))
    as_attrs = attrs.frozen(type("A", (), {"__annotations__": {"a": kind}, "a": default}))
    as_model = pydantic.create_model("P", a=(kind, default))
    kinds = [event_type(describe("test.default")(cls)) for cls in (as_dataclass, as_attrs, as_model)]

    for found in [declare(kind, a=default), *kinds]:
        assert found is not None
        with pytest.raises(DeclarationError, match=f"its default cannot be stored.*{reason}"):
            found.check()


def test_default_factory_is_not_called_at_declaration() -> None:
    @dataclass(frozen=True)
    class Made:
        a: list[int] = field(default_factory=lambda: pytest.fail("called"))

    found = event_type(event("test.made")(Made))
    assert found is not None
    found.check()


def test_pydantic_model_with_pydantic_types_is_accepted_with_any_is_not() -> None:
    class Good(pydantic.BaseModel, frozen=True):
        link: pydantic.HttpUrl
        items: Sequence[int]
        at: pydantic.AwareDatetime

    class Bad(pydantic.BaseModel, frozen=True):
        a: Any
        b: pydantic.NaiveDatetime

    good, bad = (event_type(event("test.model")(cls)) for cls in (Good, Bad))
    assert good is not None
    assert bad is not None
    one = Good(link="https://example.org", items=[1, 2], at=AWARE)  # type: ignore[arg-type]
    assert good.decode(good.encode(one)) == one
    with pytest.raises(DeclarationError, match=r"(?s)a: Any.*b: .*NaiveDatetime.*AwareDatetime"):
        bad.check()


def test_encode_of_invalid_pydantic_value_raises_with_path() -> None:
    class Inner(pydantic.BaseModel, frozen=True):
        text: str = ""
        money: Decimal = Decimal(0)
        number: int = 0
        free: Json = None

    @event("test.model")
    class Model(pydantic.BaseModel, frozen=True):
        inner: Inner = Inner()
        _note: str = pydantic.PrivateAttr("")

    kind = event_type(Model)
    assert kind is not None
    assert kind.decode(kind.encode(Model())) == Model()
    for inner, path in [
        (Inner(text="a\0"), "$.inner.text"),
        (Inner(text="\ud800"), "$.inner.text"),
        (Inner.model_construct(money=Decimal("Infinity")), "$.inner.money"),
        (Inner(number=2**63), "$.inner.number"),
        (Inner(free={"a": [AWARE]}), "$.inner.free.a[0]"),
    ]:
        with pytest.raises(InvalidValue) as refused:
            kind.encode(Model(inner=inner))
        assert refused.value.path == path
    with pytest.raises(InvalidValue, match="PydanticSerializationError during encoding"):
        kind.encode(Model.model_construct(inner="x"))
    private = Model()
    private._note = "lost"  # type: ignore[misc]
    with pytest.raises(InvalidValue, match="unequal"):
        kind.encode(private)


def test_encode_of_invalid_pydantic_extra_raises_with_path() -> None:
    @event("test.open-model")
    class Open(pydantic.BaseModel, frozen=True, extra="allow"):
        a: int = 0

    kind = event_type(Open)
    assert kind is not None
    assert kind.decode(kind.encode(Open(note="kept"))) == Open(note="kept")  # type: ignore[call-arg]
    with pytest.raises(InvalidValue) as refused:
        kind.encode(Open(note=AWARE))  # type: ignore[call-arg]
    assert refused.value.path == "$.note"


def test_encode_of_integer_beyond_64_bits_raises() -> None:
    kind = declare(int)

    kind.encode(kind.cls(2**63 - 1))
    with pytest.raises(InvalidValue, match="64 bits"):
        kind.encode(kind.cls(2**63))


def test_encode_of_recursive_record_beyond_maximum_depth_raises() -> None:
    kind = declare(Node)
    node = Node([])
    for _ in range(30):
        node = Node([node])
    kind.encode(kind.cls(node))

    with pytest.raises(InvalidValue, match="deeper than 64"):
        kind.encode(kind.cls(Node([Node([node])])))


def test_generic_base_is_inspected_with_its_type_arguments() -> None:
    class Numbers(Box[list[int]], frozen=True): ...

    class Anything(Box[Any], frozen=True): ...

    numbers, anything = (event_type(describe("test.generic")(cls)) for cls in (Numbers, Anything))
    assert numbers is not None
    assert anything is not None
    numbers.check()
    with pytest.raises(DeclarationError, match="does not specify"):
        anything.check()


ALIASES = """
type Money = Decimal
type Many[X] = list[X]
type Rec = dict[str, Rec] | int
type Lost = Missing
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with Python 3.12")
def test_type_alias_is_inspected_as_its_type() -> None:
    names: dict[str, Any] = {"Decimal": Decimal}
    exec(ALIASES, names)

    declare(names["Money"]).check()
    declare(names["Many"][int]).check()
    with pytest.raises(DeclarationError, match="does not specify"):
        declare(names["Many"][Any]).check()
    with pytest.raises(DeclarationError, match="Rec contains itself"):
        declare(names["Rec"]).check()
    with pytest.raises(DeclarationError, match="Missing is not defined"):
        declare(names["Lost"]).check()


def test_quoted_names_of_local_classes_are_resolved() -> None:
    class Part(msgspec.Struct):
        a: int

    @event("test.local")
    class Local:
        parts: "list[Part]"
        date: "date"
        parent: "Local | None" = None

    found = event_type(Local)
    assert found is not None
    one = Local([Part(1)], date(2024, 1, 1), Local([], date(2024, 1, 2)))
    assert found.decode(found.encode(one)) == one


ORDERS = """
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fait._events.event import event

if TYPE_CHECKING:
    from decimal import Decimal


class Customer:
    name: str


@event("shop.order-placed")
class OrderPlaced:
    customer: Customer
    items: list[
        Any
    ]
    total: Decimal
    note: str = ""
"""


def test_error_lists_all_problems_with_line_and_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orders.py").write_text(ORDERS)
    spec = importlib.util.spec_from_file_location("orders", tmp_path / "orders.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "orders", module)
    spec.loader.exec_module(module)
    found = event_type(module.OrderPlaced)
    assert found is not None

    for attempt in (found.check, lambda: found.encode(module.OrderPlaced(1, 2, 3)), lambda: found.decode(b"{}")):
        with pytest.raises(DeclarationError) as refused:
            attempt()
        assert str(refused.value) == (
            "event 'shop.order-placed': OrderPlaced (orders.py:16) has fields that cannot be stored. "
            "Nothing was written.\n"
            "  orders.py:18  customer: Customer\n"
            "      Customer cannot be stored as JSON\n"
            "      fix: make it a dataclass or a msgspec.Struct\n"
            "  orders.py:19  items: list[Any]\n"
            "      Any does not specify the type of its contents, so values cannot be checked\n"
            "      fix: specify the type, or use fait.Json for free-form JSON\n"
            "  orders.py:22  total: Decimal\n"
            "      Decimal is imported for type checkers only (orders.py:9)\n"
            "      fix: move that import out of the TYPE_CHECKING block"
        )


def test_error_about_a_nested_record_names_its_location() -> None:
    with pytest.raises(DeclarationError, match=r"\n  test_type_inspection\.py:\d+  Loose\.a: Any\n"):
        declare(list[Loose]).check()
