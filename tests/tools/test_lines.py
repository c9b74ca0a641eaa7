"""A line is parsed to an event and formatted as the same line, or is rejected with a reason."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fait._events.envelope import RecordedEvent
from fait._tools.cli.lines import EventLine, InvalidLine, format_line, parse_line

TIME = "2010-10-02T09:20:39.266000+02:00"


def stored(line: EventLine) -> RecordedEvent:
    new = line.event
    assert new.occurred_at is not None
    recorded_at = datetime(2024, 1, 1, tzinfo=UTC)
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
        recorded_at,
        new.occurred_at,
    )


def round_trip(raw: bytes, category: str | None = None) -> bytes:
    return format_line(stored(parse_line(1, raw, category)))


@pytest.mark.parametrize(
    "time",
    ["0001-01-01T00:00:00Z", "0001-01-01T01:00:00+01:00", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:30:00-05:00"],
)
def test_line_with_a_time_that_a_database_would_store_as_infinity_is_invalid(time: str) -> None:
    with pytest.raises(InvalidLine, match='"time"'):
        parse_line(1, b'{"stream":"a-1","type":"x","time":"%s","data":{}}' % time.encode(), None)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999998Z"])
def test_line_with_the_first_or_last_time_is_unchanged_after_a_round_trip(time: str) -> None:
    raw = b'{"stream":"a-1","type":"x","time":"%s","data":{}}' % time.encode()

    assert round_trip(raw) == raw


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
times = st.datetimes(
    min_value=datetime(1, 1, 3),
    max_value=datetime(9999, 12, 29),
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
).map(datetime.isoformat)
streams = names.filter(lambda name: not name.startswith("-"))
tag_lists = st.lists(st.builds("{}:{}".format, st.from_regex(r"[a-z]+", fullmatch=True), names), min_size=1, max_size=3)
stream_keys = st.fixed_dictionaries(
    {"stream": streams}, optional={"tags": st.lists(names, max_size=3)}
) | st.fixed_dictionaries({"tags": tag_lists})
lines = st.builds(
    lambda place, unknown, known: {**unknown, **place, **known},
    stream_keys,
    st.dictionaries(names, values, max_size=3),
    st.fixed_dictionaries({"type": names, "time": times, "data": values}, optional={"schema_version": values}),
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # so is a busy machine
@given(lines)
def test_round_trip_preserves_line(line: dict[str, Any]) -> None:
    assert msgspec.json.decode(round_trip(msgspec.json.encode(line))) == line


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"case-1","type":"T02 Check","time":"2010-10-02T09:20:39.266000+02:00","data":{"n":1.50}}',
        b'{"id":"1","type":"place order","time":"2019-05-20T07:07:47.000+00:00","tags":["item:1","order:9"],"data":{}}',
        b'{"note":{"a":[1.10,2e3]},"stream":"a","type":"b","time":"2019-05-20T07:07:47.123456Z","tags":["x"],"data":null}',
        b'{"stream":"a","type":"b","schema_version":3,"time":"2019-05-20","data":{}}'.replace(b"05-20", b"05-20T00Z"),
    ],
)
def test_round_trip_of_usual_lines_is_identical(raw: bytes) -> None:
    assert round_trip(raw, "order") == raw


def test_line_breaks_in_data_are_removed() -> None:
    line = parse_line(1, b'{"stream":"a","type":"b","time":"2019-05-20T07:07:47Z","data":{"n":1.50}}', None)
    spread = msgspec.structs.replace(stored(line), data='{\n "n": 1.50}')

    assert format_line(spread) == b'{"stream":"a","type":"b","time":"2019-05-20T07:07:47Z","data":{"n":1.50}}'


def test_metadata_of_an_application_is_not_in_the_line() -> None:
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
def test_line_without_stream_derives_it_from_tags(tags: list[str], category: str | None, stream: str) -> None:
    line = parse_line(1, msgspec.json.encode({"type": "t", "time": TIME, "tags": tags, "data": {}}), category)

    assert (line.stream, line.event.tags) == (stream, tuple(tags))


def test_event_id_is_a_hash_of_line_and_number() -> None:
    raw = msgspec.json.encode({"stream": "a", "type": "t", "time": TIME, "data": {}})
    ids = [parse_line(number, raw, None).event.id for number in (1, 1, 2)]

    assert ids[0] == ids[1] != ids[2]
    assert {(UUID(each).version, UUID(each).variant) for each in ids} == {(8, "specified in RFC 4122")}


@pytest.mark.parametrize("id", ["3f0f2c5e-8a4b-4c1d-9e2f-000000000001", "3F0F2C5E-8A4B-4C1D-9E2F-000000000001"])
def test_id_of_a_line_that_is_a_uuid_is_the_id_of_the_event_and_is_exported(id: str) -> None:
    raw = msgspec.json.encode({"id": id, "stream": "a", "type": "t", "time": "2024-01-01T00:00:00.000000Z", "data": {}})

    assert [parse_line(number, raw, None).event.id for number in (1, 2)] == [id.lower()] * 2
    assert round_trip(raw) == raw


@pytest.mark.parametrize("id", ["1", 7, None, "3f0f2c5e"])
def test_id_of_a_line_that_is_no_uuid_is_metadata(id: object) -> None:
    raw = msgspec.json.encode({"id": id, "stream": "a", "type": "t", "time": TIME, "data": {}})

    assert UUID(parse_line(1, raw, None).event.id).version == 8
    assert msgspec.json.decode(round_trip(raw))["id"] == id


GOOD = {"stream": "a-1", "type": "t", "time": TIME, "data": {}}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"nonsense", "invalid JSON"),
        (b"[1]", "expected a JSON object"),
        (b'{"stream": "\xff"}', "invalid UTF-8 at byte 12"),
        ({**GOOD, "type": 7}, '"type" is not a string'),
        ({**GOOD, "type": ""}, '"type" cannot be stored: '),
        ({key: GOOD[key] for key in ("stream", "time", "data")}, '"type" is missing'),
        ({key: GOOD[key] for key in ("stream", "type", "data")}, '"time" is missing'),
        ({key: GOOD[key] for key in ("stream", "type", "time")}, '"data" is missing'),
        ({key: GOOD[key] for key in ("type", "time", "data")}, '"stream" is missing'),
        ({**GOOD, "time": "2010-10-02T09:20:39"}, "has no time zone"),
        ({**GOOD, "time": "2010-10-02"}, "has no time zone"),
        ({**GOOD, "time": "yesterday"}, "not a valid ISO 8601 time"),
        ({**GOOD, "time": "0001-01-01T00:00:00+02:00"}, "not a valid ISO 8601 time"),
        ({**GOOD, "tags": "order:1"}, "not a list of strings"),
        ({**GOOD, "tags": [""]}, '"tags" cannot be stored'),
        ({**GOOD, "stream": "-7"}, "the category"),
        ({**GOOD, "data": {"n": [1 << 63]}}, "$.n[0]: the integer exceeds 64 bits"),
        ({**GOOD, "data": {"t": "a\0b"}}, "$.t: the string contains a NUL"),
        ({**GOOD, "note": "a\0b"}, "the string contains a NUL"),
        ({**GOOD, "data": "x" * (1 << 20)}, "exceeds the limit"),
    ],
)
def test_invalid_line_is_rejected_with_reason(raw: Any, reason: str) -> None:
    encoded = raw if isinstance(raw, bytes) else msgspec.json.encode(raw)

    with pytest.raises(InvalidLine) as caught:
        parse_line(1, encoded, None)

    assert reason in str(caught.value)
