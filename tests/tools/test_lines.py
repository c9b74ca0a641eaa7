"""A line becomes an event and is the same line again, or is refused with the reason."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fait._events.envelope import RecordedEvent
from fait._tools.cli.lines import BadLine, EventLine, format_line, parse_line

TIME = "2010-10-02T09:20:39.266000+02:00"


def stored(line: EventLine) -> RecordedEvent:
    new = line.event
    assert new.occurred_at is not None
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    return RecordedEvent(
        1,
        line.stream,
        1,
        new.type,
        new.schema_version,
        new.id,
        new.data,
        new.metadata,
        new.tags,
        moment,
        new.occurred_at,
    )


def there_and_back(raw: bytes, category: str | None = None) -> bytes:
    return format_line(stored(parse_line(1, raw, category)))


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
names = text.filter(bool)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
moments = st.datetimes(
    min_value=datetime(1, 1, 3),
    max_value=datetime(9999, 12, 29),
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
).map(datetime.isoformat)
streams = names.filter(lambda name: not name.startswith("-"))
tag_lists = st.lists(st.builds("{}:{}".format, st.from_regex(r"[a-z]+", fullmatch=True), names), min_size=1, max_size=3)
places = st.fixed_dictionaries(
    {"stream": streams}, optional={"tags": st.lists(names, max_size=3)}
) | st.fixed_dictionaries({"tags": tag_lists})
lines = st.builds(
    lambda place, others, rest: {**others, **place, **rest},
    places,
    st.dictionaries(names, values, max_size=3),
    st.fixed_dictionaries({"type": names, "time": moments, "data": values}, optional={"schema": values}),
)


@given(lines)
def test_a_line_comes_back_as_it_went_in(line: dict[str, Any]) -> None:
    assert msgspec.json.decode(there_and_back(msgspec.json.encode(line))) == line


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"case-1","type":"T02 Check","time":"2010-10-02T09:20:39.266000+02:00","data":{"n":1.50}}',
        b'{"id":"1","type":"place order","time":"2019-05-20T07:07:47.000+00:00","tags":["item:1","order:9"],"data":{}}',
        b'{"note":{"a":[1.10,2e3]},"stream":"a","type":"b","time":"2019-05-20T07:07:47.123456Z","tags":["x"],"data":null}',
        b'{"stream":"a","type":"b","schema":3,"time":"2019-05-20","data":{}}'.replace(b"05-20", b"05-20T00Z"),
    ],
)
def test_usual_lines_come_back_byte_by_byte(raw: bytes) -> None:
    assert there_and_back(raw, "order") == raw


def test_white_space_between_values_is_not_kept_across_lines() -> None:
    line = parse_line(1, b'{"stream":"a","type":"b","time":"2019-05-20T07:07:47Z","data":{"n":1.50}}', None)
    spread = msgspec.structs.replace(stored(line), data='{\n "n": 1.50}')

    assert format_line(spread) == b'{"stream":"a","type":"b","time":"2019-05-20T07:07:47Z","data":{"n":1.50}}'


def test_what_an_app_keeps_in_its_metadata_stays_out_of_the_line() -> None:
    line = parse_line(1, b'{"stream":"a","type":"b","time":"2019-05-20T07:07:47.000000Z","data":1}', None)
    foreign = msgspec.structs.replace(stored(line), metadata='{"actor":"me","extra":{"imported_line":7}}')

    assert format_line(foreign) == b'{"stream":"a","type":"b","time":"2019-05-20T07:07:47.000000Z","data":1}'


@pytest.mark.parametrize(
    ("tags", "category", "stream"),
    [
        (["item:7", "order:9"], "order", "order-9"),
        (["item:7", "order:9"], None, "item-7"),
        (["item:7", "order:9"], "parcel", "item-7"),
        (["urgent", "order:9:b"], None, "order-9:b"),
    ],
)
def test_a_line_without_a_stream_takes_it_from_its_tags(tags: list[str], category: str | None, stream: str) -> None:
    line = parse_line(1, msgspec.json.encode({"type": "t", "time": TIME, "tags": tags, "data": {}}), category)

    assert (line.stream, line.event.tags) == (stream, tuple(tags))


def test_the_id_is_made_of_the_line_and_its_number() -> None:
    raw = msgspec.json.encode({"stream": "a", "type": "t", "time": TIME, "data": {}})
    ids = [parse_line(number, raw, None).event.id for number in (1, 1, 2)]

    assert ids[0] == ids[1] != ids[2]
    assert {(UUID(each).version, UUID(each).variant) for each in ids} == {(8, "specified in RFC 4122")}


GOOD = {"stream": "a-1", "type": "t", "time": TIME, "data": {}}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"nonsense", "it is not JSON"),
        (b"[1]", "not an object"),
        (b'{"stream": "\xff"}', "byte 12 is not UTF-8"),
        ({**GOOD, "type": 7}, 'its "type" is not text'),
        ({**GOOD, "type": ""}, 'its "type" cannot be stored: it is empty'),
        ({key: GOOD[key] for key in ("stream", "time", "data")}, 'it has no "type"'),
        ({key: GOOD[key] for key in ("stream", "type", "data")}, 'it has no "time"'),
        ({key: GOOD[key] for key in ("stream", "type", "time")}, 'it has no "data"'),
        ({key: GOOD[key] for key in ("type", "time", "data")}, 'it has no "stream"'),
        ({**GOOD, "time": "2010-10-02T09:20:39"}, "has no zone"),
        ({**GOOD, "time": "2010-10-02"}, "has no zone"),
        ({**GOOD, "time": "yesterday"}, "not an ISO 8601 moment"),
        ({**GOOD, "time": "0001-01-01T00:00:00+02:00"}, "not an ISO 8601 moment"),
        ({**GOOD, "tags": "order:1"}, "not a list of texts"),
        ({**GOOD, "tags": [""]}, 'its "tags" cannot be stored'),
        ({**GOOD, "stream": "-7"}, "the category"),
        ({**GOOD, "data": {"n": [1 << 63]}}, "$.n[0]: the integer exceeds 64 bits"),
        ({**GOOD, "data": {"t": "a\0b"}}, "$.t: the string contains a NUL"),
        ({**GOOD, "note": "a\0b"}, "the string contains a NUL"),
        ({**GOOD, "data": "x" * (1 << 20)}, "exceeds the limit"),
    ],
)
def test_a_bad_line_is_refused_with_the_reason(raw: Any, reason: str) -> None:
    encoded = raw if isinstance(raw, bytes) else msgspec.json.encode(raw)

    with pytest.raises(BadLine) as refused:
        parse_line(1, encoded, None)

    assert reason in str(refused.value)
