"""A broker in the memory of this process, for tests and examples: `memory:NAME`.

All apps of the process that open the same name share its topics, which live as long as the process.
"""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from fait._broker_errors import BrokerUnavailable, Fenced, OffsetLost, TopologyMismatch
from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.memory.server import MemoryServer, MemorySession, SessionEnded, server_of
from fait._delivery.brokers.offset_forms import require_form
from fait._delivery.brokers.outcomes import check_call, outcomes_with_refused
from fait._delivery.brokers.port import (
    Accepted,
    BrokerFeatures,
    ConsumedBatch,
    ConsumerSpec,
    Lane,
    LaneRevoked,
    Message,
    Progress,
    PublishOutcome,
    Source,
    Topology,
)
from fait._store.ports.store import Finding

__all__ = ["FEATURES", "MemoryBroker", "MemoryConnection", "MemoryConsumer", "MemoryPublisher", "open_broker"]

_NUMBER: Final = re.compile(r"\d+")

FEATURES: Final = BrokerFeatures(
    batch="atomic",
    maximum_batch=1_000,
    maximum_message_bytes=1024 * 1024,
    fence="token",
    stores_position=True,
    deduplicates=False,
    order="lane",
    seekable=True,
    acknowledges="prefix",
    exclusive_lanes=True,
    header_prefix="ce-",
    lanes="partition",
    backlog="exact",
    loses_acknowledged="All messages are lost when the process ends.",
)
"""What the broker in memory promises."""


async def open_broker(destination: Destination, *, timeout_s: float) -> "MemoryBroker":
    """Open a broker in memory; see `OpenBroker`."""
    destination.refuse_options(())
    if not (name := destination.parts.path):
        destination.refuse("a broker in memory has a name, which its users share. Write memory:NAME")
    return MemoryBroker(destination.name, server_of(name), timeout_s)


class MemoryConnection:
    """What a broker and all that it opens share.

    Args:
        url: URL of the broker, for messages.
        server: the server.
        timeout_s: timeout for each call, in seconds.
    """

    def __init__(self, url: str, server: MemoryServer, timeout_s: float) -> None:
        self.url = url
        self.server = server
        self._timeout_s = timeout_s
        self._failure = ""

    async def request(self) -> None:
        """Return if the server answers.

        Raises:
            BrokerUnavailable: the server is frozen, or the broker is closed.
        """
        if self.server.frozen and not self._failure:
            await asyncio.sleep(self._timeout_s)
            # fault: broker-answers-after-outage
            self.close(f"no answer within {self._timeout_s:g} s")
        if self._failure:
            raise BrokerUnavailable(self.url, self._failure)

    def close(self, reason: str) -> None:
        """Refuse all further requests."""
        self._failure = self._failure or reason

    def check_topics(self, topics: set[str]) -> None:
        """Raise `TopologyMismatch` if a topic does not exist."""
        if missing := sorted(topic for topic in topics if not self.server.lanes(topic)):
            raise TopologyMismatch(self.url, dict.fromkeys(missing, "does not exist"))


