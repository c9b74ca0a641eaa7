"""What a stream stores of its publishers: who publishes which buckets of a source, and up to which position.

A publisher writes a record when it opens. The header of its last message has its position since then. After ranges of
buckets were split or merged, a bucket can be in several records; the newest counts. The fence of a publisher is another
message, which each successor writes again.
"""

import asyncio
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from fait._delivery.brokers.nats.connection import ApiError, NatsConnection
from fait._delivery.brokers.nats.subjects import Subjects, stream_name
from fait._delivery.brokers.port import Progress, Source
from fait._delivery.brokers.stored_positions import PositionRun, StoredPositions
from fait._delivery.text_codes import decode_token, encode_token

__all__ = ["NO_MESSAGE", "PublisherRecords", "Record", "StoredRecord", "position_header", "position_of"]

NO_MESSAGE: Final = 10037
"""Error code of the server: a subject has no message."""

UPTO: Final = "Fait-Upto"
"""Header of the last message of a call: position, epoch and event id."""


class Record(Struct, frozen=True):
    """The record of a publisher.

    Attributes:
        token: its fencing token.
        generation: greater than those of all former publishers with some of its buckets.
        positions: runs of buckets with the same position.
    """

    token: int
    generation: int
    positions: tuple[PositionRun, ...]

    def of(self, bucket: int) -> Progress | None:
        """Return the position of one of its buckets."""
        return next(each for each in self.positions if each.start <= bucket < each.stop).progress

    def moved(self, stored: StoredPositions) -> "Record":
        """Return the record with other positions."""
        return Record(self.token, self.generation, tuple(stored.runs))


class StoredRecord(Struct, frozen=True):
    """A record at the broker.

    Attributes:
        buckets: the buckets of its publisher.
        record: the record.
        last: position of the last message of the publisher; None if the record is later.
    """

    buckets: range
    record: Record
    last: Progress | None

    def of(self, bucket: int) -> Progress | None:
        """Return the position of one of its buckets."""
        stored = self.record.of(bucket)
        # fault: last-message-ignored
        if self.last is None:
            return stored
        before = StoredPositions(self.last.epoch_id, range(bucket, bucket + 1), {bucket: stored} if stored else {})
        return before.advanced(-1, self.last.position, self.last.event_id).lowest


def position_of(bucket: int, records: Sequence[StoredRecord]) -> Progress | None:
    """Return the position of a bucket.

    Args:
        bucket: the bucket.
        records: records in order of their generations.
    """
    newest = next((each for each in reversed(records) if bucket in each.buckets), None)
    return newest.of(bucket) if newest else None


def position_header(progress: Progress) -> Mapping[str, str]:
    """Return the header of the last message of a call."""
    return {UPTO: f"{progress.position} {encode_token(progress.epoch_id)} {encode_token(progress.event_id)}"}


class PublisherRecords:
    """Reads what a stream stores of the publishers of a source that have some buckets.

    Args:
        connection: the connection.
        topic: name of the topic.
        source: the source.
        buckets: the buckets.
    """

    def __init__(self, connection: NatsConnection, topic: str, source: Source, buckets: range) -> None:
        self._connection = connection
        self._topic = topic
        self._source = source
        self._buckets = buckets

    def subjects(self, buckets: str) -> Subjects:
        """Return the subjects of a publisher."""
        return Subjects(self._topic, self._source, buckets)

    async def ranges(self) -> set[str]:
        """Return the buckets of each publisher, as they are part of its subjects."""
        stream = stream_name(self._topic)
        filtered = {"subjects_filter": self.subjects("*").fence}
        info = await self._connection.api(f"STREAM.INFO.{stream}", filtered)
        ranges = {each.rpartition(".")[2] for each in info["state"].get("subjects") or ()}
        return {each for each in ranges if set(buckets_of(each)) & set(self._buckets)}

    async def read(self, ranges: Iterable[str]) -> list[StoredRecord]:
        """Return the records of publishers, in order of their generations."""
        records = await asyncio.gather(*map(self._read, ranges))
        return sorted((each for each in records if each), key=lambda each: each.record.generation)

    async def _read(self, buckets: str) -> StoredRecord | None:
        subjects = self.subjects(buckets)
        stored, last = await self._last(subjects.record), await self._last(subjects.messages)
        if stored is None:
            return None
        position = progress_of(last) if last and last["seq"] > stored["seq"] else None
        record = msgspec.json.decode(b64decode(stored["data"]), type=Record)
        return StoredRecord(buckets_of(buckets), record, position)

    async def fence(self, buckets: str) -> int:
        """Return the sequence of a publisher's fence."""
        found = await self._last(self.subjects(buckets).fence)
        return found["seq"] if found else 0

    async def _last(self, subject: str) -> dict[str, Any] | None:
        """Return the last message of a subject."""
        stream = stream_name(self._topic)
        try:
            return (await self._connection.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}))["message"]
        except ApiError as error:
            if error.code == NO_MESSAGE:
                return None
            raise


def progress_of(message: Mapping[str, Any]) -> Progress | None:
    """Return the position in the headers of a message."""
    lines = b64decode(message.get("hdrs", "")).decode().split("\r\n")
    value = next((line.removeprefix(f"{UPTO}: ") for line in lines if line.startswith(UPTO)), "")
    if not value:
        return None
    position, epoch_id, *event_id = value.split(" ")
    return Progress(decode_token(epoch_id), int(position), *map(decode_token, event_id))


def buckets_of(text: str) -> range:
    """Return the buckets that the last part of a subject names."""
    start, _, stop = text.partition("-")
    return range(int(start), int(stop))
