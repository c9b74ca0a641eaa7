"""Values of rows: every backend stores them exactly, or refuses them with read model, key and path."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Self
from uuid import UUID

import pytest

import fait
from fait._store.open import backend_names
from fait._store.ports.column_values import MAX_INDEXED_BYTES, MAX_VALUE_BYTES
from fait._subscriptions.read_model import definition_of


class Size(Enum):
    SMALL = "small"


@fait.event("thing.changed")
class Changed:
    pass


class Thing(fait.ReadModel, key="id", indexes=[("code",), ("code", "size"), ("tag", "price")]):
    id: str
    text: str = ""
    code: str | None = None
    tag: bytes = b""
    count: int = 0
    real: float = 0.0
    price: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    moment: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    day: date = date(2024, 1, 1)
    number: UUID = UUID(int=0)
    flag: bool | None = None
    size: Size = Size.SMALL
    reals: list[float] = fait.field(default_factory=list[float])
    times: list[datetime] = fait.field(default_factory=list[datetime])
    free: fait.Json = 0

    @classmethod
    def evolve(cls, row: Self | None, event: Changed, at: fait.Envelope) -> Self | None:
        return cls(id=at.stream_id, **fields_by_id.get(at.stream_id, {}))


class Grouped(fait.ReadModel, key="id"):
    id: str

    @classmethod
    def key_of(cls, event: Changed, at: fait.Envelope) -> Any:
        return keys_by_id.get(at.stream_id)

    @classmethod
    def evolve(cls, row: Self | None, event: Changed, at: fait.Envelope) -> Self | None:
        return cls(id=keys_by_id[at.stream_id]) if at.stream_id in keys_by_id else None


fields_by_id: dict[str, dict[str, Any]] = {}
keys_by_id: dict[str, Any] = {}

VALID: list[dict[str, Any]] = [
    {"text": "é 漢 🙂 \U0010ffff \x01 \n", "code": "🙂" * (MAX_INDEXED_BYTES // 4 - 2)},
    {"text": "x" * MAX_VALUE_BYTES, "code": "x" * (MAX_INDEXED_BYTES - 5)},
    {"tag": b"\x00" * (MAX_INDEXED_BYTES - 50)},
    {"count": 2**63 - 1, "real": 1.7976931348623157e308},
    {"count": -(2**63), "real": 5e-324},
    {"real": 2**53},
    {"price": Decimal("9" * 3000 + "." + "9" * 900)},
    {"total": Decimal("1e131071")},
    {"total": Decimal("1e-16383")},
    {"total": Decimal("-0E-20")},
    {"moment": datetime(1, 1, 1, tzinfo=UTC), "day": date.min},
    {"moment": datetime.max.replace(tzinfo=UTC), "day": date.max},
    {"moment": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-14)))},
    {"flag": True, "reals": [1, -0.5], "times": [datetime(2024, 1, 1, tzinfo=UTC)]},
    {"free": {"": [None, {"a": "T00:00:00"}, 10**18]}},
]

INVALID: list[tuple[dict[str, Any], str]] = [
    ({"text": "a\0b"}, "text"),
    ({"text": "\ud800"}, "text"),
    ({"text": "x" * (MAX_VALUE_BYTES + 1)}, "text"),
    ({"text": None}, "text"),
    ({"text": 7}, "text"),
    ({"code": "x" * (MAX_INDEXED_BYTES + 1)}, "code"),
    ({"code": "é" * (MAX_INDEXED_BYTES // 2 + 1)}, "code"),
    ({"code": "x" * (MAX_INDEXED_BYTES - 4)}, "code, size"),
    ({"code": "é" * (MAX_INDEXED_BYTES // 2 - 2)}, "code, size"),
    ({"tag": b"x" * (MAX_INDEXED_BYTES + 1)}, "tag, price"),
    ({"price": Decimal("9" * 5000)}, "tag, price"),
    ({"count": 2**63}, "count"),
    ({"count": True}, "count"),
    ({"real": math.nan}, "real"),
    ({"real": -math.inf}, "real"),
    ({"real": 2**53 + 1}, "real"),
    ({"total": Decimal("NaN")}, "total"),
    ({"total": Decimal("sNaN")}, "total"),
    ({"total": Decimal("-Infinity")}, "total"),
    ({"total": Decimal("1e131072")}, "total"),
    ({"total": Decimal("1e-16384")}, "total"),
    ({"moment": datetime(2024, 1, 1)}, "moment"),
    ({"moment": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))}, "moment"),
    ({"moment": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}, "moment"),
    ({"day": datetime(2024, 1, 1)}, "day"),
    ({"size": "small"}, "size"),
    ({"reals": [1.0, math.inf]}, "reals[1]"),
    ({"reals": ["one"]}, "reals[0]"),
    ({"times": [datetime(2024, 1, 1)]}, "times[0]"),
    ({"free": {"a": ["b\0"]}}, "free.a[0]"),
    ({"free": {"a": "\udfff"}}, "free.a"),
    ({"free": [2**64]}, "free[0]"),
    ({"free": [Decimal("sNaN")]}, "free[0]"),
    ({"free": {1, 2}}, "free"),
]

INVALID_KEYS: list[Any] = ["a\0", "\ud800", "x" * (MAX_INDEXED_BYTES + 1), 7, ["fine", None]]


@pytest.fixture(params=sorted(backend_names()))
async def s(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> AsyncIterator[fait.System]:
    fields_by_id.clear()
    keys_by_id.clear()
    app = fait.App("things")
    app.include(Thing, Grouped)
    async with app.open(store_url(request.param)) as system:
        yield system


async def error_of(s: fait.System, name: str) -> Exception:
    """Return the error that a subscription retries."""
    async with asyncio.timeout(10):
        while True:
            if error := next(each.error for each in await s.status() if each.name == name):
                return error
            await asyncio.sleep(0.01)


async def test_valid_rows_are_read_exactly(s: fait.System) -> None:
    fields_by_id.update({f"t{number}": fields for number, fields in enumerate(VALID)})
    results = [await s.publish(Changed(), stream=f"thing-{id}") for id in fields_by_id]

    rows = await s.find(Thing, after=results[-1])

    assert rows == sorted((Thing(id=id, **fields) for id, fields in fields_by_id.items()), key=lambda row: row.id)


async def test_paging_over_extreme_values_returns_each_row_once(s: fait.System) -> None:
    fields_by_id.update({f"t{number}": fields for number, fields in enumerate(VALID) if "text" not in fields})
    results = [await s.publish(Changed(), stream=f"thing-{id}") for id in fields_by_id]
    await s.wait(results[-1])

    for column in Thing.__struct_fields__:
        assert sorted([id async for id in ids_by_page(s, column)]) == sorted(fields_by_id)


async def ids_by_page(s: fait.System, column: str) -> AsyncIterator[str]:
    page = await s.find(Thing, order_by=column, limit=4)
    while page:
        for row in page:
            yield row.id
        page = await s.find(Thing, order_by=column, limit=4, cursor=page.cursor) if page.cursor else []


@pytest.mark.parametrize(("fields", "path"), INVALID, ids=range(len(INVALID)))
def test_invalid_row_is_refused_with_read_model_key_and_path(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(fait.InvalidValue) as error:
        check(*VALID, fields)

    message = f"the row with the key 't15' of read model Thing cannot be stored: {path}: {error.value.reason}. Nothing "
    assert error.value.path == path
    assert str(error.value).startswith(message)
    assert len(str(error.value)) < 500  # the message does not contain the value


def check(*rows: dict[str, Any]) -> None:
    """Check rows of one batch."""
    definition = definition_of(Thing)
    definition.check_rows(
        [
            definition.to_row(Thing(id=f"t{number}", **{"code": "1234567890", "price": Decimal(10), **fields}))
            for number, fields in enumerate(rows)
        ]
    )


@pytest.mark.parametrize("number", [0, 5, 14, 19, 23, 26])
async def test_invalid_row_stops_the_read_model_with_the_same_error_on_every_backend(
    s: fait.System, number: int
) -> None:
    fields, path = INVALID[number]
    fields_by_id["t1"] = fields

    await s.publish(Changed(), stream="thing-t1")
    error = await error_of(s, "thing")

    assert isinstance(error, fait.InvalidValue)
    assert error.path == path
    assert await s.find(Thing) == []


@pytest.mark.parametrize("key", INVALID_KEYS, ids=range(len(INVALID_KEYS)))
async def test_invalid_key_stops_the_read_model_with_the_same_error_on_every_backend(s: fait.System, key: Any) -> None:
    keys_by_id["t1"] = key

    await s.publish(Changed(), stream="thing-t1")
    error = await error_of(s, "grouped")

    assert isinstance(error, fait.InvalidValue)
    assert error.path == "id"
    assert "a key that Grouped.key_of returned for event 1 of stream 'thing-t1'" in str(error)
    assert await s.find(Grouped) == []
