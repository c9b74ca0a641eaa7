"""Publishes to a stream: an atomic batch per call, which the server stores as a whole or not at all.

Each publisher has a fence in the stream, a message whose sequence the server compares when it stores messages. A
publisher that opens writes its fence, and those of all publishers with some of its buckets, again. Then no former
publisher can store anything, and it reads their positions.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import msgspec
from msgspec import Struct

from fait._broker_errors import BrokerUnavailable, Fenced
from fait._delivery.brokers.nats.connection import ApiError, NatsConnection, Outcome, answer_of
from fait._delivery.brokers.nats.records import PublisherRecords, Record, position_header, position_of
from fait._delivery.brokers.nats.subjects import encode_headers, wire_size
from fait._delivery.brokers.outcomes import check_call, outcomes_with_refused
from fait._delivery.brokers.port import (
    Accepted,
    BrokerFeatures,
    Message,
    Progress,
    PublishOutcome,
    Refused,
    Source,
    lane_of,
)
from fait._delivery.brokers.stored_positions import StoredPositions
from fait._errors import FaitError

__all__ = ["HEADROOM_BYTES", "MAXIMUM_BATCH", "NatsPublisher", "NatsTopic"]

MAXIMUM_BATCH: Final = 1_000
"""Maximum number of messages in an atomic batch, a limit of the server."""

WRONG_SEQUENCE: Final = {10071, 10164}
"""Error codes of the server: the last message of a subject has another sequence than expected."""

HEADROOM_BYTES: Final = 4_096
"""Difference between the server's limit and `maximum_message_bytes`: for names and encoding of headers."""

ADDED_BYTES: Final = 512
"""Maximum size of the headers that a publisher adds to a message."""

SENT_AT_ONCE: Final = 100
"""Maximum number of messages that are written to the buffer before other tasks and the socket have their turn."""

_TAKEN: Final = "another publisher took over its buckets"

_ROLLUP: Final = {"Nats-Rollup": "sub"}
"""Header of a message that replaces all earlier ones of its subject."""

_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"


class NatsTopic(Struct, frozen=True):
    """A topic.

    Attributes:
        name: its name.
        lanes: its number of lanes.
        maximum_wire_bytes: maximum number of bytes of a message with its headers.
    """

    name: str
    lanes: int
    maximum_wire_bytes: int


class Entry(Struct, frozen=True):
    """A message as it is sent.

    Attributes:
        subject: its subject.
        headers: its headers, encoded.
        body: its content.
    """

    subject: str
    headers: Mapping[str, str]
    body: bytes


