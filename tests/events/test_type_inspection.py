"""The walk over an event's types: what JSON cannot hold exactly is refused before the first event, all at once."""

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
NAIVE = datetime(2024, 1, 1)
AWARE = datetime(2024, 1, 1, tzinfo=UTC)


class Plain:
    a: int


class Empty: ...


class Shape(ABC):  # noqa: B024 - as people write them
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
    ("kind", "why", "do"),
    [
        (Any, "says nothing", "fait.Json"),
        (object, "says nothing", "fait.Json"),
        (dict, "says nothing", "dict[str, X]"),
        (list, "says nothing", "list[X]"),
        (tuple, "says nothing", "tuple[X, ...]"),
        (set, "says nothing", "set[X]"),
        (dict[str, Any], "says nothing", "fait.Json"),
        (list[list[Any]], "says nothing", "fait.Json"),
        (Optional[Any], "says nothing", "fait.Json"),  # noqa: UP045
        (Loose, "says nothing", "fait.Json"),
        (Box[Any], "says nothing", "fait.Json"),
        (list[Untyped], "says nothing", "fait.Json"),
        (T, "T can be anything here", "bound"),
        (Box, "T can be anything here", "bound"),
        (Either, "Either can be anything here", "bound"),
        (complex, "complex has no JSON form", "two floats"),
        (bytearray, "bytearray has no JSON form", "bytes"),
        (Callable[[], int], "Callable has no JSON form", "holds data"),
        (type[int], "type has no JSON form", "holds data"),
        (Plain, "Plain has no JSON form", "dataclass or a msgspec.Struct"),
        (Empty, "Empty has no JSON form", "holds data"),
        (Shape, "Shape has no JSON form", "holds data"),
        (Words, "Words has no JSON form", "holds data"),
        (Path, "Path has no JSON form", "holds data"),
        (msgspec.Raw, "Raw has no JSON form", "holds data"),
        (Model, "Pydantic model inside a class that is none", "make the event itself a Pydantic model"),
        (Sequence[int], "does not say what it reads back as", "list[X]"),
        (Mapping[str, int], "does not say what it reads back as", "dict[str, X]"),
        (Iterable[int], "does not say what it reads back as", "list[X]"),
        (str | datetime, "str and datetime are both text in JSON", "tagged Structs"),
        (Decimal | str | None, "Decimal and str are both text in JSON", "tagged Structs"),
        (list[date | Letter], "date and Letter are both text in JSON", "tagged Structs"),
        (Union[Literal["a"], bytes], "both text in JSON", "tagged Structs"),  # noqa: UP007
        (Left | Right, "all Struct types must be tagged", "another type"),
        (list[int] | set[int], "Type unions may not contain more than one", "another type"),
        (Mixed, "all str or all int", "str values"),
        (Real, "all str or all int", "str values"),
        (Rights, "set of flags", "set of an Enum"),
        (dict[float, int], "cannot hold float as a key", "str keys"),
        (dict[str | int, int], "as a key exactly", "str keys"),
        (dict[bool, int], "cannot hold bool as a key", "str keys"),
        (dict[tuple[int, int], int], "as a key exactly", "str keys"),
        (Annotated[datetime, msgspec.Meta(tz=False)], "not a moment", "Meta(tz=True) or none"),
        (Unequal, "would not compare equal", "drop eq=False"),
        (UnequalStruct, "would not compare equal", "drop eq=False"),
        (UnequalAttrs, "would not compare equal", "drop eq=False"),
        ("Missing", "Missing is not known where the class is declared", "import it"),
        ("list[Missing]", "Missing is not known where the class is declared", "import it"),
        ("1 +", "SyntaxError", "import it"),
    ],
)
def test_a_type_that_json_cannot_hold_exactly_is_refused_with_what_to_do(kind: Any, why: str, do: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare(kind).check()

    _, problem, advice = str(refused.value).rsplit("\n", 2)
    assert why in problem
    assert do in advice


@pytest.mark.parametrize(
    "kind",
    [
        Json,
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
def test_a_type_that_json_holds_exactly_is_accepted(kind: Any) -> None:
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
def test_a_moment_in_a_plain_class_must_have_a_time_zone_however_deep_it_is(kind: Any, text: str) -> None:
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
def test_a_default_that_could_not_be_stored_is_refused(kind: Any, default: Any, reason: str) -> None:
    as_dataclass = dataclass(frozen=True)(type("D", (), {"__annotations__": {"a": kind}, "a": default}))
    as_attrs = attrs.frozen(type("A", (), {"__annotations__": {"a": kind}, "a": default}))
    as_model = pydantic.create_model("P", a=(kind, default))
    kinds = [event_type(describe("test.default")(cls)) for cls in (as_dataclass, as_attrs, as_model)]

    for found in [declare(kind, a=default), *kinds]:
        assert found is not None
        with pytest.raises(DeclarationError, match=f"its default cannot be stored.*{reason}"):
            found.check()


def test_a_default_factory_is_not_called_at_declaration() -> None:
    @dataclass(frozen=True)
    class Made:
        a: list[int] = field(default_factory=lambda: pytest.fail("called"))

    found = event_type(event("test.made")(Made))
    assert found is not None
    found.check()


def test_a_pydantic_model_may_hold_its_own_types_but_says_what_they_are() -> None:
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


def test_pydantic_values_are_proven_too() -> None:
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
    with pytest.raises(InvalidValue, match=r"\$"):
        kind.encode(Model.model_construct(inner="x"))
    private = Model()
    private._note = "lost"  # type: ignore[misc]
    with pytest.raises(InvalidValue, match="unequal"):
        kind.encode(private)


def test_what_a_pydantic_model_takes_beyond_its_fields_is_proven_too() -> None:
    @event("test.open-model")
    class Open(pydantic.BaseModel, frozen=True, extra="allow"):
        a: int = 0

    kind = event_type(Open)
    assert kind is not None
    assert kind.decode(kind.encode(Open(note="kept"))) == Open(note="kept")  # type: ignore[call-arg]
    with pytest.raises(InvalidValue) as refused:
        kind.encode(Open(note=AWARE))  # type: ignore[call-arg]
    assert refused.value.path == "$.note"


def test_a_large_integer_is_refused_where_the_type_says_int_and_nothing_else() -> None:
    kind = declare(int)

    kind.encode(kind.cls(2**63 - 1))
    with pytest.raises(InvalidValue, match="64 bits"):
        kind.encode(kind.cls(2**63))


def test_a_record_inside_itself_may_be_nested_as_deep_as_every_store_allows() -> None:
    kind = declare(Node)
    node = Node([])
    for _ in range(30):
        node = Node([node])
    kind.encode(kind.cls(node))

    with pytest.raises(InvalidValue, match="deeper than 64"):
        kind.encode(kind.cls(Node([Node([node])])))


def test_a_base_with_type_variables_is_seen_with_what_they_stand_for() -> None:
    class Numbers(Box[list[int]], frozen=True): ...

    class Anything(Box[Any], frozen=True): ...

    numbers, anything = (event_type(describe("test.generic")(cls)) for cls in (Numbers, Anything))
    assert numbers is not None
    assert anything is not None
    numbers.check()
    with pytest.raises(DeclarationError, match="says nothing"):
        anything.check()


ALIASES = """
type Money = Decimal
type Many[X] = list[X]
type Rec = dict[str, Rec] | int
type Lost = Missing
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with Python 3.12")
def test_a_type_alias_stands_for_its_type() -> None:
    names: dict[str, Any] = {"Decimal": Decimal}
    exec(ALIASES, names)

    declare(names["Money"]).check()
    declare(names["Many"][int]).check()
    with pytest.raises(DeclarationError, match="says nothing"):
        declare(names["Many"][Any]).check()
    with pytest.raises(DeclarationError, match="Rec contains itself"):
        declare(names["Rec"]).check()
    with pytest.raises(DeclarationError, match="Missing is not known"):
        declare(names["Lost"]).check()


def test_classes_declared_in_a_function_are_found_by_their_quoted_names() -> None:
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


def test_all_problems_are_told_at_once_with_line_and_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
            "event 'shop.order-placed' cannot be stored as OrderPlaced declares it (orders.py:16). "
            "Nothing was written.\n"
            "  orders.py:18  customer: Customer\n"
            "      Customer has no JSON form\n"
            "      do: make it a dataclass or a msgspec.Struct\n"
            "  orders.py:19  items: list[Any]\n"
            "      Any says nothing about what is in it: no later version can be checked against it\n"
            "      do: name the type, or fait.Json for free-form JSON\n"
            "  orders.py:22  total: Decimal\n"
            "      Decimal is imported for type checkers only (orders.py:9)\n"
            "      do: move that import out of the TYPE_CHECKING block"
        )


def test_a_problem_in_a_record_is_told_where_the_record_is() -> None:
    with pytest.raises(DeclarationError, match=r"\n  test_schema\.py:\d+  Loose\.a: Any\n"):
        declare(list[Loose]).check()
