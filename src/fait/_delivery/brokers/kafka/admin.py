"""Asks a cluster for its topics and settings, and creates topics. Its requests run in the thread of the library."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition, Uuid, admin

from fait._delivery.brokers.kafka.connection import ClientEvents, KafkaConnection, KafkaFailure

__all__ = ["KafkaAdmin", "topic_id"]

LIBRARY: Final[Any] = admin  # which exports its classes without saying so

EVENTS_INTERVAL_S: Final = 0.02
"""Interval between two looks at whether the connections were lost, while an answer is awaited."""

_OPEN: Final = set[Any]()
"""Clients that are not closed. The garbage collector must destroy none: it runs in any thread, also in that of the
client, and the library aborts the process if a client is destroyed there."""

_NO_ID: Final = str(Uuid(0, 0))

_NOT_PERMITTED: Final = {KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED}


class KafkaAdmin:
    """Requests to a cluster.

    Args:
        connection: the URL of the cluster.
    """

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._events = ClientEvents()
        self._client: Any = LIBRARY.AdminClient({**connection.settings, **self._events.settings})
        _OPEN.add(self._client)

    async def nodes(self) -> list[int]:
        """Return the ids of the cluster's nodes."""
        cluster = await self._ask(lambda client: client.describe_cluster(request_timeout=self._connection.timeout_s))
        return [node.id for node in cluster.nodes]

    async def topic(self, name: str) -> Any:
        """Return the description of a topic; None if there is none."""
        asked, timeout_s = TopicCollection([name]), self._connection.timeout_s
        try:
            return await self._ask(lambda client: client.describe_topics(asked, request_timeout=timeout_s)[name])
        except KafkaFailure as failure:
            if failure.code == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise self._connection.unavailable(failure.reason) from None

    async def topic_settings(self, name: str) -> Mapping[str, str]:
        """Return the settings of a topic; none if they may not be read."""
        return await self._settings(LIBRARY.ResourceType.TOPIC, name)

    async def node_settings(self, node: int) -> Mapping[str, str]:
        """Return the settings of a node; none if they may not be read."""
        return await self._settings(LIBRARY.ResourceType.BROKER, str(node))

    async def _settings(self, kind: Any, name: str) -> Mapping[str, str]:
        resource, timeout_s = LIBRARY.ConfigResource(kind, name), self._connection.timeout_s
        try:
            answer = await self._ask(
                lambda client: client.describe_configs([resource], request_timeout=timeout_s)[resource]
            )
        except KafkaFailure as failure:
            if failure.code in _NOT_PERMITTED:
                return {}
            raise self._connection.unavailable(failure.reason) from None
        return {setting: entry.value or "" for setting, entry in answer.items()}

    async def create(self, name: str, partitions: int, settings: Mapping[str, str]) -> None:
        """Create a topic, with the number of replicas that the cluster has as its default, and wait for its leaders.

        Raises:
            KafkaFailure: it cannot be created.
            BrokerUnavailable: it was created, and one of its partitions has no leader within the timeout.
        """
        new, timeout_s = LIBRARY.NewTopic(name, partitions, -1, config=dict(settings)), self._connection.timeout_s
        try:
            await self._ask(lambda client: client.create_topics([new], request_timeout=timeout_s)[name])
        except KafkaFailure as failure:
            if failure.code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._has_leaders(name):  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(0.01)
        except TimeoutError:
            reason = f"the topic {name} has partitions without a leader {timeout_s:g} s after it was created"
            raise self._connection.unavailable(reason) from None

    async def _has_leaders(self, name: str) -> bool:
        """Whether each partition has a leader that answers: its node is the leader a moment after the cluster says it.

        Without the right to ask, what the cluster says counts.
        """
        topic = await self.topic(name)
        if topic is None or any(each.leader is None for each in topic.partitions):
            return False
        try:
            await self._offsets(
                [TopicPartition(name, each.id) for each in topic.partitions], LIBRARY.OffsetSpec.latest()
            )
        except KafkaFailure as failure:
            # fault: topic-without-leader-used
            return failure.code in _NOT_PERMITTED
        return True

    async def bounds(self, partitions: Sequence[TopicPartition]) -> list[tuple[int, int]]:
        """Return the first offset of each partition, and the one after its last message."""
        first = await self._offsets(partitions, LIBRARY.OffsetSpec.earliest())
        return list(zip(first, await self._offsets(partitions, LIBRARY.OffsetSpec.latest()), strict=True))

    async def _offsets(self, partitions: Sequence[TopicPartition], wanted: Any) -> list[int]:
        asked, timeout_s = dict.fromkeys(partitions, wanted), self._connection.timeout_s
        answers = self._open_client().list_offsets(asked, request_timeout=timeout_s)
        return [(await self._ask(lambda _, each=each: answers[each])).offset for each in partitions]

    async def _ask(self, request: Callable[[Any], Future[Any]]) -> Any:
        answer = asyncio.wrap_future(request(self._open_client()))
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # of a call that was given up
        while not answer.done():
            await asyncio.wait({answer}, timeout=EVENTS_INTERVAL_S)
            self._open_client()
        try:
            return await answer
        except KafkaException as error:
            raise KafkaFailure(error.args[0]) from None

    def _open_client(self) -> Any:
        if self._client is None:
            raise self._connection.unavailable("the broker is closed")
        self._client.poll(0)
        if self._events.is_down:
            raise self._connection.unavailable(self._events.reason)
        return self._client

    def close(self) -> None:
        """Ask nothing more."""
        _OPEN.discard(self._client)
        self._client = None


def topic_id(topic: Any) -> str:
    """Return the id of a topic, which another topic with the same name does not have; "" if the cluster has no ids."""
    return "" if (id := str(topic.topic_id)) == _NO_ID else id
