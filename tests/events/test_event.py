"""Declaration of event classes, and encoding and decoding of their instances."""

import copy
import functools
import gc
import pickle
import subprocess
import sys
import weakref
from abc import ABC
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fait._errors import DeclarationError, InvalidValue
from fait._events.event import EventType, describe, event, event_type, field, replace
from fait._events.validation import Json

T = TypeVar("T")
NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


Sku = NewType("Sku", str)


class Paid(msgspec.Struct, frozen=True, tag="paid"):
    amount: Decimal


class Free(msgspec.Struct, frozen=True, tag="free"):
    reason: str


@dataclass(frozen=True)
class Item:
    sku: Sku
    price: Decimal
    added_at: datetime | None = None


@attrs.frozen
class Box:
    weight: float


class Address(TypedDict):
    street: str


class Point(NamedTuple):
    x: int
    y: int


class Pair(msgspec.Struct, Generic[T], frozen=True):
    left: T
    right: T


@event("test.everything", version=3)
class Everything:
    text: str
    number: int
    weight: float
    flag: bool
    nothing: None
    money: Decimal
    moment: datetime
    day: date
    clock: time
    span: timedelta
    id: UUID
    color: Color
    size: Size
    kind: Literal["a", "b", 3]
    raw: bytes
    items: list[Item]
    payment: Paid | Free
    box: Box
    address: Address
    point: Point
    pair: Pair[date]
    many: tuple[int, ...]
    names: set[str]
    codes: frozenset[int]
    by_day: dict[date, Decimal]
    by_color: dict[Color, int]
    maybe: int | str | None
    positive: Annotated[int, msgspec.Meta(ge=1)]
    free: Json


