"""The port `Broker`: publishes messages in order of their keys, and consumes them. Every adapter implements it.

A broker divides each topic into lanes, which have an order: partitions, subjects, streams or queues. All messages of a
key are in one lane. What a broker promises beyond that is data (`BrokerFeatures`), and the contract in
`fait.testing.contract` tests it.

The caller does all retries. An adapter never sends, connects or tries again by itself: a client library that does so
reorders or repeats messages. After the first `BrokerUnavailable` a broker and all that it opened are of no more use.
The caller closes it and opens another one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from fait._store.ports.store import Finding

__all__ = [
    "BUCKETS",
    "CLOSE_TIMEOUT_S",
    "MAX_MESSAGE_BYTES",
    "Accepted",
    "Broker",
    "BrokerFeatures",
    "ConsumedBatch",
    "ConsumedMessage",
    "Consumer",
    "ConsumerSpec",
    "Lane",
    "LaneRevoked",
    "Message",
    "Progress",
    "PublishOutcome",
    "Publisher",
    "Refused",
    "Source",
    "Topology",
    "Unsent",
    "lane_of",
    "lowest_progress",
]

BUCKETS: Final = 256
"""Number of buckets. A key belongs to one of them, by its hash."""

CLOSE_TIMEOUT_S: Final = 5.0
"""Maximum duration of each `close` of an adapter."""

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Maximum of `BrokerFeatures.maximum_message_bytes`, also for brokers that would accept more."""


class Message(Struct, frozen=True, kw_only=True):
    """A message to publish.

    Attributes:
        key: messages of a key arrive in the order in which they were published.
        bucket: bucket of the key, from 0 to `BUCKETS` - 1.
        position: position of the event in its log.
        id: id of the event.
        headers: header values by name. A name has only lower-case ASCII letters, digits, `-` and `_`. A value is any
            text without unpaired surrogates. Empty if the broker has no headers.
        body: the content.
    """

    key: str
    bucket: int
    position: int
    id: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def size(self) -> int:
        """Number of bytes of the body and of the names and values of all headers, in UTF-8."""
        return len(self.body) + sum(len(name) + len(value.encode()) for name, value in self.headers.items())


class Accepted(Struct, frozen=True):
    """The broker has confirmed the message.

    Attributes:
        offset: its offset in its lane, as text; "" if the broker does not tell.
    """

    offset: str = ""


class Refused(Struct, frozen=True):
    """The broker can never accept the message as it is: it is too large, for example. It was not accepted.

    An outage, a full queue or a missing topic is no such reason.

    Attributes:
        reason: what is wrong with it, as a sentence without a period, and without its content.
        code: a short name of the reason, which does not change: "too-large", "header", "not-authorized", or a code of
            the broker.
    """

    reason: str
    code: str


class Unsent(Struct, frozen=True):
    """The message was not accepted, because an earlier one of its key, or any one of an atomic batch, was refused."""


PublishOutcome = Accepted | Refused | Unsent
"""What became of a message."""


class Source(Struct, frozen=True):
    """Where the messages of a publisher come from. Publishers with the same log and relay are the same source.

    Attributes:
        log_id: id of the log.
        epoch_id: id of the log's current epoch.
        relay: name of the relay.
    """

    log_id: str
    epoch_id: str
    relay: str


class Progress(Struct, frozen=True):
    """The position that the broker stores for a topic and a source: its messages up to there were accepted.

    Attributes:
        epoch_id: id of the log's epoch in which the position was stored, as in `Source`.
        position: the position.
        event_id: id of the last message of the call that stored the position. A log without this event at the position
            was restored from a backup. "": not known, as the position was stored by a former version of fait.
    """

    epoch_id: str
    position: int
    event_id: str = ""


def lowest_progress(by_bucket: Mapping[int, Progress], buckets: range) -> Progress | None:
    """Return the lowest position of buckets: all messages of the source up to there were accepted.

    Args:
        by_bucket: the position of each bucket that has one.
        buckets: the buckets.

    Returns:
        None if a bucket has none.
    """
    if any(each not in by_bucket for each in buckets):
        return None
    return min((by_bucket[each] for each in buckets), key=lambda each: each.position)


