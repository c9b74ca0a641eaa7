"""Which URLs name the same broker, and offsets that another broker has written."""

import re

import pytest

import fait
from fait._delivery.brokers.destination import destination_of
from fait._delivery.brokers.kafka import consumer as kafka
from fait._delivery.brokers.memory import broker as memory
from fait._delivery.brokers.nats import broker as nats
from fait._delivery.brokers.place import place_of
from fait._delivery.brokers.rabbitmq import consumer as rabbitmq
from fait._delivery.brokers.redis import broker as redis

PLACES = [
    ("redis://h", "redis://other"),
    ("redis://h:6379/0", "redis://h/1"),
    ("redis://h", "redis://h:6380"),
    ("nats://h", "redis://h"),
    ("amqp://h", "amqp://h/shop"),
    ("amqp://h", "amqp://h?queues=stream"),
    ("amqp://h", "amqp://h?order=none"),
    ("kafka://a,b", "kafka://a,c"),
    ("memory:a", "memory:b"),
    ("mqtt://h", "mqtt://h?namespace=b"),
]


def place(url: str) -> str:
    return place_of(destination_of("${URL}", {"URL": url}))


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("nats://shop:old@broker", "nats://shop:new@broker:4222?ca=/ca.pem&tls=verified"),
        ("nats://token@broker", "nats://rotated@BROKER"),
        ("redis://broker", "rediss://shop:secret@broker:6379/0?tls=unverified"),
        ("kafka://a,b:9093,c", "kafka+ssl://u:p@c:9092,a,b:9093?sasl=scram-sha-512&transactions=fast"),
        ("amqp://broker", "amqps://u:p@broker:5671/%2F?queues=quorum&order=lane"),
        ("amqp://[::1]/shop", "amqp://[::1]:5672/shop"),
        ("redis://", "redis://localhost"),
        ("mqtt://broker?api_key=old", "mqtt://broker?api_key=new"),
    ],
)
def test_url_with_other_credentials_ports_or_order_names_the_same_broker(url: str, other: str) -> None:
    assert place(url) == place(other)


@pytest.mark.parametrize(("url", "other"), PLACES)
def test_url_of_another_broker_names_another_place(url: str, other: str) -> None:
    assert place(url) != place(other)


OFFSETS = {
    "redis": ("1700000000000-0", redis._ENTRY_ID),
    "nats": ("12@1700000000000000000", nats._SEQUENCE_AND_TIME),
    "kafka": ("12@nZPUmYJMQmqVhKhKLbz+zA", kafka._NUMBER_AND_TOPIC),
    "stream": ("12@0123456789012345", rabbitmq._NUMBER_AND_FINGERPRINT),
    "memory": ("12", memory._NUMBER),
    "queue": ("0123456789abcdef0123456789abcdef-5", re.compile("[0-9a-f]{32}-[0-9]+")),
}


@pytest.mark.parametrize("written", OFFSETS)
@pytest.mark.parametrize("read", OFFSETS)
def test_offset_of_one_kind_of_broker_is_none_of_another_kind(written: str, read: str) -> None:
    has_form = OFFSETS[read][1].fullmatch(OFFSETS[written][0]) is not None

    # A Kafka before version 2.8 has no topic ids.
    assert has_form is (written == read or (written, read) == ("memory", "kafka"))


def test_offset_of_another_broker_is_named_as_such() -> None:
    error = fait.OffsetLost("redis://h", "reserve", "orders", 3, "7@1", is_foreign=True)

    assert str(error) == (
        "lane 3 of topic 'orders' at broker redis://h has no message at the offset 7@1, up to which consumer 'reserve' "
        "has read: it is the offset of another broker. The consumer waits, as messages with lower offsets may be new. "
        "Let it read the topic from the beginning: fait rewind reserve --app MODULE:APP --store URL. It recognizes "
        "what it has handled."
    )
