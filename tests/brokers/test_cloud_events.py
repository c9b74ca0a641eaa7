"""The codec of CloudEvents: valid and invalid events, batches, both modes, data of all kinds.

The cases are those of the conformance tests of CloudEvents for its JSON format: 10 valid and 25 invalid events, 5 valid
and 3 invalid batches.
"""

import json
from typing import Any

import pytest

from fait import MalformedMessage
from fait._delivery.wire.binary import decode_binary, encode_binary
from fait._delivery.wire.cloud_event import CloudEvent, parse_time
from fait._delivery.wire.json_bounds import MAX_DEPTH
from fait._delivery.wire.structured import decode_batch, decode_structured, encode_batch, encode_structured

MINIMAL: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "https://example.org", "type": "org.example.test"}
ALL_CORE = MINIMAL | {
    "datacontenttype": "text/plain",
    "dataschema": "https://example.org/schema",
    "subject": "tests",
    "time": "2024-04-05T17:31:00Z",
}
ALL_EXTENSION_TYPES = MINIMAL | {
    "aninteger": 10,
    "aboolean": True,
    "atext": "text",
    "auri": "https://example.org",
    "areference": "//authority/path",
    "atimestamp": "2024-03-31T15:12:00Z",
    "abinary": "TWE=",
}
NULLS = dict.fromkeys(("datacontenttype", "dataschema", "subject", "time"))

VALID: dict[str, dict[str, Any]] = {
    "only required attributes": MINIMAL,
    "null for all optional ones": MINIMAL | NULLS,
    "all attributes of the specification": ALL_CORE,
    "time in UTC": MINIMAL | {"time": "2024-04-05T17:31:00Z"},
    "time to the nanosecond": MINIMAL | {"time": "2024-04-05T17:31:00.000000000Z"},
    "time with a positive offset": MINIMAL | {"time": "2024-04-05T18:31:00+01:00"},
    "time with a negative offset": MINIMAL | {"time": "2024-04-05T16:31:00-01:00"},
    "source that is a fragment": MINIMAL | {"source": "#fragment"},
    "text as data": MINIMAL | {"datacontenttype": "text/plain", "data": "Simple text"},
    "extensions of all types": ALL_EXTENSION_TYPES,
}
INVALID: dict[str, dict[str, Any]] = {
    **{f"no {name}": {key: value for key, value in MINIMAL.items() if key != name} for name in MINIMAL},
    "time that is a word": MINIMAL | {"time": "lunchtime"},
    "time without seconds": MINIMAL | {"time": "2024-04-05T18:31Z"},
    "time with a letter as offset": MINIMAL | {"time": "2024-04-05T18:31:00X"},
    "time with an offset above 24 hours": MINIMAL | {"time": "2024-04-05T18:31:00+25:00"},
    "time with letters in the offset": MINIMAL | {"time": "2024-04-05T18:31:00+xx:00"},
    "time with hours alone as offset": MINIMAL | {"time": "2024-04-05T18:31:00+05"},
    **{f"empty {name}": MINIMAL | {name: ""} for name in MINIMAL},
    "unknown version of the specification": MINIMAL | {"specversion": "0.9"},
    "content type without a slash": MINIMAL | {"datacontenttype": "xyz"},
    **{f"empty {name}": MINIMAL | {name: ""} for name in ("datacontenttype", "dataschema", "subject")},
    "number as id": MINIMAL | {"id": 25},
    "object as id": MINIMAL | {"id": {"a": "b"}},
    "extension with capital letters": MINIMAL | {"MyExtension": "bad"},
    "extension with a dot": MINIMAL | {"my.extension": "bad"},
    "extension with a fraction": MINIMAL | {"myextension": 1.5},
    "data and data_base64": MINIMAL | {"data": "text", "data_base64": "eyAieHl6IjogMTIzIH0="},
}
MORE_INVALID: dict[str, dict[str, Any]] = {
    "empty name": MINIMAL | {"": "x"},
    "integer beyond 32 bits": MINIMAL | {"n": 2**31},
    "list as extension": MINIMAL | {"n": [1]},
    "data_base64 that is none": MINIMAL | {"data_base64": "TWE"},
    "data_base64 that is no text": MINIMAL | {"data_base64": 1},
    "object as data of a text": MINIMAL | {"datacontenttype": "text/plain", "data": {}},
    "day that does not exist": MINIMAL | {"time": "2024-02-30T00:00:00Z"},
    "time without offset": MINIMAL | {"time": "2024-04-05T18:31:00"},
    "time with a space": MINIMAL | {"time": "2024-04-05 18:31:00Z"},
    "digits of another script": MINIMAL | {"time": "٢٠٢٤-04-05T18:31:00Z"},
}
BATCHES = [[], [MINIMAL], [MINIMAL, MINIMAL], [MINIMAL, ALL_CORE], [MINIMAL, ALL_EXTENSION_TYPES]]
INVALID_BATCHES: dict[str, list[Any]] = {
    "two versions of the specification": [MINIMAL, MINIMAL | {"specversion": "0.9"}],
    "an event without id": [{key: value for key, value in MINIMAL.items() if key != "id"}],
    "a text": ["not an object", MINIMAL],
}