class Lane(Struct, frozen=True, order=True):
    """A part of a topic that has an order.

    Attributes:
        topic: name of the topic.
        number: number of the lane, from 0.
    """

    topic: str
    number: int


def lane_of(bucket: int, lanes: int) -> int:
    """Return the number of the lane for a bucket. All adapters use this, so that a key keeps its lane.

    Args:
        bucket: a bucket, from 0 to `BUCKETS` - 1.
        lanes: number of lanes of the topic.
    """
    return bucket % lanes


class Topology(Struct, frozen=True):
    """The topics that an application uses.

    Attributes:
        topics: number of lanes by name of the topic. A name has 1 to 200 lower-case ASCII letters, digits, `-`, `_` and
            `.`, and begins with a letter or a digit.
    """

    topics: Mapping[str, int]


class BrokerFeatures(Struct, frozen=True, kw_only=True):
    """What a broker promises, with its settings and its version.

    Attributes:
        batch: "atomic": the messages of a call are all accepted, or none is. "single": each has its own outcome.
        maximum_batch: maximum number of messages in a call, at least 1.
        maximum_message_bytes: maximum `Message.size`, as the server says it; at most `MAX_MESSAGE_BYTES`.
        fence: how a former publisher is kept from publishing. "transactional-id", "token", "producer-name": as soon as
            its successor is open. "expected-sequence": as soon as its successor has published; until then one of both
            gets `Fenced`. "none": not at all.
        stores_position: whether the broker stores `upto` together with the messages, so that `Publisher.progress` has
            a position for each bucket after a publication.
        deduplicates: whether messages that a later publisher of the source sends again are accepted and not stored
            again, without a limit in time.
        order: "lane": a consumer gets the messages of a lane in order, also after a restart. "none": in any order.
        seekable: whether a consumer can begin at the offset of its choice.
        acknowledges: what becomes of acknowledged messages. "prefix": the broker remembers the offset of a lane for the
            name of a consumer. "removal": the broker deletes them, so that no consumer of any name gets them. "none":
            `acknowledge` does nothing.
        exclusive_lanes: whether a consumer takes its lanes from an open consumer with the same name, which gets
            `LaneRevoked`.
        header_prefix: prefix of CloudEvents attributes in headers, as the protocol's binding defines it. "": there are
            no headers, and the body is the whole event.
        lanes: what a lane is at this broker.
        backlog: what `Consumer.backlog` returns. "exact": the number of messages. "maximum": not fewer than there are,
            and 0 if there are none. "unknown": None.
        loses_acknowledged: the settings or failures with which confirmed messages can be lost, as a sentence.
    """

    batch: Literal["atomic", "single"]
    maximum_batch: int
    maximum_message_bytes: int
    fence: Literal["transactional-id", "expected-sequence", "token", "producer-name", "none"]
    stores_position: bool
    deduplicates: bool
    order: Literal["lane", "none"]
    seekable: bool
    acknowledges: Literal["prefix", "removal", "none"]
    exclusive_lanes: bool
    header_prefix: Literal["ce-", "ce_", ""]
    lanes: Literal["partition", "subject", "stream", "queue"]
    backlog: Literal["exact", "maximum", "unknown"]
    loses_acknowledged: str


