"""Receives the messages of a topic under a lease, and passes on those that are new.

The consumer reads on from its own offsets, in the database of its effects: if that is restored, it reads again what was
lost with it. The broker's memory is only told what is done, after it was committed. Some brokers have no offsets to
begin at, and deliver what was not acknowledged. Each lease has a connection of its own, which is closed at the first
outage, because no client may connect again by itself.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import count
from typing import Final, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from fait._broker_errors import BrokerUnavailable, broker_needed_to
from fait._clock import Clock
from fait._delivery.brokers.port import Broker, ConsumedBatch, ConsumedMessage, Consumer, ConsumerSpec, Lane
from fait._delivery.inbox.progress import ReceptionProgress
from fait._delivery.inbox.received_event import ReceivedEvent, Reception, bounded_text
from fait._errors import Unavailable, UsageError
from fait._events.append import Page
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.ports.failures import KeyFailure
from fait._store.ports.inbox import (
    MAX_FOLDED_MARKS,
    MAX_FORGOTTEN_IDS,
    MAX_POSITION_JUMP,
    MAX_STORED_MESSAGES,
    FloorKey,
    Inbox,
    InboxMessage,
    MarkKey,
    MessageId,
)
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import Registrations, slot_of
from fait._subscriptions.event_source import is_outdated
from fait._subscriptions.failed_events import FailedPage
from fait._telemetry import logger

__all__ = ["InboxSource", "SourceSpec"]

MAX_BATCH: Final = 200
"""Maximum number of messages that are received at once."""

POLL_S: Final = 1.0
"""Maximum time for which a call waits for messages. Between two calls, the broker is told what is done."""

ACKNOWLEDGE_S: Final = 0.02
"""The same while messages are not done yet, at a broker that delivers no more before some are acknowledged."""

FULL_POLL_S: Final = 0.2
"""Interval between two looks at whether a consumer with too many stored messages has space again."""

BACKLOG_INTERVAL_S: Final = 5.0
"""Interval between two questions to the broker how many messages wait."""

MAX_REPORTED_LOGS: Final = 10
"""Maximum number of logs that are not trusted of which a process logs a line: any program can name others."""

FOLD_INTERVAL: Final = timedelta(hours=1)
"""Interval between two deletions of old marks, and between two records of floors."""

MARK_RETENTION: Final = timedelta(days=7)
"""Time for which a mark is kept after its last move, even if it is below its floor."""


class SourceSpec(Struct, frozen=True, eq=False):
    """What a consumer receives.

    Attributes:
        consumer: name of the subscription.
        topic: name of the topic.
        open_broker: opens the broker.
        reception: turns messages into events.
        id_window: for how long ids of messages are kept.
        start: where a new consumer begins.
        reported_logs: ids of logs that are not trusted, and that this process has looked at.
    """

    consumer: str
    topic: str
    open_broker: Callable[[], Awaitable[Broker]]
    reception: Reception
    id_window: timedelta
    start: Literal["beginning", "end"] = "beginning"
    reported_logs: set[str] = field(default_factory=set[str])


class InboxSource:
    """The `EventSource` of a consumer under one lease.

    Args:
        spec: what it receives.
        inbox: what it remembers.
        registrations: say which types the consumer handles.
        clock: the current time.
        lease: the lease.

    Attributes:
        progress: what is remembered with each record.
        new: new messages that were received, and that the processor has not taken up.
    """

    def __init__(
        self, spec: SourceSpec, inbox: Inbox, registrations: Registrations, clock: Clock, lease: Lease
    ) -> None:
        self.progress = ReceptionProgress(clock)
        self._spec = spec
        self._inbox = inbox
        self._registrations = registrations
        self._clock = clock
        self._lease = lease
        self._is_outdated = False  # the registration was changed
        self._slots = range(lease.key.low, lease.high)
        self._number = lease.frontier
        self._reception = replace(spec.reception, registered=frozenset(lease.handled_types))
        self._is_ordered = True
        self._broker: Broker | None = None
        self._consumer: Consumer | None = None
        self.new: list[ReceivedEvent] = []
        self._highest: dict[str, int] = {}  # positions by source
        self._ids_kept_from: date | None = None
        self._folded: dict[FloorKey, int] = {}  # highest positions of folded marks
        self._folded_at: datetime | None = None
        self._has_warned_of_folded = False
        self._was_full = False
        self._last_number: int | None = None  # that the last message at the broker will have, when it is received
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, after: int) -> None:
        """Wait until there is a message after a number."""
        while self._number <= after:
            await self._receive(POLL_S)

    async def read(self, after: int, query: Query, limit: int) -> Page | None:
        """Return the next new messages. Duplicates only increase the position."""
        if self._number <= after:
            await self._receive(0.001)
        if self._is_outdated:
            return None
        self.new = [each for each in self.new if each.position > after]
        events: list[RecordedEvent] = [*self.new[:limit]]
        if len(events) < len(self.new):
            return Page(events, events[-1].position, more=True)
        return Page(events, self._number, more=bool(events))

    async def read_failed(self, failure: KeyFailure, query: Query, up_to: int, limit: int) -> FailedPage:
        """Return stored messages of a key that failed."""
        after, key = failure.next_position - 1, failure.key
        stored = await self._inbox.messages(self._spec.consumer, key, after=after, limit=limit + 1)
        events = [event for each in stored[:limit] if (event := self._stored_event(each)) is not None]
        return FailedPage(events, stored[limit - 1].number if len(stored) > limit else up_to)

    def _stored_event(self, stored: InboxMessage) -> ReceivedEvent | None:
        message = ConsumedMessage(offset=stored.offset, key=stored.key, headers=stored.headers, body=stored.body)
        lane = Lane(stored.topic, stored.lane)
        return self._reception.event(stored.number, lane, message, stored.received_at, stored.order_key)

    # Receiving

    async def _receive(self, timeout_s: float) -> None:
        with broker_needed_to("consume"):
            await self._receive_batch(timeout_s)

    async def _receive_batch(self, timeout_s: float) -> None:
        consumer = self._consumer or await self._connect()
        await self._forget_ids()
        await self.fold_marks()
        await self._acknowledge(consumer)
        if await self._is_full():
            await asyncio.sleep(FULL_POLL_S)
            return
        batch = await consumer.receive(min(timeout_s, self._poll_s))
        if isinstance(batch, ConsumedBatch):
            await self.accept(batch)
        elif batch is not None:
            lane = batch.lane
            raise Unavailable(
                f"another consumer reads lane {lane.number} of the topic {lane.topic!r}, or it is deleted"
            )

    @property
    def _poll_s(self) -> float:
        """Maximum time for which a call waits for messages."""
        assert self._broker is not None
        is_limited = self._broker.features.acknowledges == "removal"
        # fault: done-messages-not-acknowledged-soon
        return ACKNOWLEDGE_S if is_limited and self.progress.is_unfinished else POLL_S

    async def _connect(self) -> Consumer:
        spec, self._broker = self._spec, await self._spec.open_broker()
        self._is_ordered = self.progress.stores_offsets = self._broker.features.order == "lane"
        if not self._is_ordered:  # a lower position may come after a higher one: only ids tell what is new
            # fault: positions-compared-without-order
            self._reception = replace(self._reception, trusts=frozenset())
        self.progress.stored = await self._inbox.count_messages(spec.consumer)
        offsets = {Lane(each.topic, each.lane): each.offset for each in await self._inbox.offsets(spec.consumer)}
        lanes = await self._broker.lanes(spec.topic)
        start = spec.start if self._broker.features.seekable else "acknowledged"
        if spec.start == "end" and start != "end":
            raise UsageError(f"consumer {spec.consumer!r} cannot begin at the end: its broker keeps the offsets itself")
        if start == "end" and not offsets:
            offsets = await self._begin_at_end(self._broker, lanes)
        wanted = ConsumerSpec(name=spec.consumer, lanes=lanes, start=start, maximum_batch=MAX_BATCH)
        # fault: own-offsets-ignored
        self._consumer = await self._broker.consumer(wanted, {lane: offsets[lane] for lane in lanes if lane in offsets})
        self._looking = asyncio.create_task(self._look_at_backlog(self._consumer), name=f"fait-backlog-{spec.consumer}")
        return self._consumer

    @property
    def backlog(self) -> int | None:
        """Number of messages that the broker had at the last look, and of received ones, that are not done."""
        if self._last_number is None:
            return None
        # fault: received-messages-are-no-backlog
        return max(0, self._last_number - self._number) + self.progress.unfinished

    async def _look_at_backlog(self, consumer: Consumer) -> None:
        """Ask for the number of messages at intervals: also while no more are received, because a handler hangs."""
        while True:
            number = self._number
            try:
                waiting = await consumer.backlog()
            except Exception:  # of an adapter that breaks its contract: no reason to receive nothing
                waiting = None
            self._last_number = None if waiting is None else number + waiting
            await asyncio.sleep(BACKLOG_INTERVAL_S)

    async def _begin_at_end(self, broker: Broker, lanes: Sequence[Lane]) -> Mapping[Lane, str]:
        """Return where the lanes end. It is recorded as if the last messages had been passed over."""
        ends = await broker.ends(lanes) or {}
        for lane, offset in ends.items():
            self._number += 1
            # fault: end-of-topic-not-recorded
            self.progress.receive(lane, self._number, offset)
        return ends

    async def _acknowledge(self, consumer: Consumer) -> None:
        done, self.progress.acknowledged = self.progress.acknowledged, {}
        assert self._broker is not None
        if self._broker.features.acknowledges != "none":
            for lane, offset in done.items():
                await consumer.acknowledge(lane, offset)

    async def _is_full(self) -> bool:
        """Whether too many messages are stored; their number is counted only then."""
        if self.progress.stored >= MAX_STORED_MESSAGES:
            self.progress.stored = await self._inbox.count_messages(self._spec.consumer)
        if (is_full := self.progress.stored >= MAX_STORED_MESSAGES) != self._was_full:
            self._was_full = is_full
            self._report_full()
        return is_full

    def _report_full(self) -> None:
        """Log that the consumer receives no more messages, or that it does again."""
        name, stored = self._spec.consumer, self.progress.stored
        if self._was_full:
            # fault: full-consumer-not-reported
            logger.warning(
                "consumer receives no more messages, because so many of failed keys are stored: subscription=%s "
                "stored=%d maximum=%d; handle or discard them: fait parked list %s --store URL",
                name, stored, MAX_STORED_MESSAGES, name,
            )  # fmt: skip
        else:
            logger.info("consumer receives messages again: subscription=%s stored=%d", name, stored)

    async def _forget_ids(self) -> None:
        """Delete ids that are older than the window, once a day."""
        before = (self._clock.now() - self._spec.id_window).date()
        if (
            self._ids_kept_from != before
            and await self._inbox.forget_ids(self._spec.consumer, before) < MAX_FORGOTTEN_IDS
        ):
            self._ids_kept_from = before

    async def fold_marks(self) -> None:
        """Fold old marks, once in an interval. Floors count when the record that stores them is not lost any more."""
        now = self._clock.now()
        # fault: marks-not-folded
        if self._folded_at is not None and now - self._folded_at < FOLD_INTERVAL:
            return
        consumer, about_to_move = self._spec.consumer, list(self.progress.marks)
        folded = await self._inbox.fold_marks(consumer, now - MARK_RETENTION, about_to_move)
        if folded or self._folded_at is None:
            self._folded = dict(await self._inbox.folded(consumer))
        if folded < MAX_FOLDED_MARKS:
            self._folded_at, self.progress.floors_due = now, True

    async def accept(self, batch: ConsumedBatch) -> None:
        """Number the messages of a batch, and pass on the new ones."""
        # Taken before the queries: what is recorded during them may be in neither otherwise.
        marks, ids = self.progress.marks, self.progress.ids
        events, consumer = self._events(batch), self._spec.consumer
        # fault: added-type-of-a-consumer-noticed-by-a-record
        if len(events) < len(batch.messages):
            self._is_outdated = self._is_outdated or await self._was_changed()
        keys = list({each.mark for each in events if each.mark is not None})
        known = {**await self._inbox.marks(consumer, keys), **marks} if keys else marks
        if self._is_ordered:  # else trust makes no difference
            await self._report_untrusted_logs(events)
        identities = list({id for each in events if (id := _id_to_find(each, known)) is not None})
        seen = {*ids, *await self._inbox.known_ids(consumer, identities)} if identities else set(ids)
        self.new += [each for each in events if self._is_new(each, known, seen)]

    async def _was_changed(self) -> bool:
        """Whether a message was passed over that may have a type which was added."""
        return bool(self._lease.handled_types) and await is_outdated(self._lease, self._registrations)

    def _events(self, batch: ConsumedBatch) -> list[ReceivedEvent]:
        events, now = list[ReceivedEvent](), self._clock.now()
        for message in batch.messages:
            self._number += 1
            self.progress.receive(batch.lane, self._number, message.offset)
            key = None if self._is_ordered else self._own_key(batch.lane, message)
            if event := self._reception.event(self._number, batch.lane, message, now, key):
                events.append(event)
        return events

    def _own_key(self, lane: Lane, message: ConsumedMessage) -> str:
        """Return an order key of the range that no other message has: without order, no message waits for another."""
        keys = (bounded_text(f"{lane.topic}/{lane.number}/{message.offset}/{n}") for n in count())
        # fault: failed-message-of-another-range
        return next(each for each in keys if slot_of(each) in self._slots)

    def _is_new(self, event: ReceivedEvent, marks: dict[MarkKey, int], ids: set[MessageId]) -> bool:
        """Whether a message was not received before. Takes note of it."""
        if event.mark is not None:
            last = marks.get(event.mark, 0)
            # fault: message-at-its-mark-handled
            if event.source_position <= last or (not last and self._was_folded(event)):
                return False
            # fault: event-of-newly-trusted-log-handled-again
            if not last and event.former_identity in ids:
                return False
            self._warn_of_jump(event.mark.source, event.source_position)
            self.progress.accept(event, last)
            marks[event.mark] = event.source_position
        elif event.identity is not None:
            # fault: known-id-handled
            if event.identity in ids:
                return False
            self.progress.accept(event, 0)
            ids.add(event.identity)
        return True

    async def _report_untrusted_logs(self, events: Sequence[ReceivedEvent]) -> None:
        """Warn once of each log that is not trusted, if others are, or if it was trusted before."""
        reported, marks = self._spec.reported_logs, dict[str, list[MarkKey]]()
        for each in events:
            if (mark := each.untrusted_mark) is not None and each.log_id not in reported:
                marks.setdefault(each.log_id, []).append(mark)
        for log_id, keys in marks.items():
            # fault: any-number-of-logs-reported
            if len(reported) == MAX_REPORTED_LOGS:
                return
            reported.add(log_id)
            was_trusted = bool(await self._inbox.marks(self._spec.consumer, list(set(keys))))
            # fault: log-that-is-not-trusted-not-reported
            if was_trusted or self._spec.reception.trusts:
                logger.warning(
                    "log is not trusted%s: subscription=%s log=%r; its events are recognized by their ids, which are "
                    "kept for a limited time. If the log is yours, add its id to trusts=",
                    " any more, and what was handled of it is forgotten" if was_trusted else "",
                    self._spec.consumer, log_id,
                )  # fmt: skip

    def _was_folded(self, event: ReceivedEvent) -> bool:
        """Whether a message without a mark is a duplicate, whose mark was folded. Logs the first one."""
        # fault: folded-message-handled-again
        if event.source_position > (folded := self._folded.get(event.floor_key, 0)):
            return False
        if not self._has_warned_of_folded:
            self._has_warned_of_folded = True
            logger.warning(
                "event repeated although its mark is folded, and passed over: subscription=%s source=%s key=%s "
                "position=%d folded=%d; others are not logged",
                self._spec.consumer, event.floor_key.source, event.stream, event.source_position, folded,
            )  # fmt: skip
        return True

    def _warn_of_jump(self, source: str, position: int) -> None:
        """Warn of a position that may hide later messages of the same key, as they are below its mark."""
        highest = self._highest.setdefault(source, position)
        # fault: jump-not-reported
        if position - highest > MAX_POSITION_JUMP:
            logger.warning(
                "position of a source jumps: subscription=%s source=%s position=%d last_position=%d",
                self._spec.consumer, source, position, highest,
            )  # fmt: skip
        self._highest[source] = max(highest, position)

    async def close(self) -> None:
        """Tell the broker what is done, and close the connection."""
        # fault: backlog-of-a-closed-source-told
        self._last_number = None
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._consumer is not None:
            with contextlib.suppress(BrokerUnavailable):
                # fault: done-not-acknowledged-at-end
                await self._acknowledge(self._consumer)
        for each in (self._consumer, self._broker):
            if each is not None:
                await each.close()


def _id_to_find(event: ReceivedEvent, marks: Mapping[MarkKey, int]) -> MessageId | None:
    """Return the id by which a message may be known: also of one that has no mark yet, if its log became trusted."""
    return event.former_identity if event.mark is not None and event.mark not in marks else event.identity