class MemoryBroker:
    """The port `Broker` in memory."""

    def __init__(self, url: str, server: MemoryServer, timeout_s: float) -> None:
        self._connection = MemoryConnection(url, server, timeout_s)
        self._server = server
        self.features = FEATURES

    async def check(self, topology: Topology, *, create: bool) -> list[Finding]:
        """Compare the topics; there are no settings."""
        await self._connection.request()
        if create:
            self._server.create(topology)
        return [self._finding(topic, lanes) for topic, lanes in topology.topics.items()]

    def _finding(self, topic: str, lanes: int) -> Finding:
        name, existing = f"topic {topic}", self._server.lanes(topic)
        if not existing:
            return Finding(name, "problem", "does not exist", "Create it with check(..., create=True).")
        if existing != lanes:
            return Finding(name, "problem", f"has {existing} lanes, not {lanes}", f"Declare {existing} lanes.")
        return Finding(name, "ok", f"{lanes} lanes")

    async def lanes(self, topic: str) -> tuple[Lane, ...]:
        """Return the lanes of a topic."""
        await self._connection.request()
        self._connection.check_topics({topic})
        return tuple(Lane(topic, number) for number in range(self._server.lanes(topic)))

    async def publisher(self, topic: str, source: Source, buckets: range, fencing_token: int) -> "MemoryPublisher":
        """Open a publisher, which fences all former ones of its buckets."""
        await self._connection.request()
        self._connection.check_topics({topic})
        try:
            session = self._server.new_session(topic, source, buckets, fencing_token)
        except SessionEnded as reason:
            raise Fenced(self._connection.url, source.relay, str(reason)) from None
        return MemoryPublisher(self._connection, session, buckets)

    async def progress(self, topic: str, source: Source, buckets: range) -> Mapping[int, Progress]:
        """Return the stored position of each bucket that has one."""
        await self._connection.request()
        self._connection.check_topics({topic})
        return self._server.stored(topic, source, buckets)

    async def ends(self, lanes: Collection[Lane]) -> dict[Lane, str]:
        """Return the offset of the last message of each lane."""
        await self._connection.request()
        self._connection.check_topics({lane.topic for lane in lanes})
        return {lane: str(length - 1) if (length := self._server.length(lane)) else "" for lane in lanes}

    async def consumer(self, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> "MemoryConsumer":
        """Open a consumer, which takes its lanes from one with the same name."""
        await self._connection.request()
        self._connection.check_topics({lane.topic for lane in spec.lanes})
        require_form(_NUMBER, offsets, self._connection.url, spec.name)
        for lane, offset in offsets.items():
            # fault: lost-offset-not-noticed
            if offset and int(offset) >= self._server.length(lane):
                raise OffsetLost(self._connection.url, spec.name, lane.topic, lane.number, offset)
        return MemoryConsumer(self._connection, spec, offsets)

    async def close(self) -> None:
        """Refuse all further calls."""
        self._connection.close("it is closed")


class MemoryPublisher:
    """The port `Publisher` in memory."""

    def __init__(self, connection: MemoryConnection, session: MemorySession, buckets: range) -> None:
        self._connection = connection
        self._session = session
        self._buckets = buckets
        self._failure: Exception | None = None

    async def progress(self) -> Mapping[int, Progress]:
        """Return the stored positions."""
        await self._request()
        try:
            return self._connection.server.progress(self._session)
        except SessionEnded as reason:
            raise self._fenced(reason) from None

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        """Store all messages with the position, or none."""
        refused = check_call(batch, FEATURES, self._buckets)
        await self._request()
        if refused:
            return outcomes_with_refused(batch, refused)
        try:
            offsets = self._connection.server.publish(self._session, batch, after=after, upto=upto)
        except SessionEnded as reason:
            raise self._fenced(reason) from None
        return [Accepted(offset) for offset in offsets]

    async def _request(self) -> None:
        # fault: fenced-publisher-publishes-again
        if self._failure:
            raise self._failure
        await self._connection.request()

    def _fenced(self, reason: SessionEnded) -> Fenced:
        self._failure = Fenced(self._connection.url, self._session.source.relay, str(reason))
        return self._failure

    async def close(self) -> None:
        """Accept no more messages."""
        self._failure = self._failure or BrokerUnavailable(self._connection.url, "the publisher is closed")


class MemoryConsumer:
    """The port `Consumer` in memory."""

    def __init__(self, connection: MemoryConnection, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> None:
        self._connection = connection
        self._server = connection.server
        self._spec = spec
        self._next = {lane: self._first(lane, offsets.get(lane)) for lane in spec.lanes}
        self._paused: set[Lane] = set()
        self._server.assign(spec.name, spec.lanes, self)

    def _first(self, lane: Lane, offset: str | None) -> int:
        # fault: acknowledged-wins-over-offset
        if offset is not None:
            return int(offset) + 1 if offset else 0
        match self._spec.start:
            case "beginning":
                return 0
            case "end":
                return self._server.length(lane)
            case "acknowledged":
                return self._server.acknowledged(self._spec.name, lane)

    async def receive(self, timeout_s: float) -> ConsumedBatch | LaneRevoked | None:
        """Return the next messages of a lane, or that another consumer has taken it."""
        await self._connection.request()
        if not self._is_ready():
            await self._server.wait(self._is_ready, timeout_s)
            await self._connection.request()
        lane = next(filter(self._has_news, self._next), None)
        if lane is None:
            return None
        start = self._next.pop(lane)
        if not self._server.reads(self._spec.name, lane, self):
            return LaneRevoked(lane)
        messages = tuple(self._server.messages(lane, start, self._spec.maximum_batch))
        self._next[lane] = start + len(messages)  # the last of the lanes, so that each has its turn
        return ConsumedBatch(lane, messages)

    def _is_ready(self) -> bool:
        return any(map(self._has_news, self._next))

    def _has_news(self, lane: Lane) -> bool:
        if not self._server.reads(self._spec.name, lane, self):
            return True
        # fault: paused-lane-delivers
        return lane not in self._paused and self._next[lane] < self._server.length(lane)

    async def acknowledge(self, lane: Lane, offset: str) -> None:
        """Store the offset, unless another consumer has taken the lane."""
        await self._connection.request()
        # fault: revoked-lane-acknowledged
        if self._server.reads(self._spec.name, lane, self):
            self._server.acknowledge(self._spec.name, lane, int(offset) + 1)

    async def backlog(self) -> int | None:
        """Return how many messages of its lanes are after those that it has received."""
        if self._server.frozen:
            return None
        return sum(self._server.length(lane) - first for lane, first in self._next.items())

    def pause(self, lane: Lane) -> None:
        """Deliver no more of a lane."""
        self._paused.add(lane)

    def resume(self, lane: Lane) -> None:
        """Deliver a lane again. A waiting call looks again."""
        self._paused.discard(lane)
        self._server.assign(self._spec.name, (), self)

    async def close(self) -> None:
        """Read no more."""
        self._next.clear()
