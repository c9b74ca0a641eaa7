"""What the brokers of one name in this process share: topics, positions, acknowledged offsets, and waiting consumers.

Event loops of several threads may use it. A lock makes each method atomic; no method waits while it holds the lock.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Final

from msgspec import Struct

from fait._delivery.brokers.port import (
    BUCKETS,
    ConsumedMessage,
    Lane,
    Message,
    Progress,
    Source,
    Topology,
    lane_of,
)
from fait._delivery.brokers.stored_positions import StoredPositions

__all__ = ["BucketState", "MemoryServer", "MemorySession", "SessionEnded", "server_of"]


class SessionEnded(Exception):
    """The session of a publisher is not the last one of its buckets."""


class MemorySession:
    """A publisher, as the server knows it.

    Args:
        topic: name of the topic.
        source: the source.
        states: what the server stores for each bucket of the publisher.
    """

    def __init__(self, topic: str, source: Source, states: Mapping[int, "BucketState"]) -> None:
        self.topic = topic
        self.source = source
        self.states = states

    @property
    def stored(self) -> StoredPositions:
        """The stored positions."""
        positions = {bucket: each.progress for bucket, each in self.states.items() if each.progress is not None}
        return StoredPositions(self.source.epoch_id, range(min(self.states), max(self.states) + 1), positions)


class BucketState(Struct):
    """What the server stores for a bucket of a topic and a source.

    Attributes:
        fencing_token: token of the last publisher.
        session: the last publisher.
        progress: the stored position.
    """

    fencing_token: int = 0
    session: MemorySession | None = None
    progress: Progress | None = None


class MemoryServer:
    """Topics in memory, shared by all brokers of one name.

    Attributes:
        frozen: whether the server does not answer. A test sets this.
    """

    def __init__(self) -> None:
        self.frozen = False
        self._lock = Lock()
        self._topics: dict[str, list[list[ConsumedMessage]]] = {}
        self._states: dict[tuple[str, str, str], list[BucketState]] = {}
        self._acknowledged: dict[tuple[str, Lane], int] = {}
        self._readers: dict[tuple[str, Lane], object] = {}
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    # Topics

    def lanes(self, topic: str) -> int:
        """Return the number of lanes of a topic; 0: there is no such topic."""
        return len(self._topics.get(topic, ()))

    def create(self, topology: Topology) -> None:
        """Create the topics that do not exist."""
        with self._lock:
            for topic, lanes in topology.topics.items():
                self._topics.setdefault(topic, [[] for _ in range(lanes)])

    def length(self, lane: Lane) -> int:
        """Return the number of messages of a lane."""
        return len(self._topics[lane.topic][lane.number])

    def messages(self, lane: Lane, start: int, limit: int) -> Sequence[ConsumedMessage]:
        """Return messages of a lane from an offset."""
        return self._topics[lane.topic][lane.number][start : start + limit]

    # Publishing

    def new_session(self, topic: str, source: Source, buckets: range, fencing_token: int) -> MemorySession:
        """Make a publisher the last one of its buckets.

        Raises:
            SessionEnded: a former publisher has a greater token.
        """
        with self._lock:
            key = (topic, source.log_id, source.relay)
            states = self._states.setdefault(key, [BucketState() for _ in range(BUCKETS)])
            session = MemorySession(topic, source, {bucket: states[bucket] for bucket in buckets})
            if any(each.fencing_token > fencing_token for each in session.states.values()):
                raise SessionEnded(f"another publisher has a token above {fencing_token}")
            for each in session.states.values():
                each.fencing_token, each.session = fencing_token, session
            return session

    def stored(self, topic: str, source: Source, buckets: range) -> Mapping[int, Progress]:
        """Return the stored position of each bucket that has one, whichever publisher it has."""
        with self._lock:
            states = self._states.get((topic, source.log_id, source.relay), [])
            return {n: each.progress for n, each in enumerate(states) if n in buckets and each.progress is not None}

    def progress(self, session: MemorySession) -> Mapping[int, Progress]:
        """Return the stored position of each bucket that has one.

        Raises:
            SessionEnded: the session is not the last one of each bucket.
        """
        with self._lock:
            _check_last(session)
            return session.stored.by_bucket

    def publish(self, session: MemorySession, batch: Sequence[Message], *, after: int, upto: int) -> list[str]:
        """Store messages and a position.

        Returns:
            The offsets of the messages.

        Raises:
            SessionEnded: the session is not the last one of each bucket, or another position is stored.
        """
        with self._lock:
            _check_last(session)
            stored = session.stored
            # fault: broker-position-not-compared
            if stored.lowest is not None and stored.lowest.position != after:
                raise SessionEnded(f"it stores position {stored.lowest.position}, not {after}")
            offsets = dict.fromkeys(range(len(batch)), "")
            for at in stored.unpublished(batch, after, upto):
                offsets[at] = self._store(session.topic, batch[at])
            for bucket, progress in stored.advanced(after, upto, batch[-1].id).by_bucket.items():
                # fault: broker-position-not-stored
                session.states[bucket].progress = progress
        self._wake()
        return [*offsets.values()]

    def _store(self, topic: str, message: Message) -> str:
        lanes = self._topics[topic]
        lane = lanes[lane_of(message.bucket, len(lanes))]
        offset = str(len(lane))
        # fault: names-of-headers-not-in-lower-case
        headers = {name.lower(): value for name, value in message.headers.items()}
        lane.append(ConsumedMessage(offset=offset, key=message.key, headers=headers, body=message.body))
        return offset

    # Consuming

    def acknowledged(self, name: str, lane: Lane) -> int:
        """Return the number of messages of a lane that a consumer has acknowledged."""
        return self._acknowledged.get((name, lane), 0)

    def acknowledge(self, name: str, lane: Lane, count: int) -> None:
        """Store that a consumer has acknowledged the first messages of a lane."""
        with self._lock:
            # fault: acknowledgment-moves-back
            self._acknowledged[name, lane] = max(count, self.acknowledged(name, lane))

    def assign(self, name: str, lanes: Iterable[Lane], reader: object) -> None:
        """Make an object the only reader of lanes under a name."""
        with self._lock:
            self._readers.update({(name, lane): reader for lane in lanes})
        self._wake()

    def reads(self, name: str, lane: Lane, reader: object) -> bool:
        """Whether an object is the reader of a lane under a name."""
        return self._readers.get((name, lane)) is reader

    def _wake(self) -> None:
        for event, loop in list(self._waiting.items()):
            loop.call_soon_threadsafe(event.set)

    async def wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait until a condition holds, which a message or a lane may fulfill, or until the timeout."""
        event = asyncio.Event()
        self._waiting[event] = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():  # also if it was fulfilled by a message that the caller has taken since
                    await event.wait()
                    event.clear()
        except TimeoutError:
            pass
        finally:
            del self._waiting[event]


def _check_last(session: MemorySession) -> None:
    # fault: former-publisher-not-fenced
    if any(each.session is not session for each in session.states.values()):
        raise SessionEnded("a successor is open")


_SERVERS: Final[dict[str, MemoryServer]] = {}


def server_of(name: str) -> MemoryServer:
    """Return the server of a name, which lives as long as the process."""
    return _SERVERS.setdefault(name, MemoryServer())
