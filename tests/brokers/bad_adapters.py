"""Adapters that break one rule of the port each: wrappers of the broker in memory."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from fait._broker_errors import BrokerUnavailable, Fenced
from fait._delivery.brokers.memory.broker import MemoryBroker, MemoryConsumer
from fait._delivery.brokers.memory.server import MemoryServer
from fait.broker import (
    Accepted,
    ConsumedBatch,
    ConsumerSpec,
    Lane,
    LaneRevoked,
    Message,
    Progress,
    Publisher,
    PublishOutcome,
    Refused,
    Source,
)
from fait.testing.contract.turns import turns

Reopen = Callable[[], Any]


class BadPublisher:
    """Passes calls on; a subclass breaks a rule."""

    def __init__(self, publisher: Publisher, server: MemoryServer, reopen: Reopen) -> None:
        self.publisher = publisher
        self.server = server
        self.reopen = reopen

    async def progress(self) -> Mapping[int, Progress]:
        return await self.publisher.progress()

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        return await self.publisher.publish(batch, after=after, upto=upto)

    async def close(self) -> None:
        await self.publisher.close()


class AcceptsLaterMessageOfKey(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        outcomes = list(await self.publisher.publish(batch, after=after, upto=upto))
        refused = {n for n, each in enumerate(outcomes) if isinstance(each, Refused)}
        others = [n for n in range(len(batch)) if n not in refused]
        if refused and others:
            await self.publisher.publish([batch[n] for n in others], after=after, upto=upto)
            return [outcomes[n] if n in refused else Accepted() for n in range(len(batch))]
        return outcomes


class ReturnsOutcomesInAnotherOrder(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        return (await super().publish(batch, after=after, upto=upto))[::-1]


class SendsAgain(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        outcomes = await super().publish(batch, after=after, upto=upto)
        if len(batch) > 100:  # as after a lost reply
            await super().publish(batch[50:60], after=upto, upto=upto)
        return outcomes


class ConnectsAgain(BadPublisher):
    """Publishes after an outage as if there had been none."""

    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        try:
            return await super().publish(batch, after=after, upto=upto)
        except BrokerUnavailable:
            self.publisher = await self.reopened()
            raise

    async def reopened(self) -> Publisher:
        frozen, self.server.frozen = self.server.frozen, False
        try:
            return await self.reopen()
        finally:
            self.server.frozen = frozen


class RaisesAfterPartOfBatch(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        if self.server.frozen and len(batch) > 1:
            self.server.frozen = False
            await super().publish(batch[:3], after=after, upto=after)
            self.server.frozen = True
        return await super().publish(batch, after=after, upto=upto)


class PublishesAfterFenced(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        try:
            return await super().publish(batch, after=after, upto=upto)
        except Fenced:
            self.publisher = await self.reopen()
            raise


class HangsInOutage(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        if self.server.frozen:
            await asyncio.Event().wait()
        return await super().publish(batch, after=after, upto=upto)


class RaisesIfMessageIsRefused(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        outcomes = await super().publish(batch, after=after, upto=upto)
        if any(isinstance(each, Refused) for each in outcomes):
            raise BrokerUnavailable("memory:", "MSG_SIZE_TOO_LARGE")
        return outcomes


class MovesPositionWithoutMessages(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        outcomes = await super().publish(batch, after=after, upto=upto)
        if not all(isinstance(each, Accepted) for each in outcomes):
            progress = await self.progress()
            for bucket, stored in progress.items():
                self.publisher._session.states[bucket].progress = replace(stored, position=upto)
        return outcomes


class MergesPositionsOfBuckets(BadPublisher):
    async def progress(self) -> Mapping[int, Progress]:
        positions = await super().progress()
        return dict.fromkeys(self.publisher._session.states, next(iter(positions.values()))) if positions else {}


class ForgetsEventId(BadPublisher):
    async def progress(self) -> Mapping[int, Progress]:
        return {bucket: replace(each, event_id="") for bucket, each in (await super().progress()).items()}


class ChangesHeaders(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        changed = [replace(each, headers={n: v.strip() for n, v in each.headers.items()}) for each in batch]
        return await super().publish(changed, after=after, upto=upto)


class ChangesKeys(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        changed = [replace(each, key=each.key.replace(".", "_")) for each in batch]
        return await super().publish(changed, after=after, upto=upto)


class ChoosesLaneByKey(BadPublisher):
    async def publish(self, batch: Sequence[Message], *, after: int, upto: int) -> Sequence[PublishOutcome]:
        changed = [replace(each, bucket=len(each.key)) for each in batch]
        return await super().publish(changed, after=after, upto=upto)


class AcknowledgesAllDelivered(MemoryConsumer):
    async def acknowledge(self, lane: Lane, offset: str) -> None:
        await super().acknowledge(lane, str(self._next.get(lane, 1) - 1))


class AcknowledgesByReceiving(MemoryConsumer):
    async def receive(self, timeout_s: float) -> ConsumedBatch | LaneRevoked | None:
        batch = await super().receive(timeout_s)
        if isinstance(batch, ConsumedBatch):
            await self.acknowledge(batch.lane, batch.messages[-1].offset)
        return batch


class PrefersAcknowledgedOffset(MemoryConsumer):
    def _first(self, lane: Lane, offset: str | None) -> int:
        return self._server.acknowledged(self._spec.name, lane) or super()._first(lane, offset)


class DeliversAgain(MemoryConsumer):
    async def receive(self, timeout_s: float) -> ConsumedBatch | LaneRevoked | None:
        batch = await super().receive(timeout_s)
        if isinstance(batch, ConsumedBatch) and len(batch.messages) == 1 and len(self._next) == 1:
            self._next[batch.lane] = 0
        return batch


class LosesMessagesOfCanceledCall(MemoryConsumer):
    async def receive(self, timeout_s: float) -> ConsumedBatch | LaneRevoked | None:
        batch = await super().receive(timeout_s)
        await turns()
        return batch


class IgnoresPause(MemoryConsumer):
    def pause(self, lane: Lane) -> None:
        pass


class IgnoresMaximumBatch(MemoryConsumer):
    async def receive(self, timeout_s: float) -> ConsumedBatch | LaneRevoked | None:
        self._spec = replace(self._spec, maximum_batch=500)
        return await super().receive(timeout_s)


class EndsInNothing(MemoryConsumer):
    """Waits for its next message until the timeout, whatever is published; then returns nothing."""

    async def receive(self, timeout_s: float) -> ConsumedBatch | LaneRevoked | None:
        if not self._is_ready():
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), timeout_s)
        return await super().receive(0)


class CountsReceivedMessages(MemoryConsumer):
    async def backlog(self) -> int | None:
        return sum(map(self._server.length, self._spec.lanes))


class CountsMessagesOfOneLane(MemoryConsumer):
    async def backlog(self) -> int | None:
        lane, first = next(iter(self._next.items()))
        return self._server.length(lane) - first


class RemembersTheBacklog(MemoryConsumer):
    """Tells in an outage what it has told before."""

    async def backlog(self) -> int | None:
        frozen, self._server.frozen = self._server.frozen, False
        told = await super().backlog()
        self._server.frozen = frozen
        return told


def with_publisher(bad: type[BadPublisher]) -> type[MemoryBroker]:
    """Return a broker whose publishers break a rule."""

    class Broker(MemoryBroker):
        async def publisher(self, topic: str, source: Source, buckets: range, fencing_token: int) -> Any:
            async def reopen() -> Publisher:
                broker = MemoryBroker("memory:", self._server, 0.1)
                return await MemoryBroker.publisher(broker, topic, source, buckets, fencing_token + 10)

            return bad(await super().publisher(topic, source, buckets, fencing_token), self._server, reopen)

    return Broker


def with_consumer(bad: type[MemoryConsumer]) -> type[MemoryBroker]:
    """Return a broker whose consumers break a rule."""

    class Broker(MemoryBroker):
        async def consumer(self, spec: ConsumerSpec, offsets: Mapping[Lane, str]) -> MemoryConsumer:
            await super().consumer(spec, offsets)
            return bad(self._connection, spec, offsets)

    return Broker