class Publisher(Protocol):
    """Publishes messages of some buckets of a source to one topic. `fait.testing.contract` tests each guarantee below.

    One call at a time: the caller awaits it before the next.

    P1. If a message is not accepted, no later message of its key in the same call is accepted. After an exception, no
        call of this publisher accepts anything.
    P2. The outcomes are in the order of the messages, one for each.
    P3. An exception tells nothing about any message of the call: each may be accepted or not. It is never raised to say
        that one message was refused.
    P4. The adapter does not send a message twice, and does not connect again.
    P5. Each call ends within the timeout of the broker, whatever the server does, and `close` within `CLOSE_TIMEOUT_S`.
    P6. After `Fenced`, no message of this publisher becomes visible to consumers, also none of an earlier call.
    """

    async def progress(self) -> Mapping[int, Progress]:
        """Return the positions that the broker stores for the buckets.

        Returns:
            The position of each bucket that has one. A bucket of which nothing was published has none; no bucket has
            one if the broker has not the feature `stores_position`. A position that is lower than an earlier one of the
            same epoch means that the broker has lost messages.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
            Fenced: a successor is open.
        """
        ...

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        """Publish messages and wait until the broker has confirmed them.

        A message that is too large, or that the broker cannot represent, is refused before anything of an atomic batch
        is sent.

        Args:
            batch: 1 to `maximum_batch` messages of the publisher's buckets.
            after: the position that the broker stores: the lowest one of `progress`, see `lowest_progress`, or `upto`
                of the previous call. Ignored if it stores none.
            upto: position to store, with the id of the last message; less than `after` only if that was stored in
                another epoch. The same as `after` to leave the position as it is: then no message counts as published
                already. If a message is not accepted, the broker keeps `after`.

        Returns:
            The outcomes.

        Raises:
            BrokerUnavailable: the broker cannot be reached, did not answer in time, or cannot accept messages at the
                moment.
            Fenced: a successor is open or has published, or the broker stores another position than `after`. Nothing of
                the call was accepted.
            TopologyMismatch: the topic is missing or not as it must be. Nothing of the call was accepted.
        """
        ...

    async def close(self) -> None:
        """Release its resources. Never raises. A second call does nothing."""
        ...


class ConsumerSpec(Struct, frozen=True, kw_only=True):
    """What a consumer reads.

    Attributes:
        name: name of the consumer, under which the broker stores what it acknowledges.
        lanes: the lanes.
        start: where to begin in a lane without a given offset. "beginning", "end": before all messages, or after them;
            for a seekable broker. "acknowledged": after those that were acknowledged; for a broker whose
            `acknowledges` is not "none".
        maximum_batch: maximum number of messages in a batch.
    """

    name: str
    lanes: tuple[Lane, ...]
    start: Literal["beginning", "end", "acknowledged"]
    maximum_batch: int = 500


class ConsumedMessage(Struct, frozen=True, kw_only=True):
    """A message from a broker, as any program may have published it.

    Attributes:
        offset: its offset in its lane.
        key: its key; None if the broker or the publisher has none.
        headers: header values by name in lower case; bytes that are not UTF-8 are replaced by U+FFFD. An adapter may
            add headers of its own.
        body: the content.
    """

    offset: str
    key: str | None
    headers: Mapping[str, str]
    body: bytes


class ConsumedBatch(Struct, frozen=True):
    """Messages of a lane, in order.

    Attributes:
        lane: the lane.
        messages: at least one message.
    """

    lane: Lane
    messages: tuple[ConsumedMessage, ...]


class LaneRevoked(Struct, frozen=True):
    """The consumer reads this lane no more, because another one does or because the lane was deleted.

    Attributes:
        lane: the lane. What is acknowledged of it from now on has no effect.
    """

    lane: Lane