def declared(cls: type) -> EventType:
    found = event_type(cls)
    assert found is not None
    return found


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
INTS = st.integers(-(2**63), 2**63 - 1)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
MOMENTS = st.datetimes(
    timezones=st.just(UTC) | st.builds(timezone, st.integers(-800, 800).map(lambda m: timedelta(minutes=m)))
)
ITEMS = st.builds(Item, TEXT.map(Sku), DECIMALS, st.none() | MOMENTS)
FREE = st.recursive(
    st.none() | st.booleans() | INTS | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.builds(
    Everything,
    text=TEXT,
    number=INTS,
    weight=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    nothing=st.none(),
    money=DECIMALS,
    moment=MOMENTS,
    day=st.dates(),
    clock=st.times(),
    span=st.timedeltas(),
    id=st.uuids(),
    color=st.sampled_from(Color),
    size=st.sampled_from(Size),
    kind=st.sampled_from(["a", "b", 3]),
    raw=st.binary(max_size=20),
    items=st.lists(ITEMS, max_size=3),
    payment=st.builds(Paid, DECIMALS) | st.builds(Free, TEXT),
    box=st.builds(Box, st.floats(allow_nan=False, allow_infinity=False)),
    address=st.fixed_dictionaries({"street": TEXT}),
    point=st.builds(Point, INTS, INTS),
    pair=st.builds(Pair, st.dates(), st.dates()),
    many=st.lists(INTS, max_size=3).map(tuple),
    names=st.sets(TEXT, max_size=3),
    codes=st.frozensets(INTS, max_size=3),
    by_day=st.dictionaries(st.dates(), DECIMALS, max_size=3),
    by_color=st.dictionaries(st.sampled_from(Color), INTS, max_size=2),
    maybe=st.none() | INTS | TEXT,
    positive=st.integers(1, 100),
    free=FREE,
)


@settings(max_examples=200, deadline=None)
@given(EVENTS)
def test_encode_and_decode_of_every_field_type_gives_an_equal_event(given_event: Any) -> None:
    kind = declared(Everything)
    data = kind.encode(given_event)
    back = kind.decode(data)

    assert back == given_event
    assert repr(back.money) == repr(given_event.money)
    assert kind.encode(back) == data or given_event.names or given_event.codes  # a set has no order


def test_event_type_has_name_version_class_and_location() -> None:
    kind = declared(Everything)

    assert (kind.name, kind.schema_version, kind.cls) == ("test.everything", 3, Everything)
    file, _, line = kind.source_location.partition(":")
    assert file == "test_event.py"
    assert int(line) > 1


def test_plain_class_becomes_frozen_struct_with_its_methods() -> None:
    class Loud:
        def shout(self) -> str:
            return "quiet"

    def shouting(fn: Callable[[Any], str]) -> Callable[[Any], str]:
        @functools.wraps(fn)
        def wrapper(self: Any) -> str:
            return fn(self) + "!"

        return wrapper

    @event("test.kept")
    class Kept(Loud):
        """Its docstring."""

        a: int
        b: list[str] = []  # noqa: RUF012 - copied for each instance
        c: str = field(default="c")
        shared: ClassVar[int] = 7

        def shout(self) -> str:
            return super().shout().upper()

        @shouting
        def wrapped(self) -> str:
            return super().shout()

        @property
        def cls(self) -> type:
            return __class__  # type: ignore[name-defined]

        @classmethod
        def of(cls, a: int) -> Any:
            return cls(a)

        @staticmethod
        def two() -> int:
            return 2

    one = Kept(1)
    assert issubclass(Kept, msgspec.Struct)
    assert Kept.__doc__ == "Its docstring."
    assert (one.shout(), one.wrapped(), one.cls, Kept.of(1), Kept.two(), Kept.shared) == (
        "QUIET",
        "quiet!",
        Kept,
        one,
        2,
        7,
    )
    assert one.b is not Kept(1).b
    assert copy.deepcopy(one) == one
    with pytest.raises(AttributeError):
        one.a = 2  # type: ignore[misc]


def test_super_in_a_wrapped_method_of_a_rebuilt_class_works() -> None:
    class Quiet:
        def say(self) -> str:
            return "quiet"

    def loud(fn: Callable[[Any], str]) -> Callable[[Any], str]:
        return functools.wraps(fn)(lambda self: fn(self).upper())

    @event("test.wrapped")
    class Loud(Quiet):
        @loud
        def say(self) -> str:
            return super().say()

    assert Loud().say() == "QUIET"


def test_rebuilt_class_can_be_pickled_and_replaces_the_original() -> None:
    one = OfModule(1)
    assert pickle.loads(pickle.dumps(one)) == one

    seen: list[weakref.ref[type]] = []

    def remember(cls: type[T]) -> type[T]:
        seen.append(weakref.ref(cls))
        return cls

    @event("test.gone")
    @remember
    class Gone:
        def me(self) -> type:
            return __class__  # type: ignore[name-defined]

    assert Gone().me() is Gone
    gc.collect()
    assert seen[0]() is None


@event("test.of-module")
class OfModule:
    a: int


def test_import_of_events_imports_neither_pydantic_nor_attrs() -> None:
    program = "import sys, fait._events.event; print({'pydantic', 'attr', 'attrs'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_positional_argument_for_keyword_only_field_raises() -> None:
    @event("test.keywords", kw_only=True)
    class Keywords:
        a: int = 1
        b: str

    assert Keywords(b="b").a == 1
    with pytest.raises(TypeError):
        Keywords("b")  # type: ignore[misc]


def foreign_events() -> list[Any]:
    @event("test.struct")
    class AsStruct(msgspec.Struct, frozen=True, rename="camel"):
        placed_at: datetime

    @event("test.dataclass")
    @dataclass(frozen=True, slots=True)
    class AsDataclass:
        placed_at: datetime

    @event("test.attrs")
    @attrs.frozen
    class AsAttrs:
        placed_at: datetime

    @event("test.pydantic")
    class AsPydantic(pydantic.BaseModel, frozen=True):
        placed_at: datetime = pydantic.Field(alias="placedAt")
        model_config = pydantic.ConfigDict(populate_by_name=True)

    @describe("test.described")
    @dataclass
    class Described:
        placed_at: datetime

    @event("test.plain")
    class AsPlain:
        placed_at: datetime

    return [AsStruct, AsDataclass, AsAttrs, AsPydantic, Described, AsPlain]


@pytest.mark.parametrize("cls", foreign_events(), ids=lambda cls: cls.__name__)
def test_every_kind_of_class_round_trips_and_rejects_naive_datetimes(cls: Any) -> None:
    kind = declared(cls)
    one = cls(placed_at=NOW)

    assert kind.decode(kind.encode(one)) == one
    assert replace(one, placed_at=NOW + timedelta(1)).placed_at == NOW + timedelta(1)
    assert one.placed_at == NOW
    with pytest.raises(InvalidValue, match="no time zone") as refused:
        kind.encode(cls(placed_at=datetime(2024, 1, 1)))
    assert refused.value.path in ("$.placed_at", "$.placedAt")


def test_frozen_class_is_declared_unchanged() -> None:
    @dataclass(frozen=True)
    class Mine:
        a: int

    assert event("test.mine")(Mine) is Mine
    with pytest.raises(FrozenInstanceError):
        Mine(1).a = 2  # type: ignore[misc]


def test_describe_declares_a_class_of_another_library() -> None:
    class Theirs(pydantic.BaseModel):
        a: int

    assert describe("test.theirs", version=2)(Theirs) is Theirs
    assert declared(Theirs).schema_version == 2


def test_undeclared_subclass_of_an_event_is_not_an_event() -> None:
    class Sub(OfModule): ...

    assert event_type(Sub) is None
    assert event_type(int) is None
    with pytest.raises(InvalidValue, match=r"stored: it is an instance of .*Sub, not of OfModule"):
        declared(OfModule).encode(Sub(1))


def test_subclass_of_an_event_requires_time_zones_in_inherited_fields() -> None:
    @event("test.parent")
    class Parent:
        at: "datetime"

    @event("test.child", version=2)
    class Child(Parent):
        until: "datetime"

    kind = declared(Child)
    assert (kind.name, kind.schema_version) == ("test.child", 2)
    assert kind.decode(kind.encode(Child(NOW, NOW))) == Child(NOW, NOW)
    for naive in ({"at": "2024-01-01T00:00:00"}, {"until": "2024-01-01T00:00:00"}):
        text = msgspec.json.encode({"at": NOW, "until": NOW} | naive)
        with pytest.raises(msgspec.ValidationError, match="timezone"):
            kind.decode(text)


@pytest.mark.parametrize("quoted", [True, False])
def test_decode_of_naive_datetime_by_plain_class_raises(quoted: bool) -> None:
    namespace = {"__annotations__": {"a": "list[datetime | None]" if quoted else list[datetime | None]}}
    cls = event("test.strict")(type("Strict", (), {**namespace, "__module__": __name__}))

    with pytest.raises(msgspec.ValidationError, match=r"timezone component - at `\$\.a\[1\]`"):
        declared(cls).decode('{"a":["2024-01-01T00:00:00Z","2024-01-01T00:00:00"]}')


def test_decode_after_check_is_the_msgspec_decoder() -> None:
    kind = declared(OfModule)
    kind.check()

    assert type(kind.decode.__self__) is msgspec.json.Decoder  # type: ignore[attr-defined]


@event("test.values")
class Values:
    text: str = ""
    number: int = 0
    weight: float | None = None
    money: Decimal = Decimal(0)
    items: list[Item] = []  # noqa: RUF012
    pair: tuple[int, int] = (0, 0)
    color: Color = Color.RED
    free: Json = None
    few: Annotated[int, msgspec.Meta(le=3)] = 0
    moment: datetime = NOW


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({"text": "a\0"}, "$.text", "NUL"),
        ({"text": "\ud800"}, "$.text", "surrogate"),
        ({"text": 3}, "$.text", "Expected `str`, got `int`"),
        ({"text": object()}, "$.text", "cannot be stored as JSON"),
        ({"text": type("Text", (str,), {})("a")}, "$.text", "cannot be stored as JSON"),
        ({"text": "x" * 2**20}, "$", "1,048,"),
        ({"number": 2**63}, "$.number", "64 bits"),
        ({"number": -(2**63) - 1}, "$.number", "64 bits"),
        ({"number": True}, "$.number", "Expected `int`, got `bool`"),
        ({"weight": float("nan")}, "$.weight", "not finite"),
        ({"weight": float("-inf")}, "$.weight", "not finite"),
        ({"money": Decimal("NaN")}, "$.money", "not finite"),
        ({"money": Decimal("sNaN")}, "$.money", "not finite"),
        ({"money": Decimal("-Infinity")}, "$.money", "not finite"),
        ({"items": [Item(Sku("a"), Decimal(1), datetime(2024, 1, 1))]}, "$.items[0].added_at", "no time zone"),
        ({"items": (Item(Sku("a"), Decimal(1)),)}, "$.items", "tuple would be decoded as list"),
        ({"items": [{"sku": "a", "price": "1"}]}, "$.items[0]", "dict would be decoded as Item"),
        ({"pair": (1, 2, 3)}, "$.pair", "length"),
        ({"color": "green"}, "$.color", "Invalid enum value"),
        ({"few": 4}, "$.few", "Expected `int` <= 3"),
        ({"free": {"a": {1: 2}}}, "$.free.a", "differently"),
        ({"free": functools.reduce(lambda inner, _: [inner], range(100), 1)}, "$.free" + "[0]" * 64, "deeper than 64"),
        ({"free": {"number": 2**63}}, "$.free.number", "64 bits"),
        ({"free": [NOW]}, "$.free[0]", "datetime would be decoded as str"),
        ({"moment": NOW.replace(tzinfo=timezone(timedelta(seconds=1)))}, "$.moment", "another value"),
    ],
)
def test_encode_of_value_that_would_change_raises_with_path(changes: dict[str, Any], path: str, reason: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        declared(Values).encode(Values(**changes))

    assert refused.value.path == path
    assert reason in refused.value.reason
    assert "test.values" in str(refused.value)
    assert "green" not in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": r"\u0000 Infinity 2024-01-01T00:00:00", "money": Decimal("1e400")},
        {"text": "Infinity"},
        {"text": "2024-01-01T00:00:00"},
        {"free": ["1" * 30, "[" * 100, [[]] * 100]},
        {"weight": -0.0, "number": 2**63 - 1},
    ],
)
def test_encode_of_false_positive_of_the_precheck_succeeds(changes: dict[str, Any]) -> None:
    kind = declared(Values)
    back = kind.decode(kind.encode(Values(**changes)))

    assert back == Values(**changes)


