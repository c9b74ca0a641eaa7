"""How read models are declared, and how they are asked."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Self
from uuid import UUID

import pytest

import fait
from fait._store.open import BACKENDS
from fait._subscriptions.read_model import definition_of

T0 = datetime(2024, 1, 1, tzinfo=UTC)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@fait.event("parcel.weighed")
class Weighed:
    weight: Decimal
    colour: Colour
    note: str | None = None


@fait.event("parcel.lost")
class Lost:
    pass


class Parcel(fait.ReadModel, key="parcel", indexes=[("weight",), ("colour", "seen_at")]):
    parcel: str
    weight: Decimal
    colour: Colour
    note: str | None
    seen_at: datetime
    history: list[Decimal] = fait.field(default_factory=list[Decimal])
    state: Literal["here", "gone"] = "here"
    day: date = date(2024, 1, 1)
    number: UUID = UUID(int=7)
    heavy: bool = False
    ratio: float = 0.5
    blob: bytes = b"\x00\xff"

    @classmethod
    def evolve(cls, row: Self | None, event: Weighed | Lost, at: fait.Envelope) -> Self | None:
        match event:
            case Weighed():
                history = [*(row.history if row else []), event.weight]
                return cls(
                    parcel=at.stream_id,
                    weight=event.weight,
                    colour=event.colour,
                    note=event.note,
                    seen_at=at.occurred_at,
                    history=history,
                    heavy=event.weight > 9,
                )
            case Lost():
                return None


class ByColour(fait.ReadModel, key="colour"):
    colour: str
    parcels: int

    @classmethod
    def key_of(cls, event: Weighed, at: fait.Envelope) -> str | None:
        return None if event.note == "ignored" else event.colour.value

    @classmethod
    def evolve(cls, row: Self | None, event: Weighed, at: fait.Envelope) -> Self | None:
        row = row or cls(colour=event.colour.value, parcels=0)
        row.parcels += 1
        return row


@pytest.fixture(params=sorted(BACKENDS))
async def s(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> AsyncIterator[fait.System]:
    post = fait.App("post")
    post.include(Parcel, ByColour)
    async with post.open(store_url(request.param), lease_s=0.5) as system:
        yield system


async def weigh(
    s: fait.System, parcel: str, weight: str, colour: Colour = Colour.RED, **more: Any
) -> fait.WriteResult[None]:
    number = int(parcel[1:])
    return await s.publish(
        Weighed(Decimal(weight), colour, **more), stream=f"parcel-{parcel}", occurred_at=T0 + timedelta(hours=number)
    )


async def some(s: fait.System) -> fait.WriteResult[None]:
    await weigh(s, "p1", "9.0", note="first")
    await weigh(s, "p2", "10.5", Colour.BLUE)
    await weigh(s, "p3", "10")
    await weigh(s, "p4", "100", Colour.BLUE, note="ignored")
    return await weigh(s, "p1", "9.50", note="again")


async def test_every_kind_of_column_comes_back_as_it_went_in(s: fait.System) -> None:
    await weigh(s, "p1", "1.10", note="é\n'\"; --")
    done = await weigh(s, "p1", "2.00", Colour.BLUE)

    assert await s.get(Parcel, "p1", after=done) == Parcel(
        parcel="p1",
        weight=Decimal("2.00"),
        colour=Colour.BLUE,
        note=None,
        seen_at=T0 + timedelta(hours=1),
        history=[Decimal("1.10"), Decimal("2.00")],
    )


async def test_a_row_that_becomes_nothing_is_removed(s: fait.System) -> None:
    await weigh(s, "p1", "1")
    done = await s.publish(Lost(), stream="parcel-p1")

    assert await s.get(Parcel, "p1", after=done) is None
    assert await s.get(Parcel, "p1", after=await weigh(s, "p1", "3")) is not None


async def test_a_model_may_choose_its_own_key(s: fait.System) -> None:
    done = await some(s)

    rows = await s.find(ByColour, after=done)

    assert {row.colour: row.parcels for row in rows} == {"blue": 1, "red": 3}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"parcel": "p2"}, ["p2"]),
        ({"colour": Colour.BLUE}, ["p2", "p4"]),
        ({"note": None}, ["p2", "p3"]),
        ({"note": fait.ne(None)}, ["p1", "p4"]),
        ({"note": fait.ne("again")}, ["p2", "p3", "p4"]),
        ({"weight": Decimal("9.5")}, ["p1"]),
        ({"weight": fait.gt(Decimal(10))}, ["p2", "p4"]),
        ({"weight": fait.ge(Decimal(10))}, ["p2", "p3", "p4"]),
        ({"weight": fait.lt(Decimal(10))}, ["p1"]),
        ({"weight": fait.le(Decimal(10)), "colour": Colour.RED}, ["p1", "p3"]),
        ({"weight": fait.between(Decimal(10), Decimal("10.5"))}, ["p2", "p3"]),
        ({"parcel": fait.one_of("p1", "p4", "p9")}, ["p1", "p4"]),
        ({"note": fait.one_of("again", None)}, ["p1", "p2", "p3"]),
        ({"note": fait.one_of()}, []),
        ({"heavy": True, "seen_at": fait.gt(T0 + timedelta(hours=2))}, ["p3", "p4"]),
    ],
)
async def test_filters(s: fait.System, where: dict[str, Any], found: list[str]) -> None:
    rows = await s.find(Parcel, after=await some(s), **where)

    assert [row.parcel for row in rows] == found


@pytest.mark.parametrize(
    ("order_by", "found"),
    [
        (None, ["p1", "p2", "p3", "p4"]),
        ("-parcel", ["p4", "p3", "p2", "p1"]),
        ("weight", ["p1", "p3", "p2", "p4"]),
        (fait.desc(Parcel.weight), ["p4", "p2", "p3", "p1"]),
        ("note", ["p2", "p3", "p1", "p4"]),
        ("-note", ["p4", "p1", "p3", "p2"]),
        (["colour", "-weight"], ["p4", "p2", "p3", "p1"]),
    ],
)
async def test_order_and_paging_visit_every_row_once(s: fait.System, order_by: object, found: list[str]) -> None:
    done = await some(s)
    whole = [row.parcel for row in await s.find(Parcel, after=done, order_by=order_by)]
    pages, cursor = list[str](), None
    while True:
        page = await s.find(Parcel, order_by=order_by, limit=1, cursor=cursor)
        pages.extend(row.parcel for row in page)
        if (cursor := page.cursor) is None:
            break

    assert whole == pages == found


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"wieght": 1}, "Did you mean 'weight'"),
        ({"weight": "9"}, "weight is decimal: it cannot be compared with a str"),
        ({"heavy": 1}, "heavy is boolean"),
        ({"order_by": "wieght"}, "Did you mean 'weight'"),
        ({"order_by": 7}, "order_by takes column names"),
        ({"cursor": "nonsense"}, "not a cursor"),
        ({"xyz": 1}, "It has: parcel, weight"),
    ],
)
async def test_a_question_that_cannot_be_meant_is_refused(
    s: fait.System, question: dict[str, Any], message: str
) -> None:
    with pytest.raises(fait.UsageError, match=message):
        await s.find(Parcel, **question)


async def test_a_cursor_belongs_to_its_order(s: fait.System) -> None:
    page = await s.find(Parcel, after=await some(s), order_by="weight", limit=1)

    with pytest.raises(fait.UsageError, match="another order_by"):
        await s.find(Parcel, order_by="-weight", cursor=page.cursor)


class Unserved(fait.ReadModel, key="id"):
    id: str

    @classmethod
    def evolve(cls, row: Self | None, event: Lost, at: fait.Envelope) -> Self | None:
        raise RuntimeError("broken")


async def test_a_read_that_waits_too_long_names_the_laggard_and_why() -> None:
    app = fait.App("slow")
    app.include(Unserved)
    async with app.open("memory:") as system:
        done = await system.publish(Lost(), stream="x-1")
        with pytest.raises(fait.Stale, match=r"'unserved' is at position 0.*RuntimeError: broken") as stale:
            await system.find(Unserved, after=done, timeout_s=0.2)
    assert (stale.value.subscription, stale.value.position, stale.value.target) == ("unserved", 0, 1)
    async with app.open("memory:", run="elsewhere") as system:
        done = await system.publish(Lost(), stream="x-1")
        with pytest.raises(fait.Stale, match="is a process running"):
            await system.find(Unserved, after=done, timeout_s=0.05)


def declared(**said: Any) -> None:
    """A read model with one odd thing about it."""
    keywords = {"key": "id", **said.pop("keywords", {})}
    fields = {"id": str, **said.pop("fields", {})}

    def evolve(cls: Any, row: Any, event: Lost, at: Any) -> Any: ...

    namespace = {"__annotations__": fields, "__module__": __name__, "evolve": classmethod(evolve), **said}
    definition_of(type(fait.ReadModel)("Odd", (fait.ReadModel,), namespace, **keywords))


def test_an_ordinary_declaration_is_fine() -> None:
    declared()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"keywords": {"key": None}}, "needs a key"),
        ({"keywords": {"key": "nothing"}}, "not one of its columns"),
        ({"keywords": {"key": "price"}, "fields": {"price": Decimal}}, "must be str, int, UUID or date"),
        ({"keywords": {"key": "maybe"}, "fields": {"maybe": str | None}}, "and always there"),
        ({"keywords": {"table": 'x"; DROP TABLE y'}}, "cannot be a table's name"),
        ({"keywords": {"table": "fait_events"}}, "no prefix of a system's"),
        ({"keywords": {"indexes": [("nothing",)]}}, "index column 'nothing'"),
        ({"fields": {"limit": int}}, "words of find"),
        ({"evolve": None}, "needs `@classmethod def evolve"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(fait.DeclarationError, match=message):
        declared(**said)