def test_cases_are_as_many_as_those_of_the_conformance_tests() -> None:
    assert (len(VALID), len(INVALID), len(BATCHES), len(INVALID_BATCHES)) == (10, 25, 5, 3)


@pytest.mark.parametrize("name", VALID)
def test_valid_event_is_written_as_it_was_read(name: str) -> None:
    event = VALID[name]

    written = json.loads(encode_structured(decode_structured(json.dumps(event).encode())))

    assert written == {key: value for key, value in event.items() if value is not None}


@pytest.mark.parametrize("event", [*INVALID.values(), *MORE_INVALID.values()], ids=[*INVALID, *MORE_INVALID])
def test_invalid_event_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        decode_structured(json.dumps(event).encode())


@pytest.mark.parametrize("batch", BATCHES)
def test_valid_batch_is_written_as_it_was_read(batch: list[Any]) -> None:
    assert json.loads(encode_batch(decode_batch(json.dumps(batch).encode()))) == batch


@pytest.mark.parametrize("name", INVALID_BATCHES)
def test_invalid_batch_is_refused(name: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_batch(json.dumps(INVALID_BATCHES[name]).encode())


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'"a"', b"\xff", b'{"id":"\\ud800"}', b'{"n":NaN}'])
def test_text_that_is_no_event_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_structured(text)


NOT_IN_HEADERS = {
    "number as id",
    "object as id",
    "extension with a fraction",
    "data and data_base64",
    "empty datacontenttype",
}
"""Invalid events that headers cannot express."""


@pytest.mark.parametrize("name", sorted(INVALID.keys() - NOT_IN_HEADERS))
def test_invalid_event_in_headers_is_refused(name: str) -> None:
    event = INVALID[name]
    headers = {f"ce-{key}": value for key, value in event.items() if key != "datacontenttype"}
    headers |= {"content-type": event["datacontenttype"]} if "datacontenttype" in event else {}

    with pytest.raises(MalformedMessage):
        decode_binary(headers, b"", "ce-")


@pytest.mark.parametrize("prefix", ["ce-", "ce_"])
@pytest.mark.parametrize("name", VALID)
def test_event_in_headers_is_the_event_with_all_attributes_as_text(name: str, prefix: str) -> None:
    event = decode_structured(json.dumps(VALID[name]).encode())

    headers, body = encode_binary(event, prefix)

    assert all(key.startswith(prefix) or key == "content-type" for key in headers)
    assert decode_binary(headers | {"unrelated": "\ufffd"}, body, prefix) == CloudEvent(
        {key: event.text(key) for key in event.attributes}, event.data if event.is_json else body
    )