def test_encode_of_datetime_in_repeated_hour_of_clock_change_succeeds() -> None:
    moment = datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    kind = declared(Values)

    assert kind.decode(kind.encode(Values(moment=moment))).moment == datetime(2024, 10, 27, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "name", ["a", "shop.order-placed", "T02 Check confirmation of receipt", "Bestellung geändert", "注文", "x" * 200]
)
def test_name_of_printable_characters_is_accepted(name: str) -> None:
    assert declared(event(name)(type("A", (), {}))).name == name


@pytest.mark.parametrize("name", ["", " a", "a ", "a  b", "a\nb", "a\tb", "a\0", "\ud800", "\u200b", "x" * 201])
def test_name_with_invisible_characters_raises(name: str) -> None:
    with pytest.raises(DeclarationError, match="is not a valid event name"):
        event(name)
    with pytest.raises(DeclarationError, match="is not a valid event name"):
        describe(name)


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.0, None])
def test_version_below_one_or_not_an_int_raises(version: Any) -> None:
    with pytest.raises(DeclarationError, match="it must be 1, 2, 3"):
        event("test.version", version=version)


def test_event_without_name_raises() -> None:
    with pytest.raises(DeclarationError, match=r'@fait.event\("shop.order-placed"\)'):

        @event  # type: ignore[arg-type]
        class NoName: ...