class Consumer(Protocol):
    """Reads messages of some lanes. `fait.testing.contract` tests each guarantee below.

    A message is delivered once by each consumer. After a restart, messages that the offsets do not cover are delivered
    again. Nothing is ever put behind other messages: there is no negative acknowledgment.
    """

    async def receive(self, timeout_s: float) -> ConsumedBatch | LaneRevoked | None:
        """Return the next messages of a lane that is not paused.

        Canceling the call loses no message: the next call returns it.

        Args:
            timeout_s: how long to wait for a message, in seconds.

        Returns:
            None if there was none in time.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
            TopologyMismatch: a topic is missing.
            OffsetLost: a topic was created again, and the broker can tell.
        """
        ...

    async def acknowledge(self, lane: Lane, offset: str) -> None:
        """Tell the broker that all messages of a lane up to an offset, and no later ones, need not be delivered again.

        A broker that removes nothing may do so a second later, or in `close`.

        Args:
            lane: the lane.
            offset: offset of a delivered message.

        Raises:
            BrokerUnavailable: the broker cannot be reached. It may or may not have stored the offset.
        """
        ...

    async def backlog(self) -> int | None:
        """Return how many messages of its lanes `receive` has not returned, also while another task calls `receive`.

        A message that is on its way from the broker may not be counted. If several consumers receive messages of the
        same lane in any order, each has its share of those that none has received.

        Returns:
            None: the broker does not tell, or did not answer. It never raises, and the consumer can be used after it.
        """
        ...

    def pause(self, lane: Lane) -> None:
        """Receive no more messages of a lane, until `resume`. Other lanes continue."""
        ...

    def resume(self, lane: Lane) -> None:
        """Receive messages of a lane again, from the first that was not received."""
        ...

    async def close(self) -> None:
        """Release its resources, within `CLOSE_TIMEOUT_S`. Acknowledges nothing else, and never raises."""
        ...


class Broker(Protocol):
    """An open broker: one connection, or a group of them, that is closed at the first `BrokerUnavailable`.

    Apart from `receive`, each call of a broker and of what it opens ends within the timeout that it was opened with.
    """

    @property
    def features(self) -> BrokerFeatures:
        """What the broker promises."""
        ...

    async def check(self, topology: Topology, *, create: bool) -> list[Finding]:
        """Compare the topics with the broker's, and check its settings.

        Args:
            topology: the topics.
            create: whether to create missing topics. Existing ones are never changed.

        Returns:
            A finding for each topic, and for each setting that matters. The name of a topic's finding is "topic NAME".

        Raises:
            BrokerUnavailable: the broker cannot be reached.
        """
        ...

    async def lanes(self, topic: str) -> tuple[Lane, ...]:
        """Return the lanes of a topic, in order of their numbers.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
            TopologyMismatch: there is no such topic.
        """
        ...

    async def publisher(self, topic: str, source: Source, buckets: range, fencing_token: int) -> Publisher:
        """Open a publisher, and fence all former ones of the topic, the source and these buckets, if the broker can.

        Args:
            topic: name of the topic.
            source: the source.
            buckets: the buckets whose messages it publishes, such as `range(0, 256)`.
            fencing_token: not less than the tokens of all former publishers of the topic and the source for any of
                these buckets. One with the same token is a former one, too.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
            Fenced: a former publisher has a greater token.
            TopologyMismatch: the topic is missing or not as it must be.
        """
        ...

    async def progress(self, topic: str, source: Source, buckets: range) -> Mapping[int, Progress]:
        """Return the positions that the broker stores for buckets. It opens no publisher, so none is fenced.

        Args:
            topic: name of the topic.
            source: the source.
            buckets: the buckets.

        Returns:
            The position of each bucket that has one, as `Publisher.progress`. A publisher that is open can advance it.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
            TopologyMismatch: the topic is missing or not as it must be.
        """
        ...

    async def ends(self, lanes: Collection[Lane]) -> Mapping[Lane, str] | None:
        """Return where lanes end, so that a consumer can begin after all of their messages.

        Args:
            lanes: the lanes.

        Returns:
            The offset of the last message of each lane; "" if it has none. None if the broker cannot tell.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
            TopologyMismatch: a topic is missing.
        """
        ...

    async def consumer(self, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> Consumer:
        """Open a consumer.

        Args:
            spec: what it reads.
            offsets: offset of the last message that need not be delivered, by lane; "": begin before all messages. If
                the broker is seekable, they count, whatever was acknowledged. Otherwise they are ignored.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
            TopologyMismatch: a topic is missing.
            OffsetLost: a lane ends before an offset, or has another message there: the topic was created again, or the
                broker has lost messages. An offset whose message was deleted in order, as by a limit, is none of these.
            UsageError: the broker has no such start.
        """
        ...

    async def close(self) -> None:
        """Close it and all that it opened, within `CLOSE_TIMEOUT_S`. Never raises. A second call does nothing."""
        ...