class NatsPublisher:
    """A publisher. It shares the connection of its broker.

    Args:
        name: URL of the broker, for messages.
        topic: the topic.
        source: the source.
        connection: the connection.
        features: features of the broker.
        buckets: the buckets.
    """

    def __init__(
        self,
        name: str,
        topic: NatsTopic,
        source: Source,
        connection: NatsConnection,
        features: BrokerFeatures,
        buckets: range,
    ) -> None:
        self._name = name
        self._topic = topic
        self._source = source
        self._connection = connection
        self._features = features
        self._buckets = buckets
        self._records = PublisherRecords(connection, topic.name, source, buckets)
        self._range = f"{buckets.start}-{buckets.stop}"
        self._subjects = self._records.subjects(self._range)
        self._fence = 0
        self._record = Record(0, 0, ())
        self._stored = StoredPositions(source.epoch_id, buckets, {})
        self._failure: FaitError | None = None

    async def take_over(self, fencing_token: int) -> None:
        """Fence all former publishers of the buckets."""
        try:
            others = await self._records.ranges() - {self._range}
            records = await self._records.read([self._range, *others])
            if any(each.record.token > fencing_token for each in records):
                raise self._fenced("another publisher has a greater fencing token")
            await self._write_fences(others)
            # Two publishers whose buckets overlap, and which did not see each other, would not fence each other.
            if await self._records.ranges() != {self._range, *others}:
                raise self._connection.unavailable(reason="another publisher was opened at the same time")
            await self._write_record(fencing_token, others)
        except ApiError as error:
            raise self._error(error) from None

    async def _write_fences(self, others: Iterable[str]) -> None:
        # fault: former-publishers-not-fenced
        fences = [self._records.subjects(each).fence for each in others]
        entries = [Entry(each, _ROLLUP, b"") for each in (*fences, self._subjects.fence)]
        self._fence = (await self._send(entries, "not_sent"))["seq"]

    async def _write_record(self, fencing_token: int, others: Iterable[str]) -> None:
        records = await self._records.read([self._range, *others])
        positions = {bucket: stored for bucket in self._buckets if (stored := position_of(bucket, records))}
        self._stored = StoredPositions(self._source.epoch_id, self._buckets, positions)
        self._record = Record(fencing_token, records[-1].record.generation + 1 if records else 1, ())
        await self._send(self._compared([self._record_entry(self._stored)]), "not_sent")

    async def progress(self) -> Mapping[int, Progress]:
        """Return the positions that are stored for the buckets."""
        self._require()
        try:
            fence = await self._records.fence(self._range)
        except ApiError as error:
            raise self._error(error) from None
        if fence != self._fence:
            raise self._fenced(_TAKEN)
        return self._stored.by_bucket

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        """Store all messages with the position, or none."""
        refused = check_call(batch, self._features, self._buckets)
        self._require()
        entries = [self._entry(each) for each in batch]
        if refused := refused or self._oversize(entries):
            return outcomes_with_refused(batch, refused)
        if (lowest := self._stored.lowest) and lowest.position != after:
            raise self._fenced(f"the broker stores position {lowest.position}, not {after}")
        unpublished = self._stored.unpublished(batch, after, upto)
        stored = self._stored.advanced(after, upto, batch[-1].id)
        await self._append([entries[at] for at in unpublished], stored)
        self._stored = stored
        return [Accepted()] * len(batch)  # the offset has the time of the message, which the server does not tell

    async def _append(self, entries: list[Entry], stored: StoredPositions) -> None:
        """Store messages and positions."""
        if entries and (lowest := stored.lowest):
            last = entries[-1]
            headers = {**last.headers, **position_header(lowest)}
            entries[-1] = Entry(last.subject, headers, last.body)
        else:
            entries = [self._record_entry(stored)]
        try:
            await self._send(self._compared(entries), "unknown")
        except BrokerUnavailable as error:
            self._failure = error
            raise
        except ApiError as error:
            raise self._error(error) from None

    def _compared(self, entries: list[Entry]) -> list[Entry]:
        """Let the server compare the sequence of the fence before it stores the messages."""
        first, *others = entries
        # fault: fence-not-compared
        expected = {_EXPECTED: str(self._fence), f"{_EXPECTED}-Subject": self._subjects.fence}
        return [Entry(first.subject, {**first.headers, **expected}, first.body), *others]

    async def _send(self, entries: Sequence[Entry], outcome: Outcome) -> dict[str, Any]:
        """Send a message, or several as an atomic batch, which costs the server some milliseconds."""
        *others, last = entries if len(entries) == 1 else batch_of(entries)
        for number, each in enumerate(others, 1):
            await self._connection.send(each.subject, each.body, each.headers)
            if number % SENT_AT_ONCE == 0:
                await asyncio.sleep(0)
        return answer_of(await self._connection.request(last.subject, last.body, last.headers, outcome))

    def _entry(self, message: Message) -> Entry:
        subject = self._subjects.lane(lane_of(message.bucket, self._topic.lanes))
        return Entry(subject, encode_headers(message), message.body)

    def _oversize(self, entries: Sequence[Entry]) -> dict[int, Refused]:
        sizes = {at: wire_size(each.headers, each.body) + ADDED_BYTES for at, each in enumerate(entries)}
        limit = self._topic.maximum_wire_bytes
        reason = "with its encoded headers, the message has {:,} bytes, and the stream accepts {:,}"
        return {at: Refused(reason.format(size, limit), "too-large") for at, size in sizes.items() if size > limit}

    def _record_entry(self, stored: StoredPositions) -> Entry:
        return Entry(self._subjects.record, _ROLLUP, msgspec.json.encode(self._record.moved(stored)))

    def _require(self) -> None:
        if self._failure:
            raise self._failure
        self._connection.require()

    def _error(self, error: ApiError) -> FaitError:
        if error.code in WRONG_SEQUENCE:
            return self._fenced(_TAKEN)
        self._failure = self._connection.unavailable(reason=f"JetStream refused the request: {error.text}")
        return self._failure

    def _fenced(self, reason: str) -> FaitError:
        self._failure = Fenced(self._name, self._source.relay, reason)
        return self._failure

    async def close(self) -> None:
        """Publish nothing more."""
        self._failure = self._failure or self._connection.unavailable(reason="the publisher is closed")


def batch_of(entries: Sequence[Entry]) -> list[Entry]:
    """Return the messages with the headers of an atomic batch."""
    batch = uuid4().hex
    *others, last = [
        Entry(each.subject, {**each.headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}, each.body)
        for number, each in enumerate(entries, 1)
    ]
    return [*others, Entry(last.subject, {**last.headers, "Nats-Batch-Commit": "1"}, last.body)]
