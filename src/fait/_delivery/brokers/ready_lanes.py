"""The messages that a consumer has received and not delivered yet, by lane."""

from collections import deque
from collections.abc import Iterable

from fait._delivery.brokers.port import ConsumedBatch, ConsumedMessage, Lane

__all__ = ["ReadyLanes"]


class ReadyLanes:
    """Messages in order of their lanes; lanes take turns, and a paused lane keeps its messages.

    Args:
        lanes: the lanes.
        maximum_batch: maximum number of messages in a batch.
    """

    def __init__(self, lanes: Iterable[Lane], maximum_batch: int) -> None:
        self._messages = {lane: deque[ConsumedMessage]() for lane in lanes}
        self._maximum_batch = maximum_batch
        self._paused = set[Lane]()

    @property
    def wanted(self) -> list[Lane]:
        """The lanes that are not paused and have no message."""
        return [lane for lane, messages in self._messages.items() if not messages and lane not in self._paused]

    @property
    def count(self) -> int:
        """Number of messages of all lanes."""
        return sum(map(len, self._messages.values()))

    def add(self, lane: Lane, messages: Iterable[ConsumedMessage]) -> None:
        """Add messages at the end of a lane."""
        self._messages[lane].extend(messages)

    def next_batch(self) -> ConsumedBatch | None:
        """Return the messages of a lane that is not paused; None if there is none."""
        for lane, messages in self._messages.items():
            if messages and lane not in self._paused:
                self._messages[lane] = self._messages.pop(lane)  # to the end: the next call begins with other lanes
                size = min(len(messages), self._maximum_batch)
                return ConsumedBatch(lane, tuple(messages.popleft() for _ in range(size)))
        return None

    def pause(self, lane: Lane) -> None:
        """Keep the messages of a lane."""
        self._paused.add(lane)

    def resume(self, lane: Lane) -> None:
        """Deliver messages of a lane again."""
        self._paused.discard(lane)
