"""What a consumer remembers with each record: which of its messages are done, and what follows from that.

A message is done if it took effect, was skipped, is a duplicate, or is stored because its key failed. Messages that are
received and not done are delivered again to the next owner of the range.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from fait._clock import Clock
from fait._delivery.brokers.port import Lane
from fait._delivery.inbox.received_event import ReceivedEvent
from fait._store.ports.failures import FailureChange
from fait._store.ports.inbox import (
    FloorKey,
    InboxChanges,
    InboxMessage,
    LaneOffset,
    MarkKey,
    MarkMove,
    MessageId,
    RemovedMessages,
)
from fait._store.ports.unit_of_work import RangeMove

__all__ = ["ReceptionProgress"]


class _ReceivedPlace(Struct, frozen=True):
    """A received message: its number, and its offset in its lane."""

    number: int
    offset: str


class ReceptionProgress:
    """The messages that were received under a lease and are not recorded as done.

    Args:
        clock: the current time.

    Attributes:
        acknowledged: offsets up to which the messages of lanes are done, since the last look.
        stored: number of stored messages.
        floors_due: whether the next record stores the floors.
        stores_offsets: whether records store the offsets of lanes: not those of several ranges that read the same ones.
    """

    def __init__(self, clock: Clock) -> None:
        self.acknowledged: dict[Lane, str] = {}
        self.stored = 0
        self.floors_due = False
        self.stores_offsets = True
        self._storing = 0
        self._storing_floors: Mapping[FloorKey, int] = {}
        self._clock = clock
        self._places: dict[Lane, deque[_ReceivedPlace]] = {}
        self._events: dict[int, ReceivedEvent] = {}
        self._marks: dict[MarkKey, int] = {}  # positions of the last messages that were received
        self._recorded: dict[MarkKey, int] = {}  # positions before the first messages that are not done
        self._ids = set[MessageId]()
        self._floors_of: dict[int, tuple[FloorKey, int]] = {}  # of received messages, by number
        self._floors: dict[FloorKey, int] = {}  # of messages before which all of their lanes are recorded

    @property
    def marks(self) -> dict[MarkKey, int]:
        """Positions of the last messages that were received and are not done, by mark."""
        return dict(self._marks)

    @property
    def ids(self) -> frozenset[MessageId]:
        """The ids of messages that were received and are not done."""
        return frozenset(self._ids)

    @property
    def is_unfinished(self) -> bool:
        """Whether a message was received and is not recorded as done."""
        return any(self._places.values())

    @property
    def unfinished(self) -> int:
        """Number of new messages that were received and are not recorded as done."""
        return len(self._events)

    def receive(self, lane: Lane, number: int, offset: str) -> None:
        """Take note of a message, which may be a duplicate."""
        self._places.setdefault(lane, deque()).append(_ReceivedPlace(number, offset))

    def accept(self, event: ReceivedEvent, mark: int) -> None:
        """Take note of a new message.

        Args:
            event: the message.
            mark: position of its mark before it.
        """
        self._events[event.position] = event
        if event.mark is not None:
            self._recorded.setdefault(event.mark, mark)
            self._marks[event.mark] = event.source_position
            # fault: floor-of-unfinished-lane
            self._floors_of[event.position] = event.floor_key, event.floor
        elif event.identity is not None:
            self._ids.add(event.identity)

    def changes(self, move: RangeMove, finished: Collection[int], failures: Sequence[FailureChange]) -> InboxChanges:
        """Return what is to be remembered with a move of the range."""
        now, done = self._clock.now(), list(self._done(move))
        # fault: message-of-failed-key-not-stored
        stored = [_stored(each, now) for each in done if each.position not in finished]
        self._storing = len(stored)
        # fault: mark-not-moved
        marks = {each.mark: each for each in done if each.mark is not None}
        # fault: id-not-stored
        ids = [each.identity for each in done if each.identity is not None]
        self._storing_floors = {**self._floors} if self.floors_due else {}
        offsets = self._offsets(move) if self.stores_offsets else {}
        return InboxChanges(
            at=now,
            marks=[
                MarkMove(mark, self._recorded[mark], each.source_position, each.bucket, each.lane.number)
                for mark, each in marks.items()
            ],
            floors=self._storing_floors,
            ids=ids,
            offsets=[LaneOffset(lane.topic, lane.number, offset) for lane, offset in offsets.items()],
            stored=stored,
            removed=[_removed(each, move) for each in failures if each.expected],
        )

    def _done(self, move: RangeMove) -> Iterator[ReceivedEvent]:
        pending = frozenset(move.pending)
        for number, event in self._events.items():
            if number > move.frontier:
                return
            if number not in pending:
                yield event

    def _offsets(self, move: RangeMove) -> dict[Lane, str]:
        """Return the offsets of the last messages before which all of their lanes are done."""
        pending, offsets = frozenset(move.pending), dict[Lane, str]()
        for lane, places in self._places.items():
            for place in places:
                # fault: offset-passes-pending-message
                if place.number > move.frontier or place.number in pending:
                    break
                offsets[lane] = place.offset
        return offsets

    def recorded(self, move: RangeMove) -> None:
        """Forget messages that are recorded as done."""
        self.stored += self._storing
        if self._storing_floors:
            self.floors_due, self._floors = False, {}
        for each in list(self._done(move)):
            # fault: handled-messages-kept
            del self._events[each.position]
            if each.mark is not None:
                self._forget_mark(each.mark, each.source_position)
            elif each.identity is not None:
                self._ids.discard(each.identity)
        self.acknowledged.update(self._offsets(move))
        pending = frozenset(move.pending)
        for places in self._places.values():
            while places and places[0].number <= move.frontier and places[0].number not in pending:
                self._raise_floor(places.popleft().number)

    def _raise_floor(self, number: int) -> None:
        """Take note of the floor of a message, when it and all messages before it in its lane are recorded."""
        if (floor := self._floors_of.pop(number, None)) is not None:
            key, position = floor
            # fault: floor-not-raised
            if position > self._floors.get(key, 0):
                self._floors[key] = position

    def _forget_mark(self, mark: MarkKey, position: int) -> None:
        """Take note of a recorded mark; forget it if no later message of it is received."""
        if self._marks[mark] == position:
            del self._marks[mark], self._recorded[mark]
        else:
            self._recorded[mark] = position


def _stored(event: ReceivedEvent, now: datetime) -> InboxMessage:
    message = event.message
    return InboxMessage(
        number=event.position, order_key=event.stream, topic=event.lane.topic, lane=event.lane.number,
        offset=message.offset, key=message.key, headers=message.headers, body=message.body, received_at=now,
    )  # fmt: skip


def _removed(change: FailureChange, move: RangeMove) -> RemovedMessages:
    """Return the messages of a failed key that are handled or discarded: all, if its failure is removed."""
    before = move.frontier + 1 if change.failure is None else change.failure.next_position
    return RemovedMessages(change.key, before)
