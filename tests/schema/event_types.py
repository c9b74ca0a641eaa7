"""Random event classes for tests, made of a plain list of fields, by each library that makes record classes."""

import dataclasses
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st
from msgspec import NODEFAULT, Meta

import fait

__all__ = ["KINDS", "Fields", "changed", "event_class", "fields"]

Fields = dict[str, tuple[Any, Any]]
"""Name to type and default; `NODEFAULT` for none."""

KINDS = ("struct", "dataclass", "attrs", "pydantic")


class Currency(Enum):
    EUR = "EUR"
    USD = "USD"


class MoreCurrencies(Enum):
    EUR = "EUR"
    USD = "USD"
    CHF = "CHF"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


@dataclasses.dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: Currency = Currency.EUR


@dataclasses.dataclass(frozen=True)
class MoneyWithNote:
    amount: Decimal
    currency: Currency = Currency.EUR
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class MoneyOfAnyCurrency:
    amount: Decimal
    currency: str


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Address(TypedDict):
    city: str
    zip: int


class Card(msgspec.Struct, frozen=True, tag="card"):
    number: str


class Cash(msgspec.Struct, frozen=True, tag="cash"):
    amount: int = 0


class Tree(msgspec.Struct, frozen=True):
    name: str
    children: list["Tree"] = []


SCALARS: list[Any] = [
    bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, UUID, Currency, MoreCurrencies, Size,
    Literal["a", "b"], Literal["a"], Literal[1, 2, "c"],
    Annotated[int, Meta(ge=0)], Annotated[int, Meta(gt=0, le=100)], Annotated[int, Meta(multiple_of=5)],
    Annotated[float, Meta(ge=0)], Annotated[float, Meta(lt=1.5)],
    Annotated[str, Meta(min_length=1)], Annotated[str, Meta(max_length=3)], Annotated[str, Meta(pattern="^[A-Z]{3}$")],
    Annotated[bytes, Meta(max_length=5)],
]  # fmt: skip
RECORDS: list[Any] = [Money, MoneyWithNote, MoneyOfAnyCurrency, Point, Address, Card, Cash, Card | Cash, Tree]
KEYS: list[Any] = [str, int, UUID, date, Currency, Size, Literal["a", "b"]]
HASHABLE: list[Any] = [int, str, date, UUID, Currency, Decimal, float]
OF_STRUCTS = {Card, Cash, Card | Cash, Tree, Address}
"""Types that Pydantic does not know; it knows a TypedDict of the standard library only from Python 3.12 on."""


def types(kind: str) -> st.SearchStrategy[Any]:
    leaves = st.sampled_from([*SCALARS, *(each for each in RECORDS if kind != "pydantic" or each not in OF_STRUCTS)])

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            inner.map(lambda each: list[each]),
            inner.map(lambda each: tuple[each, ...]),
            inner.map(lambda each: tuple[each, int]),
            inner.map(lambda each: each | None),
            st.tuples(st.sampled_from(KEYS), inner).map(lambda pair: dict[pair]),
            st.sampled_from(HASHABLE).map(lambda each: set[each]),
            st.sampled_from([int | str, int | bool | None, float | str, int | float]),
            inner.map(lambda each: Annotated[list[each], Meta(min_length=1, max_length=4)]),
        )

    return st.recursive(leaves, larger, max_leaves=2)


def defaults(kind: Any) -> list[Any]:
    """Defaults that a field of this type may have."""
    known: dict[Any, list[Any]] = {
        int: [0, 7], str: ["", "x"], bool: [True], float: [0.5], Currency: [Currency.EUR, Currency.USD],
        Decimal: [Decimal("1.10")], date: [date(2024, 2, 29)],
    }  # fmt: skip
    return [
        NODEFAULT,
        NODEFAULT,
        *known.get(kind, []),
        *([None] if type(None) in getattr(kind, "__args__", ()) else []),
    ]


@st.composite
def fields(draw: st.DrawFn, kind: str) -> Fields:
    """One to four fields."""
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
    return {name: draw(field(kind)) for name in names}


@st.composite
def field(draw: st.DrawFn, kind: str) -> tuple[Any, Any]:
    chosen = draw(types(kind))
    return chosen, draw(st.sampled_from(defaults(chosen)))


