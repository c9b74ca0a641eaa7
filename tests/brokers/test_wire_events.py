"""From a recorded event to a message, and from a message of any program to what a consumer handles."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fait import MalformedMessage
from fait._delivery.wire.outgoing import bucket_of, message_of
from fait._delivery.wire.provenance import Provenance, parse_source, sequence_of, source_text
from fait._delivery.wire.received import Bounds, ReceivedMessage, received_message
from fait._delivery.wire.structured import decode_batch
from fait._events.envelope import RecordedEvent
from fait.broker import ConsumedMessage, Message, Source

SOURCE = Source("log-1", "epoch-1", "orders")
PREFIXES = ["ce-", "ce_", ""]

EVENT = RecordedEvent(
    position=7,
    stream="order-1",
    version=2,
    type="shop.order-placed",
    schema_version=3,
    id="0193a0e1-7f00-7000-8000-000000000000",
    data='{"total": 1.50}',
    metadata='{"correlation_id":"c","causation_id":"b","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","actor":"ada"}',
    tags=("customer:1",),
    recorded_at=datetime(2024, 1, 1, tzinfo=UTC),
    occurred_at=datetime(2024, 1, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))),
)


def consumed(message: Message) -> ConsumedMessage:
    return ConsumedMessage(offset="1", key=message.key, headers=message.headers, body=message.body)


def sent(event: RecordedEvent = EVENT, prefix: str = "ce-", key: str = "order-1") -> Message:
    return message_of(event, SOURCE, key, 5, prefix)


def foreign(headers: dict[str, str], body: bytes = b"", **bounds: int) -> ReceivedMessage:
    message = ConsumedMessage(offset="1", key="k", headers=headers, body=body)
    return received_message(message, Bounds(**bounds))


def test_recorded_event_is_a_message_with_headers() -> None:
    message = sent()

    assert message.headers == {
        "ce-specversion": "1.0",
        "ce-id": EVENT.id,
        "ce-source": "fait:log-1/epoch-1/orders",
        "ce-type": "shop.order-placed",
        "ce-subject": "order-1",
        "ce-time": "2024-01-01T01:03:04.000005Z",
        "content-type": "application/json",
        "ce-sequence": "00000000000000000007",
        "ce-partitionkey": "order-1",
        "ce-faitfloor": "00000000000000000005",
        "ce-faitversion": "3",
        "ce-traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ce-correlationid": "c",
        "ce-causationid": "b",
    }
    assert (message.key, message.bucket, message.position, message.id) == ("order-1", bucket_of("order-1"), 7, EVENT.id)
    assert message.body == b'{"total": 1.50}'


def test_recorded_event_without_metadata_has_no_trace() -> None:
    names = {name.removeprefix("ce-") for name in sent(replace(EVENT, metadata="{}")).headers}

    assert names.isdisjoint({"traceparent", "correlationid", "causationid"})


def test_actor_and_own_metadata_do_not_leave_the_log() -> None:
    event = replace(EVENT, metadata='{"actor":"ada","key":"k","extra":{"password":"x"}}', tags=("secret:1",))

    for prefix in PREFIXES:
        message = sent(event, prefix)
        text = json.dumps(message.headers) + message.body.decode()
        assert not [word for word in ("ada", "password", "secret") if word in text]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_message_of_fait_is_received_with_its_provenance(prefix: str) -> None:
    received = received_message(consumed(sent(prefix=prefix)))

    assert received.provenance == Provenance(SOURCE, 7, 5, "order-1", 3)
    assert received.key == "order-1"
    assert received.data == b'{"total": 1.50}'
    assert received.event is not None
    assert received.event.text("type") == "shop.order-placed"


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(keys, keys, keys, documents, st.integers(1, 2**63 - 1), st.sampled_from(PREFIXES))
def test_any_event_is_received_as_it_was_recorded(
    key: str, stream: str, relay: str, document: Any, position: int, prefix: str
) -> None:
    data = json.dumps(document)
    event = replace(EVENT, stream=stream, data=data, position=position)
    source = Source("log-1", "epoch-1", relay)

    received = received_message(consumed(message_of(event, source, key, position - 1, prefix)))

    assert received.provenance == Provenance(source, position, position - 1, key, 3)
    assert received.data == data.encode()
    assert received.event is not None
    assert received.event.text("subject") == stream


@given(st.lists(st.integers(0, 2**63 - 1), max_size=20))
def test_sequences_sort_like_positions(positions: list[int]) -> None:
    assert sorted(map(sequence_of, positions)) == [sequence_of(each) for each in sorted(positions)]


@given(st.lists(st.tuples(keys, keys, keys), unique=True, max_size=5))
def test_different_sources_have_different_texts(parts: list[tuple[str, str, str]]) -> None:
    sources = [Source(*each) for each in parts]

    assert [parse_source(source_text(each)) for each in sources] == sources


def test_buckets_are_known() -> None:
    assert [bucket_of(key) for key in ("", "order-1", "ä")] == [227, 11, 51]


@pytest.mark.parametrize(
    "change",
    [
        {"ce-sequence": "7"},
        {"ce-sequence": "-0000000000000000007"},
        {"ce-sequence": "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٧"},
        {"ce-faitfloor": ""},
        {"ce-faitversion": "0"},
        {"ce-faitversion": "x"},
        {"ce-sequence": None},
        {"ce-partitionkey": None},
        {"ce-faitversion": None},
        {"ce-id": None},
        {"ce-specversion": None},
    ],
)
def test_message_of_fait_with_a_wrong_attribute_is_refused(change: dict[str, str | None]) -> None:
    headers = {name: value for name, value in (dict(sent().headers) | change).items() if value is not None}

    with pytest.raises(MalformedMessage):
        foreign(headers, b"{}")


MINIMAL = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/warehouse", "ce_type": "packed"}


def test_event_of_another_program_has_no_provenance() -> None:
    received = foreign({**MINIMAL, "content-type": "application/json", "x": "\ufffd"}, b'{"n":1}')

    assert received.provenance is None
    assert received.key == "k"
    assert received.event is not None
    assert received.event.text("source") == "/warehouse"
    assert received.data == b'{"n":1}'
    assert received.headers["x"] == "\ufffd"


def test_partition_key_of_another_program_is_the_key() -> None:
    assert foreign({**MINIMAL, "ce_partitionkey": "p"}).key == "p"


def test_structured_content_type_wins_over_headers() -> None:
    body = b'{"specversion":"1.0","id":"2","source":"/s","type":"structured"}'

    received = foreign({**MINIMAL, "content-type": "Application/CloudEvents+JSON; charset=UTF-8"}, body)

    assert received.event is not None
    assert received.event.text("type") == "structured"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b'{"order": 1}'),
        ({"content-type": "application/json"}, b'{"order": 1}'),
        ({}, b'{"text": "\\"specversion\\""}'),
        ({}, b"\xff\x00"),
        ({}, b""),
        ({"content-type": "text/plain"}, b"specversion"),
    ],
)
def test_message_that_is_no_event_is_received_as_data(headers: dict[str, str], body: bytes) -> None:
    received = foreign(headers, body)

    assert (received.event, received.provenance, received.key, received.data) == (None, None, "k", body)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, b'{"order":'),
        ({"content-type": "application/json"}, b"[" * 500 + b"]" * 500),
        ({"content-type": "application/cloudevents+json"}, b"{}"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]"),
        ({"content-type": "application/cloudevents+protobuf"}, b""),
        ({}, b'{"specversion":"1.0"}'),
        ({"ce-id": "1"}, b""),
        ({"ce-x.y": "1"}, b""),
    ],
)
def test_message_that_is_not_what_it_says_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        foreign(headers, body)


def structured(data: bytes = b"{}", **attributes: str) -> bytes:
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **attributes}
    return json.dumps(event, ensure_ascii=False).encode()[:-1] + b',"data":' + data + b"}"


DEEP = b"[" * 101 + b"]" * 101
STRUCTURED = {"content-type": "application/cloudevents+json"}
BINARY = {**MINIMAL, "content-type": "application/json"}
MANY = {f"a{number}": "" for number in range(101)}

BEYOND: dict[str, tuple[dict[str, str], bytes]] = {
    "body": ({}, b"x" * 1_001),
    "body, binary": (BINARY, b'"' + b"x" * 1_000 + b'"'),
    "body, structured": (STRUCTURED, structured(b'"' + b"x" * 1_000 + b'"')),
    "headers": (MANY, b""),
    "headers, binary": (BINARY | {f"ce_{name}": "" for name in MANY}, b""),
    "headers, structured": (STRUCTURED | MANY, structured()),
    "length of headers": ({"a": "ä" * 251}, b""),
    "length of headers, binary": (BINARY | {"ce_a": "ä" * 251}, b""),
    "length of headers, structured": (STRUCTURED | {"a": "ä" * 251}, structured()),
    "length of attributes, structured": (STRUCTURED, structured(a="ä" * 251)),
    "length of attributes, structured without headers": ({}, structured(a="ä" * 251)),
}


@pytest.mark.parametrize("name", BEYOND)
def test_message_of_each_form_beyond_a_bound_is_refused(name: str) -> None:
    headers, body = BEYOND[name]

    with pytest.raises(MalformedMessage, match="more than"):
        foreign(headers, body, maximum_body_bytes=1_000, maximum_headers=100, maximum_header_bytes=500)


@pytest.mark.parametrize("headers", [STRUCTURED, {}])
def test_structured_event_with_too_many_attributes_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(MalformedMessage, match="105 attributes, more than 100"):
        foreign(headers, structured(**MANY))


@pytest.mark.parametrize(
    ("headers", "body"),
    [(BINARY, DEEP), (STRUCTURED, structured(DEEP)), ({}, structured(DEEP)), ({"content-type": "text/json"}, DEEP)],
)
def test_message_of_each_form_that_is_nested_too_deeply_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(MalformedMessage, match="nested"):
        foreign(headers, body)


def test_batch_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="nested"):
        decode_batch(b"[" + structured(DEEP) + b"]")


def test_message_beyond_a_bound_is_refused() -> None:
    for headers, body in (({}, b"12345"), ({"a": "1", "b": "2", "c": "3"}, b""), ({"a": "ä" * 10}, b"")):
        with pytest.raises(MalformedMessage, match="more than"):
            foreign(headers, body, maximum_body_bytes=4, maximum_headers=2, maximum_header_bytes=20)
        foreign(headers, body)
