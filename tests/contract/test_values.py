"""Hostile values: every store returns them exactly, or refuses them with the path of the invalid part."""

import math
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import fait
from fait._store.open import backend_names
from fait._subscriptions.handler_log import HandlerBuffer, HandlerLog


@fait.event("hostile.said")
class Said:
    text: str = ""
    number: int = 0
    real: float = 0.0
    exact: Decimal = Decimal(0)
    maybe: float | None = None
    moment: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    raw: bytes = b""
    free: fait.Json = None
    more: dict[str, list[str]] = fait.field(default_factory=dict[str, list[str]])


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


VALID: list[dict[str, Any]] = [
    {},
    {"text": "é ü 漢 🙂 \U0010ffff \u200b \x1b[31m \\u0000 'quoted\" \n\t\r"},
    {"number": 2**63 - 1},
    {"number": -(2**63)},
    {"real": -0.0},
    {"real": 5e-324},
    {"real": 1.7976931348623157e308},
    {"exact": Decimal("1.10")},
    {"exact": Decimal("-0E-20")},
    {"exact": Decimal("9" * 5000)},
    {"text": "NaN Infinity"},
    {"moment": datetime(1, 1, 2, tzinfo=UTC)},
    {"moment": datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))},
    {"raw": bytes(range(256))},
    {"free": {"": [None, True, 1, 1.5, {"a": {}}], "ключ": ""}},
    {"free": nested(50)},
    {"more": {"": [""], "a.b[0]": []}},
    {"text": "x" * 500_000},
]

INVALID: list[tuple[dict[str, Any], str]] = [
    ({"text": "a\0b"}, r"\$\.text"),
    ({"text": "\ud800"}, r"\$\.text"),
    ({"more": {"key": ["fine", "\udfff"]}}, r"\$\.more\.key\[1\]"),
    ({"more": {"a\0": []}}, r"\$\.more"),
    ({"real": math.nan}, r"\$\.real"),
    ({"real": math.inf}, r"\$\.real"),
    ({"maybe": math.nan}, r"\$\.maybe"),
    ({"number": 2**63}, r"\$\.number"),
    ({"number": 2**70}, r"\$\.number"),
    ({"number": "7"}, r"\$\.number"),
    ({"exact": Decimal("NaN")}, r"\$\.exact"),
    ({"exact": Decimal("-Infinity")}, r"\$\.exact"),
    ({"exact": Decimal("9" * 1_200_000)}, r"\$"),
    ({"moment": datetime(2024, 1, 1)}, r"\$\.moment"),
    ({"free": {"a": [1, math.nan]}}, r"\$\.free\.a\[1\]"),
    ({"free": {"a": 2**70}}, r"\$\.free\.a"),
    ({"free": {"a": {1, 2}}}, r"\$\.free\.a"),
    ({"free": nested(5000)}, r"\$"),
    ({"free": nested(100)}, r"\$"),
    ({"text": "x" * (1 << 20)}, r"\$"),
]

STREAMS = [
    "a",
    "a-",
    "case-891",
    "order-é漢🙂",
    "order-" + "x" * 64,
    "order- with 'quotes\" and -dashes-",
    "ordre\n-1",
    "x-%_",
]
INVALID_STREAMS = ["", "-1", "order-\0", "order-\ud800", "order-" + "x" * 500]

NAMES = ["T02 Check confirmation of receipt", "name", "名前", "a.b-c:d/e"]
INVALID_NAMES = ["", " a", "a\0", "a\nb", "x" * 201, "a  b"]


