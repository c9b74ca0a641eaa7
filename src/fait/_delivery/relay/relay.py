"""The subscription of a relay: it publishes events to a broker, in order of their keys, and each at least once.

An event is finished when the broker has confirmed its message. No transaction is open in the meantime. A message that
the broker can never accept fails its key, which is parked at once. All other errors are outages: the relay waits.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from fait._broker_errors import MessageRefused, broker_needed_to
from fait._delivery.brokers.port import Accepted, PublishOutcome, Refused, Unsent
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.relay.published_versions import PublishedVersions
from fait._delivery.relay.range_publisher import RangePublisher, RoutedMessage
from fait._delivery.relay.routing import Routing
from fait._errors import EventTooNew
from fait._events.codec import Codec
from fait._events.envelope import RecordedEvent
from fait._store.ports.store import Store
from fait._subscriptions.failure import FailurePolicy
from fait._subscriptions.subscription import (
    FailedKey,
    Outcome,
    ProcessingContext,
    SubscriptionDefinition,
    Tenure,
    parts_of_options,
)

__all__ = ["Relay"]

SETTLE_POLL_INTERVAL_S: Final = 0.02
"""Interval between two looks whether the events that a former owner has published are recorded."""


ENCODED_AT_ONCE: Final = 100
"""Maximum number of events that are encoded before other tasks of the process have their turn."""


def _is_outage(error: BaseException) -> bool:
    # fault: refused-message-is-an-outage
    # fault: outage-of-broker-counts-as-attempt
    return not isinstance(error, MessageRefused)


class _NotEncoded(Refused, frozen=True):
    """A message that was refused before it was sent.

    Attributes:
        error: the refusal, with the error of the app's code as its cause.
    """

    error: MessageRefused


class Relay:
    """The subscription of one relay."""

    def __init__(self, relay: RelayDefinition, codec: Codec, store: Store) -> None:
        registry = codec.registry
        handled = registry.handled_types(relay.events or (each.cls for each in registry.types.values()))
        self.definition = SubscriptionDefinition(
            name=relay.name,
            kind="relay",
            handled_types=handled.query.types,
            ignored_types=registry.ignored_types(handled),
            start=relay.start,
            policy=FailurePolicy(attempts=1, outages=_is_outage),
            order_key="own" if relay.key else "stream",
            definition_hash="order_key=own" if relay.key else "",
            parts=partial(parts_of_options, {"order key": "that of key=" if relay.key else "the stream"}),
            may_expire=registry.may_expire(handled),
        )
        self._relay = relay
        self._store = store
        self._routing = Routing(relay, codec, handled)
        self._versions = PublishedVersions(relay, registry)
        self._publishers: dict[tuple[int, int], RangePublisher] = {}  # by lowest hash and fencing token

    def key_of(self, event: RecordedEvent) -> str:
        """Return the key of an event."""
        return self._routing.key_of(event)

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        """Publish events, up to one whose message is refused."""
        outcome = await self._publish(events, context)
        # fault: raised-limit-not-read
        if context.failed_key is not None and isinstance(outcome.error, MessageRefused):
            await self._close(context.tenure)  # the limits of the broker may have been raised since it was opened
            return await self._publish(events[outcome.finished :], context, outcome.finished)
        return outcome

    async def _publish(self, events: Sequence[RecordedEvent], context: ProcessingContext, before: int = 0) -> Outcome:
        publisher = await self._publisher(context.tenure)
        is_failed = context.failed_key is not None
        # Only when all that a former owner has published is recorded, the key may be handed back: otherwise its later
        # events would count as published, too.
        # fault: key-handed-back-below-published-position
        if is_failed and context.tenure.frontier < publisher.settled_at:
            await asyncio.sleep(SETTLE_POLL_INTERVAL_S)
            return Outcome(0)
        outcomes: list[PublishOutcome] = [Accepted()] * len(events)
        messages = await self._messages(events, context, publisher, outcomes)
        try:
            with broker_needed_to("publish"):
                await publisher.publish(messages, outcomes, redriven=is_failed)
        except Exception as error:  # of the messages that follow, it is not known whether they were accepted
            outcome = Outcome(before + _first_open(outcomes), error=error)
        else:
            outcome = self._outcome(events, outcomes, before)
        recorded_later = not is_failed and publisher.has_stored_positions(messages)
        return replace(outcome, confirmed=publisher.confirmed(messages), recorded_later=recorded_later)

    async def _publisher(self, tenure: Tenure) -> RangePublisher:
        """Return the publisher of a lease, opened at the first call."""
        key = tenure.lease.key.low, tenure.lease.fencing_token
        if (publisher := self._publishers.get(key)) is None:
            with broker_needed_to("publish"):
                publisher = await RangePublisher.open(self._relay, self._store, tenure.lease)
            self._publishers[key] = publisher
            tenure.on_end(partial(self._close, tenure))
        return publisher

    async def _close(self, tenure: Tenure) -> None:
        publisher = self._publishers.pop((tenure.lease.key.low, tenure.lease.fencing_token), None)
        if publisher is not None:
            await publisher.close()

    async def _messages(
        self,
        events: Sequence[RecordedEvent],
        context: ProcessingContext,
        publisher: RangePublisher,
        outcomes: list[PublishOutcome],
    ) -> list[RoutedMessage]:
        """Encode the events up to one that is refused here, before anything is sent."""
        messages, floor = list[RoutedMessage](), context.tenure.floor
        for number, event in enumerate(events):
            try:
                message = self._message(number, event, context, publisher, floor)
            except MessageRefused as refused:
                outcomes[number:] = [
                    _NotEncoded(refused.reason, refused.code, refused),
                    *[Unsent()] * (len(events) - number - 1),
                ]
                break
            if number % ENCODED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if message is not None:
                outcomes[number] = Unsent()
                messages.append(message)
        return messages

    def _message(
        self, number: int, event: RecordedEvent, context: ProcessingContext, publisher: RangePublisher, floor: int
    ) -> RoutedMessage | None:
        """Return the message of an event; None if it is not published.

        Raises:
            MessageRefused: it cannot be encoded.
            EventTooNew: newer code has stored it.
        """
        key = self.key_of(event)
        # fault: events-of-other-keys-redriven
        if context.failed_key not in (None, key):
            return None
        try:
            if (topic := self._routing.topic_of(event)) is None:
                return None
            message = publisher.message_of(self._versions.convert(event), topic, key, floor)
        except (MessageRefused, EventTooNew):  # code that is newer can publish the latter
            raise
        except Exception as error:
            raise MessageRefused("not-encodable", f"{type(error).__name__} while it was encoded") from error
        return RoutedMessage(number, topic, message)

    def _outcome(self, events: Sequence[RecordedEvent], outcomes: Sequence[PublishOutcome], before: int) -> Outcome:
        finished = _first_open(outcomes)
        later = {events[n].position for n in range(finished, len(events)) if isinstance(outcomes[n], Accepted)}
        failed = self._failed_keys(events, outcomes)
        if not failed:
            return Outcome(before + finished)
        return Outcome(before + finished, error=failed[0].error, failed_keys=failed[1:], finished_later=later)

    def _failed_keys(self, events: Sequence[RecordedEvent], outcomes: Sequence[PublishOutcome]) -> list[FailedKey]:
        """Return the keys whose first message that was not accepted was refused."""
        failed, keys = list[FailedKey](), set[str]()
        for event, outcome in zip(events, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                continue
            key = self.key_of(event)
            # fault: key-parked-behind-unsent-message
            if isinstance(outcome, Refused) and key not in keys:
                failed.append(FailedKey(key, event, _error_of(outcome)))
            keys.add(key)
        return failed


def _error_of(refused: Refused) -> MessageRefused:
    """Return the error of a refused message: that of a function of the app has a traceback."""
    # fault: place-of-a-refusal-forgotten
    return refused.error if isinstance(refused, _NotEncoded) else MessageRefused(refused.code, refused.reason)


def _first_open(outcomes: Sequence[PublishOutcome]) -> int:
    """Return the number of messages that were accepted, from the first one."""
    return next((n for n, each in enumerate(outcomes) if not isinstance(each, Accepted)), len(outcomes))
