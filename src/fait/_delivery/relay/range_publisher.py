"""Publishes the messages of a range under one lease, in calls whose number of messages and bytes are bounded.

It has a connection of its own, and a publisher for each topic, opened under the fencing token of the lease. After an
error it is of no more use: the lease ends, and the next one opens another.

The broker stores a position with the messages. Below the one that it stored when the publisher was opened, messages of
live events are there already. Those of keys that have failed are not, and they are sent in calls that leave the
position as it is: the broker stores them whatever the position is.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fait._broker_errors import BrokerLostMessages
from fait._delivery.brokers.open import open_broker
from fait._delivery.brokers.port import (
    CLOSE_TIMEOUT_S,
    Accepted,
    Broker,
    Message,
    Publisher,
    PublishOutcome,
    Refused,
    Source,
    lowest_progress,
)
from fait._delivery.relay.confirmed import (
    ConfirmedPosition,
    ConfirmedRange,
    confirmed_ranges,
    lost_buckets,
    start_of_range,
)
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.relay.published_position import has_published_events, published_positions
from fait._delivery.wire.outgoing import cloud_event_of, encoded_message
from fait._delivery.wire.signature import SigningKey, sign, signing_keys
from fait._events.envelope import RecordedEvent
from fait._store.ports.inbox import LaneOffset
from fait._store.ports.leases import Lease
from fait._store.ports.log import Epoch, Log, epoch_of
from fait._store.ports.store import Store

__all__ = ["RangePublisher", "RoutedMessage"]

MAX_CALL_BYTES: Final = 8 << 20
"""Maximum number of bytes of the bodies of a call, unless it has only one."""

TIMEOUT_S: Final = CLOSE_TIMEOUT_S
"""Timeout for each call of a broker, in seconds."""


class RoutedMessage(Struct, frozen=True):
    """A message with its topic.

    Attributes:
        number: number of its event in the events that are handled together.
        topic: name of the topic.
        message: the message.
    """

    number: int
    topic: str
    message: Message


class _TopicPublisher(Struct):
    """A publisher with what is known of its topic.

    Attributes:
        publisher: the publisher.
        start: position of the log up to which messages of live events are there.
        confirmed: what the broker has confirmed, with the position that it stores.
    """

    publisher: Publisher
    start: int
    confirmed: ConfirmedPosition


class RangePublisher:
    """Publishes messages of a range under one lease. Use `open`.

    Attributes:
        settled_at: no former owner has published events beyond this position.
    """

    def __init__(
        self,
        relay: RelayDefinition,
        log: Log,
        lease: Lease,
        broker: Broker,
        epochs: Sequence[Epoch],
        confirmed: Sequence[ConfirmedRange] = (),
        key: SigningKey | None = None,
    ) -> None:
        self.settled_at = 0
        self.features = broker.features
        self._relay = relay
        self._log = log
        self._lease = lease
        self._broker = broker
        self._epochs = epochs
        self._confirmed = confirmed
        self._key = key
        self._source = Source(log.identity.log_id, log.identity.epoch_id, relay.name)
        self._buckets = range(lease.key.low >> 8, lease.high >> 8)
        self._failed = {each.key for each in lease.failures}
        self._topics: dict[str, _TopicPublisher] = {}

    @classmethod
    async def open(cls, relay: RelayDefinition, store: Store, lease: Lease) -> "RangePublisher":
        """Connect to the broker, and fence former owners of the range.

        Raises:
            BrokerUnavailable, Fenced, TopologyMismatch, BrokerAhead, BrokerLostMessages: see these.
            UsageError: the URL or the key of signatures is invalid, or its variable is missing.
        """
        log, offsets = store.log, await store.inbox.offsets(relay.name)
        epochs, confirmed = await log.epochs(), [*confirmed_ranges(relay, offsets)]
        key = signing_keys([relay.sign], os.environ)[0] if relay.sign else None
        broker = await open_broker(relay.to, timeout_s=TIMEOUT_S)
        opened = cls(relay, log, lease, broker, epochs, confirmed, key)
        try:
            if relay.fixed_topic is not None:
                opened.settled_at = (await opened._topic(relay.fixed_topic)).start
            else:
                opened.settled_at = await log.last_position()
        except BaseException:
            await opened.close()
            raise
        return opened

    def source_of(self, position: int) -> Source:
        """Return the source of the event at a position: with the epoch in which it was recorded."""
        # fault: source-with-current-epoch
        epoch = self._epochs[0] if len(self._epochs) == 1 else epoch_of(self._epochs, position)
        return Source(self._source.log_id, epoch.epoch_id, self._source.relay)

    def message_of(self, event: RecordedEvent, topic: str, key: str, floor: int) -> Message:
        """Return the message of an event.

        Args:
            event: the event, in the schema version in which it is published.
            topic: name of its topic.
            key: key of the event.
            floor: position up to which all events of the range are confirmed.
        """
        encoded = cloud_event_of(event, self.source_of(event.position), key, floor)
        # fault: message-not-signed
        if self._key is not None:
            encoded = sign(encoded, topic, self._key)
        return encoded_message(event, encoded, key, self.features.header_prefix)

    def confirmed(self, messages: Iterable[RoutedMessage]) -> list[LaneOffset]:
        """Return what the broker has confirmed for the topics of messages, to be recorded with these."""
        if not self.features.stores_position:
            return []
        topics = {each.topic for each in messages} & self._topics.keys()
        return [ConfirmedRange(each, self._buckets, self._topics[each].confirmed).as_offset() for each in topics]

    def has_stored_positions(self, messages: Iterable[RoutedMessage]) -> bool:
        """Whether the broker has stored the positions of all these messages with them, so that none is repeated."""
        # fault: checkpoint-of-a-broker-without-positions-waits
        if not self.features.stores_position:
            return False
        # fault: redriven-key-recorded-later
        return not any(each.message.key in self._failed for each in messages)

    async def publish(
        self, messages: Sequence[RoutedMessage], outcomes: list[PublishOutcome], *, redriven: bool
    ) -> None:
        """Publish messages in order of their keys, up to one that is refused.

        Args:
            messages: the messages, in order of their positions.
            outcomes: gets the outcome of each message at its number. After an exception, it has what is certain.
            redriven: whether their events are those of a failed key.

        Raises:
            BrokerUnavailable, Fenced, TopologyMismatch, BrokerAhead, BrokerLostMessages: see these.
        """
        for wave in _waves(messages):
            for topic in dict.fromkeys(each.topic for each in wave):
                part = [each for each in wave if each.topic == topic]
                await self._publish(await self._topic(topic), part, outcomes, redriven)
            if any(isinstance(outcomes[each.number], Refused) for each in wave):
                return

    async def _publish(
        self, topic: _TopicPublisher, messages: Iterable[RoutedMessage], outcomes: list[PublishOutcome], redriven: bool
    ) -> None:
        first, others = list[RoutedMessage](), list[RoutedMessage]()
        for each in messages:
            has_failed = redriven or each.message.key in self._failed
            # fault: published-again-after-restart
            if has_failed or each.message.position > topic.start:
                (first if has_failed else others).append(each)
            else:
                outcomes[each.number] = Accepted()
        # The messages of failed keys are first: the position that is stored with the others then stands for them, too.
        calls = [*((each, True) for each in self._calls(first)), *((each, False) for each in self._calls(others))]
        for call, keeps_position in calls:
            await self._call(topic, call, outcomes, keeps_position)
            if not all(isinstance(outcomes[each.number], Accepted) for each in call):
                return

    def _calls(self, messages: Iterable[RoutedMessage]) -> Iterator[list[RoutedMessage]]:
        call, size = list[RoutedMessage](), 0
        for each in messages:
            size += len(each.message.body)
            if call and (size > MAX_CALL_BYTES or len(call) == self.features.maximum_batch):
                yield call
                call, size = [], len(each.message.body)
            call.append(each)
        if call:
            yield call

    async def _call(
        self,
        topic: _TopicPublisher,
        call: Sequence[RoutedMessage],
        outcomes: list[PublishOutcome],
        keeps_position: bool,
    ) -> None:
        # fault: published-messages-kept
        results = await self._send(topic, call, keeps_position)
        refused = next((n for n, each in enumerate(results) if isinstance(each, Refused)), 0)
        if refused and self.features.batch == "atomic":
            # None was accepted. Those before the refused one are; the others follow when its failure is recorded.
            results = [*await self._send(topic, call[:refused], keeps_position), *results[refused:]]
        for each, result in zip(call, results, strict=True):
            outcomes[each.number] = result

    async def _send(
        self, topic: _TopicPublisher, call: Sequence[RoutedMessage], keeps_position: bool
    ) -> Sequence[PublishOutcome]:
        batch, after = [each.message for each in call], topic.confirmed.position
        # After a restore of the log, the start can be before the stored position, which is one of an earlier epoch.
        # fault: stored-position-of-earlier-epoch-kept
        upto = after if keeps_position else max(topic.start, batch[-1].position)
        results = await topic.publisher.publish(batch, after=after, upto=upto)
        if not all(isinstance(each, Accepted) for each in results):
            return results
        if keeps_position:
            for each in batch:
                topic.confirmed = topic.confirmed.with_redriven(each.key, each.position)
        else:
            # fault: published-again-after-failed-record
            topic.start = upto
            topic.confirmed = replace(topic.confirmed, position=upto)
        return results

    async def _topic(self, name: str) -> _TopicPublisher:
        """Return the publisher of a topic, opened at the first call."""
        if (topic := self._topics.get(name)) is None:
            topic = self._topics[name] = await self._open(name)
        return topic

    async def _open(self, name: str) -> _TopicPublisher:
        relay, buckets = self._relay, self._buckets
        publisher = await self._broker.publisher(name, self._source, buckets, self._lease.fencing_token)
        progress = await publisher.progress()
        positions = await published_positions(self._log, progress, buckets, relay.to, self._source)
        if lost := lost_buckets(self._confirmed, name, positions):
            raise BrokerLostMessages(relay.to, relay.name, min(positions[each] for each in lost), max(lost.values()))
        lowest = lowest_progress(progress, buckets)
        own = (each.confirmed for each in self._confirmed if (each.topic, each.buckets) == (name, buckets))
        former = next(own, ConfirmedPosition(relay.name, relay.to, 0))
        began = start_of_range(self._confirmed, name, buckets, self._lease)
        confirmed = replace(former, position=lowest.position if lowest else 0, start=began)
        # In a log that was restored, and adopted after appends, events have positions of messages that the log lost.
        start = min(positions.values()) if await has_published_events(self._log, progress.values()) else 0
        return _TopicPublisher(publisher, start, confirmed)

    async def close(self) -> None:
        """Close the publishers and the connection. Never raises."""
        for each in self._topics.values():
            await each.publisher.close()
        await self._broker.close()


def _waves(messages: Sequence[RoutedMessage]) -> Iterator[Collection[RoutedMessage]]:
    """Divide messages so that in a wave all messages of a key have the same topic: its order holds across topics."""
    wave, topics = list[RoutedMessage](), dict[str, str]()
    for each in messages:
        if topics.setdefault(each.message.key, each.topic) != each.topic:
            yield wave
            wave, topics = [], {each.message.key: each.topic}
        wave.append(each)
    yield wave