@pytest.fixture(params=sorted(backend_names()))
async def s(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> AsyncIterator[fait.System]:
    app = fait.App("hostile")
    app.include(Said)
    async with app.open(store_url(request.param)) as system:
        yield system


@pytest.mark.parametrize("fields", VALID, ids=range(len(VALID)))
async def test_valid_value_is_read_exactly(s: fait.System, fields: dict[str, Any]) -> None:
    said = Said(**fields)

    await s.publish(said, stream="a-1")

    [recorded] = await s.read("a-1")
    assert recorded.event == said
    assert math.copysign(1, recorded.event.real) == math.copysign(1, said.real)
    assert str(recorded.event.exact) == str(said.exact)


@pytest.mark.parametrize(("fields", "path"), INVALID, ids=range(len(INVALID)))
async def test_invalid_value_is_refused_with_its_path(s: fait.System, fields: dict[str, Any], path: str) -> None:
    with pytest.raises(fait.InvalidValue) as error:
        await s.publish(Said(**fields), stream="a-1")

    assert re.match(path, error.value.path)
    assert len(str(error.value)) < 500  # the message does not contain the value
    assert await s.store.log.head() == 0


@pytest.mark.parametrize("stream", STREAMS)
async def test_stream_name_may_be_any_text(s: fait.System, stream: str) -> None:
    result = await s.append(fait.NewEvents(stream, [Said()], tags=[f"tag:{stream}"]))

    [recorded] = await s.read(stream)
    assert (recorded.stream, result.stream, recorded.tags) == (stream, stream, (f"tag:{stream}",))
    assert [each.stream for each in await s.store.log.streams()] == [stream]
    assert len((await s.query(fait.Query(tags=(f"tag:{stream}",)))).events) == 1


@pytest.mark.parametrize("name", INVALID_STREAMS)
async def test_invalid_names_of_streams_and_tags_are_refused(s: fait.System, name: str) -> None:
    with pytest.raises(fait.InvalidValue):
        await s.publish(Said(), stream=name)
    if not name.startswith("-"):
        with pytest.raises(fait.InvalidValue):
            await s.publish(Said(), stream="a-1", tags=[name])
    assert await s.store.log.head() == 0


@pytest.mark.parametrize("name", NAMES)
async def test_event_type_may_have_a_plain_name(s: fait.System, name: str) -> None:
    await s.publish(fait.Untyped(name, {"a": 1}), stream="a-1")

    [recorded] = await s.read("a-1")
    assert recorded.event == fait.Untyped(name, {"a": 1})


UNDECODABLE: dict[str, tuple[Any, str]] = {
    "other type": ({"number": "secret"}, r"Expected `int`, got `str` - at `\$.number`"),
    "no object": (["secret"], "Expected `object`, got `array`"),
    "raw": (msgspec.Raw(b'{"text":7,"number":1}'), r"Expected `str`, got `int`"),
}


@pytest.mark.parametrize("data", UNDECODABLE)
async def test_untyped_event_that_its_class_cannot_decode_is_refused(s: fait.System, data: str) -> None:
    value, reason = UNDECODABLE[data]
    event = fait.Untyped("hostile.said", value)

    with pytest.raises(fait.InvalidValue, match=f"the class Said cannot decode its data .{reason}") as error:
        await s.publish(event, stream="a-1")
    with pytest.raises(fait.InvalidValue):
        await s.append(fait.NewEvents("a-1", [Said(), event]))
    with pytest.raises(fait.InvalidValue):
        await opened_context(s).publish(event, stream="a-1")
    assert "secret" not in str(error.value)
    assert await s.store.log.head() == 0
    await s.publish(fait.Untyped("hostile.said", {"text": "a", "unknown": 1}), stream="a-1")
    assert [each.event for each in await s.read("a-1")] == [Said(text="a")]


def opened_context(s: fait.System) -> fait.Context:
    envelope: Any = None
    return fait.Context(HandlerLog(s.store.log, fait.SystemClock(), HandlerBuffer()), s, envelope, 1)


@pytest.mark.parametrize("name", INVALID_NAMES)
async def test_invalid_names_of_event_types_are_refused(s: fait.System, name: str) -> None:
    with pytest.raises(fait.FaitError):
        await s.publish(fait.Untyped(name, {}), stream="a-1")
    with pytest.raises(fait.DeclarationError):
        fait.event(name)
    assert await s.store.log.head() == 0


@pytest.mark.parametrize(
    "occurred_at",
    [
        datetime(2024, 1, 1),
        "2024-01-01",
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
    ],
)
async def test_occurred_at_needs_a_time_zone_and_a_finite_value(s: fait.System, occurred_at: Any) -> None:
    with pytest.raises(fait.FaitError):
        await s.publish(Said(), stream="a-1", occurred_at=occurred_at)
    assert await s.store.log.head() == 0