def test_boolean_is_written_as_json_writes_it() -> None:
    event = CloudEvent({**MINIMAL, "yes": True, "no": False, "n": -1}, None)

    headers, _ = encode_binary(event, "ce-")

    assert (headers["ce-yes"], headers["ce-no"], headers["ce-n"]) == ("true", "false", "-1")


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        (None, None),
        (None, b"null"),
        (None, b'{"n": 1.50, "big": 123456789012345678901234567890}'),
        ("application/json", b"[]"),
        ("application/json", b'"text"'),
        ("application/vnd.example+json; charset=utf-8", b"12"),
        ("text/plain", b""),
        ("text/plain; charset=utf-8", "ä".encode()),
        ("application/octet-stream", b"\xff\x00"),
        ("application/xml", b"<a/>"),
    ],
)
def test_data_is_the_same_bytes_in_both_modes(content_type: str | None, data: bytes | None) -> None:
    event = CloudEvent(MINIMAL | ({"datacontenttype": content_type} if content_type else {}), data)

    assert decode_structured(encode_structured(event)) == event
    headers, body = encode_binary(event, "ce-")
    assert body == (data or b"")
    assert decode_binary(headers, body, "ce-").data == data


def test_data_of_an_event_without_content_type_is_json_in_headers() -> None:
    headers, _ = encode_binary(CloudEvent(MINIMAL, b"1"), "ce-")

    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("body", [b'{"a":', b"{'a': 1}", b"NaN", b"\xff", b"[" * 500, b"1 2"])
def test_body_that_is_not_the_json_of_its_content_type_is_refused(body: bytes) -> None:
    headers, _ = encode_binary(CloudEvent(MINIMAL, b"1"), "ce-")

    with pytest.raises(MalformedMessage):
        decode_binary(headers, body, "ce-")


def test_json_is_refused_beyond_the_maximum_depth() -> None:
    def nested(depth: int) -> bytes:
        inner = b'"[[[[\\"' * (depth > 0) + b'"' * (depth > 0)
        return json.dumps(MINIMAL).encode()[:-1] + b',"data":' + b"[" * depth + inner + b"]" * depth + b"}"

    assert decode_structured(nested(MAX_DEPTH - 1)).data
    with pytest.raises(MalformedMessage, match="nested"):
        decode_structured(nested(MAX_DEPTH))


def test_reason_does_not_contain_the_content() -> None:
    for event in (MINIMAL | {"time": "secret"}, MINIMAL | {"SECRET": "secret"}, MINIMAL | {"id": ["secret"]}):
        with pytest.raises(MalformedMessage) as caught:
            decode_structured(json.dumps(event).encode())
        assert "secret" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-04-05T17:31:00.123456789+02:00", "2024-04-05T17:31:00.123456+02:00"),
        ("2024-04-05t17:31:00z", "2024-04-05T17:31:00+00:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00"),
    ],
)
def test_time_is_parsed_to_microseconds(text: str, expected: str) -> None:
    time = parse_time(text)

    assert time is not None
    assert time.isoformat() == expected


def test_sdk_reads_what_is_written() -> None:
    try:
        from cloudevents.core.bindings import kafka
        from cloudevents.core.formats.json import JSONFormat
    except ImportError:
        pytest.skip("the cloudevents SDK, an oracle, is not installed")
    event = CloudEvent(ALL_CORE | {"datacontenttype": "application/json", "aboolean": True}, b'{"n":1}')
    sdk = JSONFormat()

    headers, body = encode_binary(event, "ce_")
    raw = {name: value.encode() for name, value in headers.items()}
    for read in (
        sdk.read(None, encode_structured(event)),
        kafka.from_kafka(kafka.KafkaMessage(raw, None, body), sdk),
    ):
        assert (read.get_id(), read.get_type(), read.get_source()) == ("1", "org.example.test", "https://example.org")
        assert (read.get_subject(), read.get_data()) == ("tests", {"n": 1})
        assert read.get_time() == parse_time("2024-04-05T17:31:00Z")
        assert str(read.get_extension("aboolean")).lower() == "true"