@st.composite
def changed(draw: st.DrawFn, original: Fields, kind: str) -> Fields:
    """The fields with one or two of them added, removed, renamed, or of a similar type."""
    result = dict(original)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(result))) if result else "a"
        change = draw(st.sampled_from(["add", "remove", "rename", "type", "default", "wrap", "similar", "similar"]))
        chosen, default = result.get(name, (int, NODEFAULT))
        match change:
            case "add":
                result[draw(st.sampled_from("efg"))] = draw(field(kind))
            case "remove":
                result.pop(name, None)
            case "rename":
                result["renamed"] = result.pop(name, (int, 0))
            case "default":
                result[name] = chosen, draw(st.sampled_from(defaults(chosen)))
            case "wrap":
                result[name] = draw(st.sampled_from([chosen | None, list[chosen], tuple[chosen, ...]])), NODEFAULT
            case "type":
                result[name] = draw(field(kind))
            case _:
                result[name] = draw(st.sampled_from(similar(chosen, kind))), default if kind == "" else NODEFAULT
    return result or {"a": (int, 0)}


def similar(chosen: Any, kind: str) -> list[Any]:
    groups: list[list[Any]] = [
        [int, float, Decimal, *SCALARS[17:22]],
        [str, bytes, date, datetime, UUID, Currency, MoreCurrencies, *SCALARS[14:16], *SCALARS[22:25]],
        [Money, MoneyWithNote, MoneyOfAnyCurrency],
        [list[int], set[int], tuple[int, ...], list[float], tuple[int, int]],
        [int | str, int | float, int | None, float | str],
        [Card, Cash, Card | Cash] if kind != "pydantic" else [Point, Money],
    ]
    return next((group for group in groups if chosen in group), groups[0])


def event_class(kind: str, specified: Fields, *, omit_defaults: bool = False) -> type:
    """Return a new event class with these fields, required ones first."""
    ordered = dict(sorted(specified.items(), key=lambda item: item[1][1] is not NODEFAULT))
    cls = MAKERS[kind](ordered, omit_defaults)
    return fait.event("test.generated")(cls)


def _struct(ordered: Fields, omit_defaults: bool) -> type:
    definition = [
        (name, kind) if default is NODEFAULT else (name, kind, default) for name, (kind, default) in ordered.items()
    ]
    return msgspec.defstruct("Generated", definition, frozen=True, omit_defaults=omit_defaults)


def _dataclass(ordered: Fields, _: bool) -> type:
    definition: Any = [
        (name, kind) if default is NODEFAULT else (name, kind, dataclasses.field(default=default))
        for name, (kind, default) in ordered.items()
    ]
    return dataclasses.make_dataclass("Generated", definition, frozen=True)


def _attrs(ordered: Fields, _: bool) -> type:
    definition = {
        name: attrs.field(type=kind) if default is NODEFAULT else attrs.field(type=kind, default=default)
        for name, (kind, default) in ordered.items()
    }
    return attrs.make_class("Generated", definition, frozen=True)


def _pydantic(ordered: Fields, _: bool) -> type:
    definition: Any = {
        name: (for_pydantic(kind), ... if default is NODEFAULT else default)
        for name, (kind, default) in ordered.items()
    }
    return pydantic.create_model("Generated", __config__={"frozen": True}, **definition)


def for_pydantic(kind: Any) -> Any:
    """The type with Pydantic's limits in place of those of msgspec."""
    if kind is datetime:
        return pydantic.AwareDatetime
    if metadata := getattr(kind, "__metadata__", ()):
        meta = metadata[0]
        names = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")
        limits: Any = {name: getattr(meta, name) for name in names if getattr(meta, name) is not None}
        return Annotated[for_pydantic(kind.__origin__), pydantic.Field(**limits)]
    args: Any = getattr(kind, "__args__", None)
    if not args or getattr(kind, "__origin__", None) is Literal:
        return kind
    inside = tuple(for_pydantic(each) for each in args)
    if hasattr(kind, "__origin__"):
        return kind.__origin__[inside]
    result = inside[0]
    for each in inside[1:]:
        result = result | each
    return result


MAKERS: dict[str, Callable[[Fields, bool], type]] = {
    "struct": _struct, "dataclass": _dataclass, "attrs": _attrs, "pydantic": _pydantic
}  # fmt: skip
