"""Reads lanes from sequences of its own, by a temporary consumer at the server for each lane.

The server asks for no acknowledgments, so it never puts a message behind others. It numbers what it delivers; a gap is
an outage, after which the caller opens a consumer at its own offset again.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from nats.aio.msg import Msg

from fait._delivery.brokers.nats.connection import ApiError, NatsConnection, status_of
from fait._delivery.brokers.nats.subjects import lane_filters, message_of, stream_name
from fait._delivery.brokers.port import ConsumedBatch, ConsumerSpec, Lane
from fait._delivery.brokers.ready_lanes import ReadyLanes
from fait._errors import FaitError

__all__ = ["NatsConsumer"]

PULL_S: Final = 30.0
"""How long the server waits for messages before it ends a pull."""

PULL_BYTES: Final = 8 * 1024 * 1024
"""Maximum number of bytes that a pull returns."""

INACTIVE_S: Final = 3_600.0
"""The server deletes a consumer that has not pulled for this time, such as one with a paused lane."""

PULL_ENDED: Final = ("No Messages", "Request Timeout", "Batch Completed", "Message Size Exceeds MaxBytes")
"""Descriptions in the status of a pull that ended in order."""


class Pull(Struct):
    """A request for messages of a lane.

    Attributes:
        consumer: name of the server's consumer.
        inbox: beginning of the subjects of replies, which end with the number of the pull.
        number: number of the current pull.
        delivered: number of messages that the consumer has delivered.
        open: number of messages that the pull may still return; 0: it has ended.
        deadline: when the server must have ended it, by the event loop's clock.
    """

    consumer: str
    inbox: str
    number: int = 0
    delivered: int = 0
    open: int = 0
    deadline: float = 0.0


class NatsConsumer:
    """A consumer. It shares the connection of its broker."""

    def __init__(self, spec: ConsumerSpec, connection: NatsConnection, timeout_s: float) -> None:
        self._spec = spec
        self._connection = connection
        self._timeout_s = timeout_s
        self._ready = ReadyLanes(spec.lanes, spec.maximum_batch)
        self._pulls: dict[Lane, Pull] = {}
        self._failure = ""
        self._arrival = asyncio.Event()
        connection.on_failure.append(self._arrival.set)

    async def open(self, offsets: Mapping[Lane, str]) -> None:
        """Create the server's consumers.

        Args:
            offsets: sequence of the last message of each lane that is not read; "": read from the beginning.
        """
        await asyncio.gather(*(self._create(lane, offsets.get(lane)) for lane in self._spec.lanes))

    async def _create(self, lane: Lane, offset: str | None) -> None:
        stream = stream_name(lane.topic)
        config: dict[str, Any] = {
            "ack_policy": "none",
            "filter_subjects": lane_filters(lane),
            "inactive_threshold": int(INACTIVE_S * 1e9),
            "mem_storage": True,
            "num_replicas": 1,
            **start_of(offset, self._spec),
        }
        created = await self._connection.api(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
        inbox = await self._connection.subscribe(lambda message: self._handle(lane, message))
        self._pulls[lane] = Pull(created["name"], inbox)

    async def receive(self, timeout_s: float) -> ConsumedBatch | None:
        """Return the next messages of a lane."""
        try:
            async with asyncio.timeout(timeout_s):
                while (batch := self._ready.next_batch()) is None:
                    self._require()
                    self._arrival.clear()
                    await self._pull()
                    await self._next_arrival()
        except TimeoutError:
            return None
        return batch

    def _require(self) -> None:
        self._connection.require()
        now = asyncio.get_running_loop().time()
        if any(pull.open and pull.deadline < now for pull in self._pulls.values()):
            self._failure = "the server did not end a pull in time"
        if self._failure:
            raise self._connection.unavailable(reason=self._failure)

    async def _next_arrival(self) -> None:
        try:
            async with asyncio.timeout(PULL_S):
                await self._arrival.wait()
        except TimeoutError:
            pass  # `_require` compares the deadlines

    async def _pull(self) -> None:
        for lane in self._ready.wanted:
            pull = self._pulls[lane]
            if not pull.open:
                pull.number += 1
                pull.open = self._spec.maximum_batch
                pull.deadline = asyncio.get_running_loop().time() + PULL_S + self._timeout_s
                limits = {"batch": pull.open, "max_bytes": PULL_BYTES, "expires": int(PULL_S * 1e9)}
                subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream_name(lane.topic)}.{pull.consumer}"
                await self._connection.send(subject, msgspec.json.encode(limits), reply=f"{pull.inbox}.{pull.number}")

    def _handle(self, lane: Lane, message: Msg) -> None:
        pull = self._pulls.get(lane)
        if pull is None:
            return
        if status_of(message):
            self._end(pull, message)
        else:
            self._add(lane, pull, message)
        self._arrival.set()

    def _end(self, pull: Pull, message: Msg) -> None:
        """End the current pull; the status of an earlier one, which is complete, can arrive later."""
        if message.subject == f"{pull.inbox}.{pull.number}":
            pull.open = 0
            description = (message.headers or {}).get("Description", status_of(message))
            if description not in PULL_ENDED:
                self._failure = f"the server ended a pull: {description}"

    def _add(self, lane: Lane, pull: Pull, message: Msg) -> None:
        sequence, delivered, time_ns = numbers_of(message.reply)
        # fault: gap-in-delivery
        if delivered != pull.delivered + 1:
            self._failure = f"messages {pull.delivered + 1} to {delivered - 1} of a pull did not arrive"
        if not self._failure:
            self._ready.add(lane, [message_of(f"{sequence}@{time_ns}", message.headers or {}, message.data)])
        pull.delivered = delivered
        pull.open = max(0, pull.open - 1)

    async def acknowledge(self, lane: Lane, offset: str) -> None:
        """Do nothing: the server's consumers store no offsets."""

    async def backlog(self) -> int | None:
        """Return how many messages the server has not delivered, with those that have arrived."""
        names = [f"{stream_name(lane.topic)}.{pull.consumer}" for lane, pull in self._pulls.items()]
        try:
            # Before the request itself ends the connection.
            # fault: nats-backlog-is-an-outage
            async with asyncio.timeout(self._timeout_s / 2):
                found = await asyncio.gather(*(self._connection.api(f"CONSUMER.INFO.{name}") for name in names))
        except (ApiError, FaitError, TimeoutError):
            return None
        return sum(each["num_pending"] for each in found) + self._ready.count

    def pause(self, lane: Lane) -> None:
        """Deliver no messages of a lane."""
        self._ready.pause(lane)

    def resume(self, lane: Lane) -> None:
        """Deliver messages of a lane again."""
        self._ready.resume(lane)
        self._arrival.set()

    async def close(self) -> None:
        """Delete the server's consumers, without waiting for it."""
        with contextlib.suppress(FaitError):
            for lane, pull in self._pulls.items():
                await self._connection.unsubscribe(pull.inbox)
                await self._connection.send(f"$JS.API.CONSUMER.DELETE.{stream_name(lane.topic)}.{pull.consumer}", b"")
        self._pulls.clear()


def start_of(offset: str | None, spec: ConsumerSpec) -> dict[str, Any]:
    """Return where the server's consumer begins."""
    if offset:
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": int(offset.partition("@")[0]) + 1}
    return {"deliver_policy": "new" if spec.start == "end" and offset is None else "all"}


def numbers_of(reply: str) -> tuple[str, int, str]:
    """Return the sequence in the stream, the number that the consumer gave the message, and its time in nanoseconds.

    Args:
        reply: `$JS.ACK.<stream>.<consumer>.<times>.<sequence>.<number>.…`, or with a domain and an account after `ACK`.
    """
    parts = reply.split(".")
    at = 5 if len(parts) == 9 else 7
    return parts[at], int(parts[at + 1]), parts[at + 2]
