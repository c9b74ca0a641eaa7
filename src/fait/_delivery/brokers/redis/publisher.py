"""Publishes to Redis Streams: one script per call, which is all or nothing.

The script compares the position that is stored for this publisher, and stores the new one. A successor removes it. So
a former publisher, a lost reply and a failover to a replica that lags behind are all noticed.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final, cast

from fait._broker_errors import BrokerUnavailable, Fenced, TopologyMismatch
from fait._delivery.brokers.outcomes import check_call, outcomes_with_refused
from fait._delivery.brokers.port import (
    Accepted,
    BrokerFeatures,
    Lane,
    Message,
    Progress,
    PublishOutcome,
    Source,
    lane_of,
)
from fait._delivery.brokers.redis.connection import RedisConnection, ServerError, Value
from fait._delivery.brokers.redis.keys import LANES, encode_headers, publishers_key, stream_key
from fait._delivery.brokers.stored_positions import StoredPositions
from fait._delivery.text_codes import decode_token, encode_token
from fait._errors import FaitError

__all__ = ["RedisPublisher", "stored_progress"]


def _script(name: str) -> str:
    return files("fait._delivery.brokers.redis").joinpath(f"{name}.lua").read_text("utf-8")


_OPEN: Final = _script("open_publisher")
_PUBLISH: Final = _script("publish")


class RedisPublisher:
    """A publisher with a connection of its own.

    Args:
        name: URL of the broker, for messages.
        lanes: the lanes of the topic.
        source: the source.
        connection: an open connection.
        features: features of the broker.
    """

    def __init__(
        self,
        name: str,
        lanes: Sequence[Lane],
        source: Source,
        connection: RedisConnection,
        features: BrokerFeatures,
    ) -> None:
        self._name = name
        self._lanes = lanes
        self._source = source
        self._connection = connection
        self._features = features
        self._states = publishers_key(lanes[0].topic, source)
        self._field = ""
        self._position = ""
        self._stored = StoredPositions(source.epoch_id, range(0), {})
        self._failure: FaitError | None = None

    async def take_over(self, buckets: range, fencing_token: int) -> None:
        """Fence all former publishers of the buckets."""
        arguments = (fencing_token, buckets.start, buckets.stop)
        try:
            generation, positions = await self._connection.call("EVAL", _OPEN, 1, self._states, *arguments)
        except ServerError as error:
            raise self._error(error, "another publisher has a greater fencing token") from None
        self._field = f"live {generation}"
        stored = {bucket: progress_of(each) for bucket, each in zip(buckets, positions, strict=True) if each}
        self._stored = StoredPositions(self._source.epoch_id, buckets, stored)

    async def progress(self) -> Mapping[int, Progress]:
        """Return the positions that are stored for the buckets."""
        self._require()
        if await self._connection.call("HGET", self._states, self._field) != self._position.encode():
            raise self._fence("another publisher took over its buckets")
        return self._stored.by_bucket

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        """Append all messages with the position, or none."""
        refused = check_call(batch, self._features, self._stored.buckets)
        self._require()
        if refused:
            return outcomes_with_refused(batch, refused)
        if (lowest := self._stored.lowest) and lowest.position != after:
            raise self._fence(f"the broker stores position {lowest.position}, not {after}")
        outcomes: list[PublishOutcome] = [Accepted()] * len(batch)
        unpublished = self._stored.unpublished(batch, after, upto)
        stored = self._stored.advanced(after, upto, batch[-1].id)
        reached = self._stored.reached(after, upto, batch[-1].id)
        moved = self._position if stored is self._stored else position_text(reached)
        ids = await self._append([batch[at] for at in unpublished], moved)
        for at, entry_id in zip(unpublished, ids, strict=True):
            outcomes[at] = Accepted(entry_id.decode())
        self._stored, self._position = stored, moved
        return outcomes

    async def _append(self, batch: Sequence[Message], position: str) -> list[bytes]:
        keys = [self._states, LANES, *map(stream_key, self._lanes)]
        arguments: list[Value] = [self._lanes[0].topic, len(self._lanes), self._field, self._position, position]
        for each in batch:
            # The keys of streams are the third and later ones; Lua counts from 1.
            arguments += (lane_of(each.bucket, len(self._lanes)) + 3, encode_headers(each), each.body)
        try:
            command = ("EVAL", _PUBLISH, len(keys), *keys, *arguments)
            return cast("list[bytes]", await self._connection.call(*command, outcome="unknown"))
        except BrokerUnavailable as error:
            self._failure = error
            raise
        except ServerError as error:
            raise self._error(error, "another publisher took over its buckets") from None

    def _error(self, error: ServerError, reason: str) -> FaitError:
        match error.text.split(" "):
            case ["FENCED"]:
                return self._fence(reason)
            case ["LANES"]:
                self._failure = self._mismatch("is missing, or has another number of lanes than before")
            case ["KIND", key]:
                self._failure = self._mismatch(f"has a lane {key} that is no stream")
            case _:  # the server refused the script before its first write: out of memory, read-only, not permitted
                self._failure = self._connection.unavailable(error.text)
        return self._failure

    def _mismatch(self, problem: str) -> TopologyMismatch:
        return TopologyMismatch(self._name, {self._lanes[0].topic: problem})

    def _fence(self, reason: str) -> FaitError:
        self._failure = Fenced(self._name, self._source.relay, reason)
        return self._failure

    def _require(self) -> None:
        if self._failure:
            raise self._failure

    async def close(self) -> None:
        """Close its connection."""
        self._failure = self._failure or self._connection.unavailable("the publisher is closed")
        await self._connection.close()


def progress_of(position: bytes) -> Progress:
    """Return a position as the scripts write it."""
    epoch_id, number, *event_id = position.decode().split(" ")
    return Progress(decode_token(epoch_id), int(number), *map(decode_token, event_id))


def stored_progress(states: Mapping[bytes, bytes], buckets: range) -> dict[int, Progress]:
    """Return the position of each bucket that has one, as the script that opens a publisher finds it.

    Args:
        states: the states of a source.
        buckets: the buckets.
    """
    found = dict[int, Progress]()
    for bucket in buckets:
        _, generation, start = [*states.get(b"%d" % bucket, b"0 0").split(b" ", 2), b""][:3]
        reached = states.get(b"live " + generation) or states.get(b"fenced " + generation) or b""
        positions = [progress_of(each) for each in (start, reached) if each]
        if len(positions) == 2 and positions[0].epoch_id == positions[1].epoch_id:
            found[bucket] = max(positions, key=lambda each: each.position)
        elif positions:
            found[bucket] = positions[-1]
    return found


def position_text(progress: Progress) -> str:
    """Return a position as the scripts store it."""
    return f"{encode_token(progress.epoch_id)} {progress.position} {encode_token(progress.event_id)}"
