"""The names of streams and subjects, and the headers of a message.

Header values are percent-encoded, as the CloudEvents binding for NATS defines it. The key of a message is the header
`Fait-Key`, which no other header can be, because their names are in lower case.
"""

from collections.abc import Mapping
from typing import Final

from fait._delivery.brokers.port import ConsumedMessage, Lane, Message, Source
from fait._delivery.text_codes import decode_header, encode_header, encode_token

__all__ = ["Subjects", "encode_headers", "lane_filters", "message_of", "stream_name", "wire_size"]

KEY: Final = "Fait-Key"


def stream_name(topic: str) -> str:
    """Return the name of a topic's stream."""
    return encode_token(topic)


def lane_filters(lane: Lane) -> list[str]:
    """Return the subjects of a lane's messages: those of all publishers, and one for other programs."""
    subject = f"{encode_token(lane.topic)}.lane.{lane.number}"
    return [subject, f"{subject}.>"]


class Subjects:
    """The subjects of a publisher.

    Args:
        topic: name of the topic.
        source: the source.
        buckets: first bucket and end, as `0-256`; `*` for all publishers of the source.
    """

    def __init__(self, topic: str, source: Source, buckets: str) -> None:
        self._topic = encode_token(topic)
        self._publisher = f"{encode_token(source.log_id)}.{encode_token(source.relay)}.{buckets}"

    @property
    def fence(self) -> str:
        """The subject of its fence, whose sequence the server compares."""
        return f"{self._topic}.fence.{self._publisher}"

    @property
    def record(self) -> str:
        """The subject of its record."""
        return f"{self._topic}.record.{self._publisher}"

    @property
    def messages(self) -> str:
        """The subjects of its messages in all lanes."""
        return f"{self._topic}.lane.*.{self._publisher}"

    def lane(self, number: int) -> str:
        """Return the subject of its messages in a lane."""
        return f"{self._topic}.lane.{number}.{self._publisher}"


def encode_headers(message: Message) -> dict[str, str]:
    """Return the headers of a message on the wire."""
    return {KEY: encode_header(message.key), **{name: encode_header(value) for name, value in message.headers.items()}}


def wire_size(headers: Mapping[str, str], body: bytes) -> int:
    """Return the number of bytes of headers and body, as the server counts them."""
    return len("NATS/1.0\r\n\r\n") + sum(len(name) + len(value) + 4 for name, value in headers.items()) + len(body)


def message_of(sequence: str, headers: Mapping[str, str], body: bytes) -> ConsumedMessage:
    """Return a message of a stream. Any program may have published it."""
    is_ours = KEY in headers
    named = {
        name.lower(): decode_header(value) if is_ours or name.lower().startswith("ce-") else value
        for name, value in headers.items()
        if not name.startswith(("Fait-", "Nats-"))
    }
    return ConsumedMessage(
        offset=sequence, key=decode_header(headers[KEY]) if is_ours else None, headers=named, body=body
    )
