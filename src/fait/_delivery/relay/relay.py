"""The subscription of a relay: it publishes events to a broker, in order of their keys, and each at least once.

An event is finished when the broker has confirmed its message. No transaction is open in the meantime. A message that
the broker can never accept fails its key, and so does an error of the app's own code, such as its function `topic=`.
All errors of the broker are outages: the relay waits.
"""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from fait._broker_errors import MessageRefused, broker_needed_to
from fait._delivery.brokers.port import Accepted, PublishOutcome, Refused, Unsent
from fait._delivery.relay.definition import RelayDefinition
from fait._delivery.relay.published_versions import PublishedVersions
from fait._delivery.relay.range_publisher import RangePublisher, RoutedMessage
from fait._delivery.relay.routing import Routing
from fait._events.codec import Codec
from fait._events.envelope import RecordedEvent
from fait._store.ports.store import Store
from fait._subscriptions.failure import as_exception
from fait._subscriptions.subscription import (
    FailedKey,
    Outcome,
    ProcessingContext,
    SubscriptionDefinition,
    Tenure,
    parts_of_options,
)

if TYPE_CHECKING:
    from fait._decisions.definition_parts import DefinitionParts

__all__ = ["Relay"]

SETTLE_POLL_INTERVAL_S: Final = 0.02
"""Interval between two looks whether the events that a former owner has published are recorded."""


ENCODED_AT_ONCE: Final = 100
"""Maximum number of events that are encoded before other tasks of the process have their turn."""


class _NotEncoded(Struct, frozen=True):
    """Why the message of an event was not made. Nothing of the events after it was sent.

    Attributes:
        error: the error.
        error_of: what it concerns, as in `Outcome`.
    """

    error: Exception
    error_of: Literal["event", "any_key"]


class Relay:
    """The subscription of one relay."""

    def __init__(self, relay: RelayDefinition, codec: Codec, store: Store) -> None:
        registry = codec.registry
        handled = registry.handled_types(relay.events or (each.cls for each in registry.types.values()))
        # fault: policy-of-relay-ignored
        policy = relay.policy
        self.definition = SubscriptionDefinition(
            name=relay.name,
            kind="relay",
            handled_types=handled.query.types,
            ignored_types=registry.ignored_types(handled),
            start=relay.start,
            policy=policy,
            order_key="own" if relay.key else "stream",
            definition_hash=_hash_of(relay),
            parts=partial(_parts_of, relay),
            may_expire=registry.may_expire(handled),
        )
        self._relay = relay
        self._store = store
        self._routing = Routing(relay, codec, handled)
        self._versions = PublishedVersions(relay, registry)
        self._publishers: dict[tuple[int, int], RangePublisher] = {}  # by lowest hash and fencing token

    def key_of(self, event: RecordedEvent) -> str | None:
        """Return the key of an event; None if the function of the app fails: `handle` says how."""
        try:
            return self._routing.key_of(event)
        except (Exception, SystemExit):
            return None

    def keys_of(self, event: RecordedEvent) -> Collection[str]:
        """Return the only key of an event; none if the function of the app fails."""
        key = self.key_of(event)
        return () if key is None else (key,)

    async def begin(self, tenure: Tenure) -> None:
        """Connect to the broker, so that an outage or a missing topic is noticed although there is no event."""
        await self._publisher(tenure)

    async def handle(self, events: Sequence[RecordedEvent], context: ProcessingContext) -> Outcome:
        """Publish events, up to one whose message is refused or cannot be made."""
        outcome = await self._publish(events, context)
        # fault: raised-limit-not-read
        if context.failed_key is not None and isinstance(outcome.error, MessageRefused):
            await self._close(context.tenure)  # the limits of the broker may have been raised since it was opened
            return await self._publish(events[outcome.finished :], context, outcome.finished)
        return outcome

    async def _publish(self, events: Sequence[RecordedEvent], context: ProcessingContext, before: int = 0) -> Outcome:
        try:
            publisher = await self._publisher(context.tenure)
        except Exception as error:
            return Outcome(before, error=error, error_of="all")
        is_failed = context.failed_key is not None
        # Only when all that a former owner has published is recorded, the key may be handed back: otherwise its later
        # events would count as published, too.
        # fault: key-handed-back-below-published-position
        if is_failed and context.tenure.frontier < publisher.settled_at:
            await asyncio.sleep(SETTLE_POLL_INTERVAL_S)
            return Outcome(0)
        outcomes: list[PublishOutcome] = [Accepted()] * len(events)
        messages, problem = await self._messages(events, context, publisher, outcomes)
        try:
            with broker_needed_to("publish"):
                await publisher.publish(messages, outcomes, redriven=is_failed)
        except Exception as error:  # of the messages that follow, it is not known whether they were accepted
            outcome = Outcome(before + _first_open(outcomes), error=error, error_of="all")
        else:
            outcome = _outcome(events, messages, outcomes, problem, before)
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
    ) -> tuple[list[RoutedMessage], _NotEncoded | None]:
        """Encode the events before anything is sent, up to one for which that fails. Returns the reason, too."""
        messages, floor = list[RoutedMessage](), context.tenure.floor
        for number, event in enumerate(events):
            message = self._message(number, event, context, publisher, floor)
            if isinstance(message, _NotEncoded):
                outcomes[number:] = [Unsent()] * (len(events) - number)
                return messages, message
            if number % ENCODED_AT_ONCE == 0:
                await asyncio.sleep(0)
            if message is not None:
                outcomes[number] = Unsent()
                messages.append(message)
        return messages, None

    def _message(
        self, number: int, event: RecordedEvent, context: ProcessingContext, publisher: RangePublisher, floor: int
    ) -> RoutedMessage | _NotEncoded | None:
        """Return the message of an event, or why there is none; None if it is not published by this call."""
        try:
            key = self._routing.key_of(event)
        except (Exception, SystemExit) as error:
            return _NotEncoded(as_exception(error), "any_key")
        # The function of the app may have failed when the event was taken up. So it can belong to another range.
        # fault: event-without-key-published-by-each-range
        # fault: events-of-other-keys-redriven
        if not context.is_concerned(key):
            return None
        try:
            if (topic := self._routing.topic_of(event)) is None:
                return None
            message = publisher.message_of(self._versions.convert(event), topic, key, floor)
        except (Exception, SystemExit) as error:
            # fault: place-of-a-refusal-forgotten
            return _NotEncoded(as_exception(error), "event")
        return RoutedMessage(number, topic, message)


