"""Declaration of read models, and queries with `find` and `get`."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import attrs
import msgspec
import pytest

import fait
from fait._store.open import backend_names
from fait._store.ports.leases import Worker
from fait._subscriptions.find import MAX_CURSOR_CHARS, Comparison
from fait._subscriptions.read_model import ReadModelDefinition, definition_of
from fait.testing.contract.leases import range_of

T0 = datetime(2024, 1, 1, tzinfo=UTC)
Short = Annotated[str, msgspec.Meta(max_length=9)]


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@fait.event("parcel.weighed")
class Weighed:
    weight: Decimal
    color: Color
    note: str | None = None


@fait.event("parcel.lost")
class Lost:
    pass


class Parcel(fait.ReadModel, key="parcel", indexes=[("weight",), ("color", "seen_at")]):
    parcel: str
    weight: Decimal
    color: Color
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
                    color=event.color,
                    note=event.note,
                    seen_at=at.occurred_at,
                    history=history,
                    heavy=event.weight > 9,
                )
            case Lost():
                return None


class ByColor(fait.ReadModel, key="color"):
    color: str
    parcels: int

    @classmethod
    def key_of(cls, event: Weighed, at: fait.Envelope) -> str | None:
        return None if event.note == "ignored" else event.color.value

    @classmethod
    def evolve(cls, row: Self | None, event: Weighed, at: fait.Envelope) -> Self | None:
        row = row or cls(color=event.color.value, parcels=0)
        row.parcels += 1
        return row


@pytest.fixture(params=sorted(backend_names()))
async def s(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> AsyncIterator[fait.System]:
    post = fait.App("post")
    post.include(Parcel, ByColor)
    async with post.open(store_url(request.param), lease_s=0.5) as system:
        yield system


async def weigh(
    s: fait.System, parcel: str, weight: str, color: Color = Color.RED, **more: Any
) -> fait.WriteResult[None]:
    number = int(parcel[1:])
    return await s.publish(
        Weighed(Decimal(weight), color, **more), stream=f"parcel-{parcel}", occurred_at=T0 + timedelta(hours=number)
    )


async def some(s: fait.System) -> fait.WriteResult[None]:
    await weigh(s, "p1", "9.0", note="first")
    await weigh(s, "p2", "10.5", Color.BLUE)
    await weigh(s, "p3", "10")
    await weigh(s, "p4", "100", Color.BLUE, note="ignored")
    return await weigh(s, "p1", "9.50", note="again")


async def test_row_with_every_column_kind_round_trips(s: fait.System) -> None:
    await weigh(s, "p1", "1.10", note="é\n'\"; --")
    result = await weigh(s, "p1", "2.00", Color.BLUE)

    assert await s.get(Parcel, "p1", after=result) == Parcel(
        parcel="p1",
        weight=Decimal("2.00"),
        color=Color.BLUE,
        note=None,
        seen_at=T0 + timedelta(hours=1),
        history=[Decimal("1.10"), Decimal("2.00")],
    )


async def test_evolve_returning_none_deletes_row(s: fait.System) -> None:
    await weigh(s, "p1", "1")
    result = await s.publish(Lost(), stream="parcel-p1")

    assert await s.get(Parcel, "p1", after=result) is None
    assert await s.get(Parcel, "p1", after=await weigh(s, "p1", "3")) is not None


async def test_read_model_with_key_of_groups_by_that_key(s: fait.System) -> None:
    result = await some(s)

    rows = await s.find(ByColor, after=result)

    assert {row.color: row.parcels for row in rows} == {"blue": 1, "red": 3}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"parcel": "p2"}, ["p2"]),
        ({"color": Color.BLUE}, ["p2", "p4"]),
        ({"note": None}, ["p2", "p3"]),
        ({"note": fait.ne(None)}, ["p1", "p4"]),
        ({"note": fait.ne("again")}, ["p2", "p3", "p4"]),
        ({"weight": Decimal("9.5")}, ["p1"]),
        ({"weight": fait.gt(Decimal(10))}, ["p2", "p4"]),
        ({"weight": fait.ge(Decimal(10))}, ["p2", "p3", "p4"]),
        ({"weight": fait.lt(Decimal(10))}, ["p1"]),
        ({"weight": fait.le(Decimal(10)), "color": Color.RED}, ["p1", "p3"]),
        ({"weight": fait.between(Decimal(10), Decimal("10.5"))}, ["p2", "p3"]),
        ({"parcel": fait.one_of("p1", "p4", "p9")}, ["p1", "p4"]),
        ({"note": fait.one_of("again", None)}, ["p1", "p2", "p3"]),
        ({"note": fait.one_of()}, []),
        ({"heavy": True, "seen_at": fait.gt(T0 + timedelta(hours=2))}, ["p3", "p4"]),
    ],
)
async def test_find_with_conditions_returns_matching_rows(
    s: fait.System, where: dict[str, Any], expected: list[str]
) -> None:
    rows = await s.find(Parcel, after=await some(s), **where)

    assert [row.parcel for row in rows] == expected


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        (None, ["p1", "p2", "p3", "p4"]),
        ("-parcel", ["p4", "p3", "p2", "p1"]),
        ("weight", ["p1", "p3", "p2", "p4"]),
        (fait.desc(Parcel.weight), ["p4", "p2", "p3", "p1"]),
        ("note", ["p2", "p3", "p1", "p4"]),
        ("-note", ["p4", "p1", "p3", "p2"]),
        (["color", "-weight"], ["p4", "p2", "p3", "p1"]),
    ],
)
async def test_paging_returns_each_row_once_in_order(s: fait.System, order_by: object, expected: list[str]) -> None:
    result = await some(s)
    all_rows = [row.parcel for row in await s.find(Parcel, after=result, order_by=order_by)]
    pages, cursor = list[str](), None
    while True:
        page = await s.find(Parcel, order_by=order_by, limit=1, cursor=cursor)
        pages.extend(row.parcel for row in page)
        if (cursor := page.cursor) is None:
            break

    assert all_rows == pages == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"wieght": 1}, "Did you mean 'weight'"),
        ({"weight": "9"}, "cannot compare column Parcel.weight of kind decimal with a value of type str"),
        ({"heavy": 1}, "Parcel.heavy of kind boolean"),
        ({"seen_at": fait.ge(datetime(2024, 1, 1))}, r"Parcel.seen_at \(timestamp\) with a datetime without time zone"),
        ({"order_by": "wieght"}, "Did you mean 'weight'"),
        ({"order_by": 7}, "order_by takes column names"),
        ({"order_by": ["note", "-note"]}, "order_by names a column twice"),
        ({"color": "red"}, "Parcel.color of kind text with a value of type str"),
        ({"weight": Comparison("OR", (1,))}, "invalid comparison with column Parcel.weight"),
        ({"weight": Comparison("between", (Decimal(1),))}, "Use fait.gt"),
        ({"ratio": fait.one_of(*[0.5] * 10_001)}, "more than 10,000 values"),
        ({"xyz": 1}, "Its columns are: parcel, weight"),
    ],
)
async def test_find_with_invalid_arguments_raises_usage_error(
    s: fait.System, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(fait.UsageError, match=message):
        await s.find(Parcel, **arguments)


async def test_find_with_cursor_of_other_order_raises_invalid_cursor(s: fait.System) -> None:
    page = await s.find(Parcel, after=await some(s), order_by="weight", limit=1)

    with pytest.raises(fait.InvalidCursor, match="belongs to another order_by"):
        await s.find(Parcel, order_by="-weight", cursor=page.cursor)


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "ä",
        "",
        "A" * (MAX_CURSOR_CHARS + 1),
        *(
            base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
            for document in [
                [],
                [[["weight", False], ["parcel", False]], ["1"]],
                [[["weight", False], ["parcel", False]], [[], "p1"]],
                [[["weight", False], ["parcel", False]], ["sNaN", "p1"]],
                [[["weight", False], ["parcel", False]], ["1e999999999999999999999", "p1"]],
                [[["weight", False], ["parcel", False]], [None, "p1"]],
                [[["weight", False], ["parcel", False]], ["1", "a\0"]],
                [[["weight", False], ["parcel", False]], ["1", "\ud800"]],
            ]
        ),
    ],
)
async def test_find_with_tampered_cursor_raises_invalid_cursor(s: fait.System, cursor: str) -> None:
    await s.wait(await some(s))

    with pytest.raises(fait.InvalidCursor, match=r"^invalid cursor: it .*\. Nothing was read\. Pass the `cursor`"):
        await s.find(Parcel, order_by="weight", cursor=cursor)


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ({"note": "a\0"}, "note"),
        ({"note": fait.one_of("fine", "\ud800")}, "note"),
        ({"ratio": fait.lt(float("inf"))}, "ratio"),
        ({"weight": Decimal("NaN")}, "weight"),
        ({"seen_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))}, "seen_at"),
        ({"history": [Decimal("Infinity")]}, "history[0]"),
    ],
)
async def test_find_with_a_value_that_no_row_can_have_raises_invalid_value(
    s: fait.System, where: dict[str, Any], path: str
) -> None:
    with pytest.raises(fait.InvalidValue, match="a value to compare with column") as error:
        await s.find(Parcel, **where)

    assert error.value.path == path


async def test_cursor_longer_than_its_limit_raises_usage_error(s: fait.System) -> None:
    await weigh(s, "p1", "1", note="a" * 50_000)
    result = await weigh(s, "p2", "1", note="b")

    with pytest.raises(fait.UsageError, match="too long in the columns of order_by for a cursor"):
        await s.find(Parcel, order_by="note", limit=1, after=result)


class Unserved(fait.ReadModel, key="id"):
    id: str

    @classmethod
    def evolve(cls, row: Self | None, event: Lost, at: fait.Envelope) -> Self | None:
        raise RuntimeError("broken")


async def test_find_after_timeout_names_subscription_and_reason() -> None:
    app = fait.App("slow")
    app.include(Unserved)
    async with app.open("memory:") as system:
        result = await system.publish(Lost(), stream="x-1")
        with pytest.raises(fait.Stale, match=r"'unserved' is at position 0.*RuntimeError: broken") as stale:
            await system.find(Unserved, after=result, timeout_s=0.2)
    assert (stale.value.subscription, stale.value.position, stale.value.target) == ("unserved", 0, 1)
    async with app.open("memory:", run="elsewhere") as system:
        result = await system.publish(Lost(), stream="x-1")
        with pytest.raises(fait.Stale, match=r"This process runs no subscriptions\. Make sure that a worker is"):
            await system.find(Unserved, after=result, timeout_s=0.05)
        with pytest.raises(fait.UsageError, match=r"not included in the app 'slow'.* add slow\.include\(Parcel\)"):
            await system.find(Parcel)


async def test_find_that_times_out_while_another_worker_owns_the_lease_says_when_the_lease_expires() -> None:
    app = fait.App("slow")
    app.include(Parcel)
    async with app.open("memory:", lease_s=30) as system:
        result = await system.publish(Lost(), stream="x-1")
        await system.wait(result)
        group = system._subscription_runner.groups["parcel"]
        await system.store.leases.heartbeat(Worker("other"))
        [processor] = group._processors.values()
        assert processor.lease is not None
        await system.store.leases.release(processor.lease)
        taken = await system.store.leases.acquire(
            await range_of(system.store, "parcel"),
            "other",
            group.definition.definition_hash,
            system.store.log.identity.epoch_id,
        )
        assert taken is not None
        group.restart()
        while group.lease_expires_at == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        result = await system.publish(Lost(), stream="x-1")
        with pytest.raises(
            fait.Stale, match=r"Another worker owns its lease, which .* takes it over in (30\.0|29\.\d) s, unless"
        ):
            await system.find(Parcel, after=result, timeout_s=0.05)


class Misplaced(fait.ReadModel, key="parcel"):
    parcel: str

    @classmethod
    def evolve(cls, row: Self | None, event: Weighed | Lost, envelope: fait.Envelope) -> Any:
        return cls(parcel="secret") if isinstance(event, Weighed) else 7


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            Weighed(Decimal(1), Color.RED),
            "a row with another 'parcel' for event 1 of stream 'parcel-p1': the key of the event's row is the stream's",
        ),
        (
            Lost(),
            "an instance of int for event 1 of stream 'parcel-p1'. Return the row it was given, a new Misplaced,",
        ),
    ],
)
async def test_wrong_row_of_evolve_names_event_and_reason(event: object, message: str) -> None:
    app = fait.App("misplaced")
    app.include(Misplaced)
    async with app.open("memory:") as system:
        result = await system.publish(event, stream="parcel-p1")
        with pytest.raises(fait.Stale) as stale:
            await system.find(Misplaced, after=result, timeout_s=0.2)

    assert f"Misplaced.evolve returned {message}" in str(stale.value)
    assert "secret" not in str(stale.value)


def without_envelope(cls: type, row: Any, event: Lost) -> Any: ...


def declared(**changes: Any) -> ReadModelDefinition:
    """Declare a read model, valid except for the given changes."""
    keywords = {"key": "id", **changes.pop("keywords", {})}
    fields = {"id": str, **changes.pop("fields", {})}

    def evolve(cls: Any, row: Any, event: Lost, at: Any) -> Any: ...

    namespace = {"__annotations__": fields, "__module__": __name__, "evolve": classmethod(evolve), **changes}
    metaclass: Any = type(fait.ReadModel)
    return definition_of(metaclass("Odd", (fait.ReadModel,), namespace, **keywords))


@dataclass(eq=False)
class Spot:
    place: str


@attrs.define(eq=False)
class AttrsSpot:
    place: str


class StructSpot(msgspec.Struct, eq=False):
    place: str


@dataclass
class SpotHolder:
    spot: Spot


def test_valid_declaration_is_accepted() -> None:
    declared()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keywords": {"key": None}}, "has no key"),
        ({"keywords": {"key": "nothing"}}, "has no column 'nothing' for its key"),
        ({"keywords": {"key": "price"}, "fields": {"price": Decimal}}, "must be a str, int, UUID or date"),
        ({"keywords": {"key": "color"}, "fields": {"color": Color}}, "Derive Color from StrEnum or IntEnum"),
        ({"keywords": {"key": "color"}, "fields": {"color": Literal[Color.RED]}}, "Derive Color from StrEnum"),
        ({"keywords": {"key": "maybe"}, "fields": {"maybe": str | None}}, "and not None"),
        ({"keywords": {"table": 'x"; DROP TABLE y'}}, "invalid table name"),
        ({"keywords": {"table": "fait_events"}}, "must not start with a digit, fait_"),
        ({"keywords": {"indexes": [("nothing",)]}}, "has no column 'nothing' for its index"),
        ({"fields": {"limit": int}}, "column name 'limit' is reserved by find"),
        ({"fields": {"total": int, "Total": int}}, "names differ only in case"),
        ({"fields": {"spot": Spot}}, "'spot' cannot be stored: Spot instances.*Remove eq=False from Spot"),
        ({"fields": {"spots": dict[str, list[AttrsSpot]]}}, "'spots' cannot be stored: AttrsSpot instances"),
        ({"fields": {"spot": StructSpot | None}}, "'spot' cannot be stored: StructSpot instances"),
        ({"fields": {"spot": SpotHolder}}, "'spot' cannot be stored: Spot instances"),
        ({"evolve": None}, "has no class method evolve"),
        ({"evolve": classmethod(without_envelope)}, r"called with \(cls, row, event, envelope\), but has other"),
    ],
)
def test_invalid_declaration_raises_declaration_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(fait.DeclarationError, match=message):
        declared(**changes)


@pytest.mark.parametrize(
    ("annotation", "kind", "nullable"),
    [
        (Short, "text", False),
        (Short | None, "text", True),
        (Annotated[Short | None, "optional"], "text", True),
        (Annotated[Literal[1, 2], "small"] | None, "integer", True),
        (Annotated[Color, "color"] | None, "text", True),
        (Short | int, "json", False),
    ],
)
def test_annotated_column_has_the_kind_of_its_type(annotation: Any, kind: str, nullable: bool) -> None:
    column = declared(fields={"id": str, "value": annotation}).table.columns[1]
    assert (column.kind, column.nullable) == (kind, nullable)


@pytest.mark.parametrize(
    ("kind", "stream", "key"),
    [
        (str, "item-07", "07"),
        (str, "item-a-b", "a-b"),
        (int, "item-7", 7),
        (int, "item--7", -7),
        (UUID, f"item-{UUID(int=7)}", UUID(int=7)),
        (date, "item-2024-01-31", date(2024, 1, 31)),
    ],
)
def test_key_of_stream_is_its_id(kind: type, stream: str, key: object) -> None:
    assert declared(fields={"id": kind}).key_of_stream(stream) == key


@pytest.mark.parametrize(
    ("kind", "stream"),
    [
        (str, "inventory"),
        (str, "inventory-"),
        (int, "inventory"),
        *((int, f"item-{text}") for text in ("07", "+7", " 7", "7 ", "-0", "1_0", "٧", "7.0", "seven", "9" * 19)),
        *((UUID, f"item-{text}") for text in (str(UUID(int=10)).upper(), UUID(int=7).hex, f"{{{UUID(int=7)}}}")),
        *((date, f"item-{text}") for text in ("20240131", "2024-W05-3", "2024-1-31")),
    ],
)
def test_stream_that_may_share_its_key_with_another_raises(kind: type, stream: str) -> None:
    with pytest.raises(fait.UsageError, match="streams must not share a row"):
        declared(fields={"id": kind}).key_of_stream(stream)


class Numbered(fait.ReadModel, key="number", table="numbered", indexes=[("count",)]):
    number: int
    count: int = 0

    @classmethod
    def evolve(cls, row: Self | None, event: Lost, at: fait.Envelope) -> Self | None:
        return cls(number=7, count=(row.count if row else 0) + 1)


class NumberedCount(fait.ReadModel, key="id", table="numbered_count"):
    id: str

    @classmethod
    def evolve(cls, row: Self | None, event: Lost, at: fait.Envelope) -> Self | None:
        return cls(id=at.stream_id)


@pytest.mark.parametrize("backend", sorted(backend_names()))
async def test_streams_whose_ids_are_one_number_are_not_folded_into_one_row(
    backend: str, store_url: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    app = fait.App("numbers")
    app.include(Numbered, NumberedCount)  # a table is named as an index of the other would be
    async with app.open(store_url(backend)) as system:
        first = await system.publish(Lost(), stream="item-7")
        assert [row.count for row in await system.find(Numbered, after=first)] == [1]
        second = await system.publish(Lost(), stream="item-07")
        await system.find(NumberedCount, after=second)
        with pytest.raises(fait.FaitError):
            await system.find(Numbered, after=second, timeout_s=0.2)
        assert [row.count for row in await system.find(Numbered)] == [1]
    assert "from stream 'item-07'" in caplog.text


def key_without_envelope(cls: Any, event: Any) -> str: ...


def key_of_more(cls: Any, event: Any, at: Any, more: Any) -> str: ...


@pytest.mark.parametrize("key_of", [classmethod(key_without_envelope), classmethod(key_of_more)])
def test_key_of_with_other_parameters_is_refused_when_it_is_declared(key_of: Any) -> None:
    with pytest.raises(fait.DeclarationError, match=r"called with .*event, envelope\), but has other parameters"):
        declared(key_of=key_of)