class _Slots:
    __slots__ = ("a",)


class _Abstract(ABC):
    a: int


class _Init:
    def __init__(self) -> None: ...


class _Cached:
    @functools.cached_property
    def a(self) -> int:
        return 1


class _Fields:
    a: int


class _OverFields(_Fields):
    b: int


class _Mutable:
    a: list[int] = [1]  # noqa: RUF012


class _Order:
    a: int = 1
    b: int


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (_Slots, "__slots__"),
        (_Abstract, "metaclass ABCMeta"),
        (_Init, "use __post_init__"),
        (_Cached, "use property"),
        (_OverFields, "base _Fields is a plain class with fields"),
        (_Mutable, "default_factory"),
        (_Order, "Required field 'b'"),
        (Point, "it is a subclass of tuple"),
        (type("Words", (dict,), {}), "it is a subclass of dict"),
        (OfModule, "already declared as 'test.of-module'"),
        (lambda: None, "got an instance of function"),
        (dataclass(type("D", (), {"__annotations__": {"a": int}})), "add frozen=True to @dataclass"),
        (attrs.define(type("A", (), {"__annotations__": {"a": int}})), "attrs.frozen"),
        (msgspec.defstruct("S", ["a"]), "frozen=True"),
        (pydantic.create_model("P", a=(int, 1)), "frozen=True"),
    ],
)
def test_class_that_cannot_be_an_event_raises_with_advice(cls: Any, reason: str) -> None:
    with pytest.raises(DeclarationError, match=r"\(test_event\.py:\d+\)$") as refused:
        event("test.refused")(cls)
    assert reason in str(refused.value)


def test_describe_of_plain_class_raises() -> None:
    with pytest.raises(DeclarationError, match=r"declare it with @fait\.event"):
        describe("test.plain")(_Fields)


def test_kw_only_for_a_class_that_is_not_plain_raises() -> None:
    with pytest.raises(DeclarationError, match="kw_only"):
        event("test.own-way", kw_only=True)(Item)