def _hash_of(relay: RelayDefinition) -> str:
    """Return the definition hash: old code with another order key or category must not move the checkpoint."""
    options = ["order_key=own"] if relay.key else []
    # fault: category-of-a-relay-not-registered
    if relay.category is not None:
        options.append(f"category={relay.category}")
    return " ".join(options)


def _parts_of(relay: RelayDefinition) -> "DefinitionParts":
    category = {} if relay.category is None else {"category": relay.category}
    return parts_of_options({"order key": "that of key=" if relay.key else "the stream"} | category)


def _outcome(
    events: Sequence[RecordedEvent],
    messages: Sequence[RoutedMessage],
    outcomes: Sequence[PublishOutcome],
    problem: _NotEncoded | None,
    before: int,
) -> Outcome:
    """Return what became of events; `problem` is of the one after the last message."""
    finished = _first_open(outcomes)
    later = {events[n].position for n in range(finished, len(events)) if isinstance(outcomes[n], Accepted)}
    failed = _failed_keys(events, messages, outcomes)
    # fault: refusal-of-a-later-event-fails-the-first
    if failed and failed[0].event is events[finished]:
        return Outcome(before + finished, error=failed[0].error, failed_keys=failed[1:], finished_later=later)
    if failed or problem is None:
        return Outcome(before + finished, failed_keys=failed, finished_later=later)
    return Outcome(before + finished, error=problem.error, error_of=problem.error_of)


def _failed_keys(
    events: Sequence[RecordedEvent], messages: Sequence[RoutedMessage], outcomes: Sequence[PublishOutcome]
) -> list[FailedKey]:
    """Return the keys whose first message that was not accepted was refused."""
    failed, keys = list[FailedKey](), set[str]()
    for each in messages:
        outcome, key = outcomes[each.number], each.message.key
        if isinstance(outcome, Accepted):
            continue
        # fault: key-parked-behind-unsent-message
        if isinstance(outcome, Refused) and key not in keys:
            failed.append(FailedKey(key, events[each.number], MessageRefused(outcome.code, outcome.reason)))
        keys.add(key)
    return failed


def _first_open(outcomes: Sequence[PublishOutcome]) -> int:
    """Return the number of messages that were accepted, from the first one."""
    return next((n for n, each in enumerate(outcomes) if not isinstance(each, Accepted)), len(outcomes))
