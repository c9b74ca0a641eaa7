"""What consumers remember, in memory."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from heapq import nlargest
from operator import attrgetter

from fait._store.memory.state import MemoryState
from fait._store.ports.inbox import (
    MAX_FOLDED_MARKS,
    FloorKey,
    InboxChanges,
    InboxMessage,
    LaneOffset,
    MarkKey,
    MarkMove,
    MessageId,
    PositionJump,
    are_mark_moves_expected,
)

__all__ = ["MemoryInbox", "change_inbox", "is_inbox_expected"]


class MemoryInbox:
    """The port `Inbox`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def marks(self, consumer: str, keys: Sequence[MarkKey]) -> Mapping[MarkKey, int]:
        stored = self._state.consumer(consumer).marks
        return {each: stored[each][0].position for each in keys if each in stored}

    async def folded(self, consumer: str) -> Mapping[FloorKey, int]:
        return dict(self._state.consumer(consumer).folded)

    async def fold_marks(self, consumer: str, before: datetime, keep: Sequence[MarkKey]) -> int:
        stored, kept = self._state.consumer(consumer), frozenset(keep)
        old = [move for mark, (move, moved_at) in stored.marks.items() if moved_at < before and mark not in kept]
        # fault: mark-above-floor-folded
        folded = [each for each in old if each.position <= stored.floors.get(each.floor, 0)][:MAX_FOLDED_MARKS]
        for each in folded:
            del stored.marks[each.mark]
            stored.folded[each.floor] = max(stored.folded.get(each.floor, 0), each.position)
        return len(folded)

    async def position_jumps(self, consumer: str, above: int) -> list[PositionJump]:
        by_source = dict[str, list[MarkMove]]()
        for move, _ in self._state.consumer(consumer).marks.values():
            by_source.setdefault(move.mark.source, []).append(move)
        highest = [nlargest(2, by_source[each], key=attrgetter("position")) for each in sorted(by_source)]
        jumps = [PositionJump(each[0].mark, each[0].position, each[1].position) for each in highest if len(each) == 2]
        return [each for each in jumps if each.position - each.previous > above]

    async def known_ids(self, consumer: str, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        return frozenset(self._state.consumer(consumer).ids.keys() & set(ids))

    async def forget_ids(self, consumer: str, before: date) -> int:
        stored = self._state.consumer(consumer).ids
        old = [each for each, day in stored.items() if day < before]
        for each in old:
            del stored[each]
        return len(old)

    async def offsets(self, consumer: str) -> list[LaneOffset]:
        stored = self._state.consumer(consumer).offsets
        return [LaneOffset(topic, lane, offset) for (topic, lane), offset in sorted(stored.items())]

    async def messages(self, consumer: str, order_key: str, *, after: int, limit: int) -> list[InboxMessage]:
        stored = sorted(self._state.consumer(consumer).messages.items())
        return [each for number, each in stored if each.order_key == order_key and number > after][:limit]

    async def count_messages(self, consumer: str) -> int:
        return len(self._state.consumer(consumer).messages)


def is_inbox_expected(state: MemoryState, consumer: str, changes: InboxChanges) -> bool:
    """Return whether marks are as they are expected to be, and no id is stored."""
    stored = state.consumer(consumer)
    marks = {each.mark: stored.marks[each.mark][0].position for each in changes.marks if each.mark in stored.marks}
    return are_mark_moves_expected(changes.marks, marks) and stored.ids.keys().isdisjoint(changes.ids)


def change_inbox(state: MemoryState, consumer: str, changes: InboxChanges) -> None:
    """Write what a consumer remembers."""
    stored = state.consumer(consumer)
    stored.marks.update({each.mark: (each, changes.at) for each in changes.marks})
    for key, position in changes.floors.items():
        stored.floors[key] = max(stored.floors.get(key, 0), position)
    stored.ids.update(dict.fromkeys(changes.ids, changes.at.date()))
    stored.offsets.update({(each.topic, each.lane): each.offset for each in changes.offsets})
    for removed in changes.removed:
        for each in [each for each in stored.messages.values() if each.order_key == removed.order_key]:
            if each.number < removed.before:
                del stored.messages[each.number]
    stored.messages.update({each.number: each for each in changes.stored})
