"""Sends messages with one producer of the library, all in one transaction or each by itself, and waits for all."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer
from msgspec import Struct

from fait._delivery.brokers.kafka.connection import KafkaConnection, KafkaFailure, Outcome

__all__ = ["KafkaProducer", "ProducerRecord"]

MAX_PRODUCED: Final = 100_000
"""Maximum number of messages in the queue of the library."""


class ProducerRecord(Struct, frozen=True):
    """A message as it is sent.

    Attributes:
        topic: the topic at the cluster.
        partition: the partition.
        key: its key.
        value: its content; None: delete the key of a compacted topic.
        headers: its headers.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]] | None = None


class DeliveryReports:
    """Collects what the cluster says of the messages of a call.

    Attributes:
        offsets: the offsets of the messages.
        remaining: number of messages that are not settled.
        error: error of the first message that was not stored.
    """

    def __init__(self, count: int) -> None:
        self.offsets = [-1] * count
        self.remaining = count
        self.error: KafkaError | None = None

    def settle(self, at: int, error: KafkaError | None, message: Message) -> None:
        """Note the outcome of a message."""
        self.remaining -= 1
        self.error = self.error or error
        offset = message.offset()
        self.offsets[at] = -1 if offset is None else offset


class KafkaProducer:
    """A producer.

    Args:
        connection: the URL of the cluster.
        transactional_id: its id, which fences former producers with the same one; None: it has no transactions.
        maximum_bytes: maximum number of bytes that the topic accepts at once.
    """

    def __init__(self, connection: KafkaConnection, transactional_id: str | None, maximum_bytes: int) -> None:
        timeout_ms = round(connection.timeout_s * 1_000)
        settings: dict[str, Any] = {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 0,
            "message_timeout_ms": timeout_ms,
            "message_max_bytes": maximum_bytes,
            "queue_buffering_max_messages": MAX_PRODUCED,
        }
        if transactional_id is not None:
            settings |= {"transactional_id": transactional_id, "transaction_timeout_ms": max(1_000, 2 * timeout_ms)}
        self._is_transactional = transactional_id is not None
        self._timeout_s = connection.timeout_s
        self._client = connection.client(Producer, **settings)

    async def open(self) -> None:
        """Connect, and fence former producers.

        Raises:
            BrokerUnavailable: the cluster cannot be reached.
            KafkaFailure: it answered with an error.
        """
        await self._client.call(self._open)

    def _open(self, producer: Producer) -> None:
        end = time.monotonic() + self._timeout_s
        producer.list_topics(
            timeout=self._timeout_s
        )  # without a connection, the next call would wait for half a second
        if self._is_transactional:
            producer.init_transactions(max(0.0, end - time.monotonic()))

    async def send(self, entries: Sequence[ProducerRecord], outcome: Outcome = "unknown") -> list[int]:
        """Store messages, and return their offsets.

        Args:
            entries: the messages.
            outcome: what is known of messages after an outage.

        Raises:
            BrokerUnavailable: the cluster cannot be reached, or did not answer in time.
            KafkaFailure: it answered with an error, such as that the producer is fenced.
        """
        return await self._client.call(partial(self._send, entries, outcome), outcome)

    def _send(self, entries: Sequence[ProducerRecord], outcome: Outcome, producer: Producer) -> list[int]:
        end = time.monotonic() + self._timeout_s
        producer.poll(0)
        self._client.require()
        if self._is_transactional:
            producer.begin_transaction()
        delivery = self._produce(entries, producer)
        while delivery.remaining and not self._client.events.is_down and (left := end - time.monotonic()) > 0:
            producer.poll(left)
        self._client.require(outcome)
        if self._is_transactional and not delivery.remaining:
            producer.commit_transaction(max(0.0, end - time.monotonic()))
        if delivery.error or delivery.remaining:
            raise KafkaFailure(delivery.error or KafkaError(KafkaError._TIMED_OUT))  # pyright: ignore[reportPrivateUsage]
        return delivery.offsets

    def _produce(self, entries: Sequence[ProducerRecord], producer: Producer) -> DeliveryReports:
        delivery = DeliveryReports(len(entries))
        for at, each in enumerate(entries):
            producer.produce(
                each.topic,
                each.value,
                each.key,
                each.partition,
                on_delivery=partial(delivery.settle, at),
                headers=each.headers,
            )
        return delivery

    async def close(self) -> None:
        """Send nothing more. Never raises."""
        await self._client.close()
