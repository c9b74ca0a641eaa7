"""The port `Inbox`: what a consumer of a broker remembers, so that each message takes effect once.

A consumer is a subscription whose source is a broker and not the log. `Recorder.record` writes what it remembers in the
transaction of the effects (`UnitOfWork.inbox`), under the fencing token of its range:

    mark       the last position handled, for each source and key; messages of a trusted log have increasing positions
    floor      a position up to which all messages of a source in a lane are handled, for each bucket of keys. Old marks
               below it are folded: deleted, and replaced by the highest position of them
    id         a message that was handled, of any other source; ids are kept for a window
    offset     the place of the consumer in each lane of the topic; it reads on there, whatever the broker remembers
    message    a message of a key that failed, stored whole, because no log has it
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Final, Protocol

from msgspec import Struct

__all__ = [
    "MAX_FOLDED_MARKS",
    "MAX_FORGOTTEN_IDS",
    "MAX_POSITION_JUMP",
    "MAX_STORED_MESSAGES",
    "MAX_TEXT_BYTES",
    "FloorKey",
    "Inbox",
    "InboxChanges",
    "InboxMessage",
    "LaneOffset",
    "MarkKey",
    "MarkMove",
    "MessageId",
    "PositionJump",
    "RemovedMessages",
    "are_mark_moves_expected",
]

MAX_FORGOTTEN_IDS: Final = 10_000
"""Maximum number of ids that one call of `forget_ids` deletes."""

MAX_FOLDED_MARKS: Final = 10_000
"""Maximum number of marks that one call of `fold_marks` deletes."""

MAX_POSITION_JUMP: Final = 10_000_000
"""Increase of the position of a source from one message to another above which an operator is told."""

MAX_STORED_MESSAGES: Final = 10_000
"""Number of stored messages of failed keys from which on a consumer receives no others."""

MAX_TEXT_BYTES: Final = 500
"""Maximum length of each source, key and id, in UTF-8: they are parts of primary keys."""


UNDATED: Final = datetime.fromtimestamp(0, UTC)


class MarkKey(Struct, frozen=True, order=True):
    """What has a mark: a key of a source.

    Attributes:
        source: log, epoch and relay that the messages come from, as text.
        key: key of the messages.
    """

    source: str
    key: str


class FloorKey(Struct, frozen=True, order=True):
    """What has a floor: a bucket of keys of a source, in a lane.

    Attributes:
        source: as in `MarkKey`.
        bucket: number of the bucket.
        lane: number of the lane.
    """

    source: str
    bucket: int
    lane: int


class MarkMove(Struct, frozen=True):
    """The move of a mark.

    Attributes:
        mark: what has the mark.
        expected: position of the stored mark; 0: there must be none.
        position: position afterwards, greater than `expected`.
        bucket: bucket of the key.
        lane: number of the lane of the message at the position.
    """

    mark: MarkKey
    expected: int
    position: int
    bucket: int = 0
    lane: int = 0

    @property
    def floor(self) -> FloorKey:
        """The floor up to which the mark may be folded."""
        return FloorKey(self.mark.source, self.bucket, self.lane)


class PositionJump(Struct, frozen=True):
    """A mark that is far above all others of its source. Its message may have been published in the name of the source.

    Attributes:
        mark: what has the mark.
        position: its position.
        previous: the next highest position of a mark of the source.
    """

    mark: MarkKey
    position: int
    previous: int


class MessageId(Struct, frozen=True, order=True):
    """Identifies a message of a source without marks.

    Attributes:
        source: the source, as CloudEvents defines it, or the lane of a message that has none.
        id: its id, unique in the source.
    """

    source: str
    id: str


class LaneOffset(Struct, frozen=True):
    """The place of a consumer in a lane; of a relay, what the broker has confirmed for some buckets.

    Attributes:
        topic: name of the topic.
        lane: number of the lane.
        offset: offset of the last message before which all are handled or stored, as the broker writes it.
    """

    topic: str
    lane: int
    offset: str


class InboxMessage(Struct, frozen=True, kw_only=True):
    """A message of a key that failed, as the broker has delivered it.

    Attributes:
        number: number that increases with each message that the consumer receives.
        order_key: the order key that failed.
        topic: name of the topic.
        lane: number of the lane.
        offset: its offset in the lane.
        key: its key at the broker; None if it has none.
        headers: header values by name.
        body: the content.
        received_at: when it was stored.
    """

    number: int
    order_key: str
    topic: str
    lane: int
    offset: str
    key: str | None
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


class RemovedMessages(Struct, frozen=True):
    """Stored messages that are handled or discarded.

    Attributes:
        order_key: their order key.
        before: they have lower numbers.
    """

    order_key: str
    before: int


class InboxChanges(Struct, frozen=True, kw_only=True):
    """What a consumer remembers of a unit of work. A relay has only offsets.

    Attributes:
        at: the current time, for marks and ids.
        marks: moves of marks; each mark occurs once.
        floors: floors to raise. One that is stored with a higher position remains.
        ids: ids of handled messages; each occurs once.
        offsets: offsets of lanes; each lane occurs once.
        stored: messages to store.
        removed: stored messages to delete.
    """

    at: datetime = UNDATED
    marks: Sequence[MarkMove] = ()
    floors: Mapping[FloorKey, int] = MappingProxyType({})
    ids: Sequence[MessageId] = ()
    offsets: Sequence[LaneOffset] = ()
    stored: Sequence[InboxMessage] = ()
    removed: Sequence[RemovedMessages] = ()


def are_mark_moves_expected(moves: Sequence[MarkMove], stored: Mapping[MarkKey, int]) -> bool:
    """Return whether all moves expect the stored marks and move them upwards.

    Args:
        moves: the moves.
        stored: the stored positions of those marks that exist.
    """
    # fault: mark-moved-from-another-position
    return all(stored.get(each.mark, 0) == each.expected < each.position for each in moves)


class Inbox(Protocol):
    """What consumers remember. `fait.testing.contract` tests each guarantee below.

    A consumer is named by its subscription. A rename keeps what it remembers, and `forget` deletes it. Texts have at
    most `MAX_TEXT_BYTES`, and neither NUL nor surrogates; those in `InboxMessage.key` and `headers` can be any.

    Every method may raise `StoreUnavailable`.
    """

    async def marks(self, consumer: str, keys: Sequence[MarkKey]) -> Mapping[MarkKey, int]:
        """Return the positions of those marks that exist."""
        ...

    async def folded(self, consumer: str) -> Mapping[FloorKey, int]:
        """Return the highest positions of marks that were folded, where there are any."""
        ...

    async def fold_marks(self, consumer: str, before: datetime, keep: Sequence[MarkKey]) -> int:
        """Fold marks that are not above their floor: that of their source, bucket and lane.

        Args:
            consumer: the consumer.
            before: only marks that were moved before this time are folded.
            keep: marks that are not folded, because they are about to move.

        Returns:
            How many it has deleted, at most `MAX_FOLDED_MARKS`.
        """
        ...

    async def position_jumps(self, consumer: str, above: int) -> list[PositionJump]:
        """Return the highest mark of each source that is more than a number of positions above the next highest one.

        The jumps are in order of their sources. It reads all marks of the consumer.
        """
        ...

    async def known_ids(self, consumer: str, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Return those of the ids that are stored."""
        ...

    async def forget_ids(self, consumer: str, before: date) -> int:
        """Delete ids stored before a day, in UTC, at most `MAX_FORGOTTEN_IDS`. Returns how many it has deleted."""
        ...

    async def offsets(self, consumer: str) -> list[LaneOffset]:
        """Return the offsets, in order of topic and lane."""
        ...

    async def messages(self, consumer: str, order_key: str, *, after: int, limit: int) -> list[InboxMessage]:
        """Return stored messages of an order key with greater numbers, in order of their numbers."""
        ...

    async def count_messages(self, consumer: str) -> int:
        """Return the number of stored messages of all keys."""
        ...
