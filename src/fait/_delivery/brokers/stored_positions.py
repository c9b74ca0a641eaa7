"""The positions that a broker stores for the buckets of a publisher, if it has `BrokerFeatures.stores_position`.

Ranges of buckets split and merge, so a publisher can find buckets with different positions. It begins at the lowest
one; what a former publisher has already published from the other buckets is not published again.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from msgspec import Struct

from fait._delivery.brokers.port import Message, Progress, lowest_progress

__all__ = ["PositionRun", "StoredPositions"]


class PositionRun(Struct, frozen=True, array_like=True):
    """Buckets with the same position, as brokers store them.

    Attributes:
        start: the first bucket.
        stop: the end of the buckets.
        epoch_id: as in `Progress`; None if the buckets have no position.
        position: the position; 0 if they have none.
        event_id: as in `Progress`.
    """

    start: int
    stop: int
    epoch_id: str | None
    position: int
    event_id: str = ""

    @property
    def progress(self) -> Progress | None:
        """The position of each bucket."""
        return None if self.epoch_id is None else Progress(self.epoch_id, self.position, self.event_id)


class StoredPositions:
    """Positions by bucket.

    Args:
        epoch_id: id of the current epoch of the log.
        buckets: the buckets of the publisher.
        by_bucket: what the broker stores for each bucket that has a position.
    """

    def __init__(self, epoch_id: str, buckets: range, by_bucket: Mapping[int, Progress]) -> None:
        self._epoch_id = epoch_id
        self.buckets = buckets
        self.by_bucket = by_bucket

    @classmethod
    def from_runs(cls, epoch_id: str, buckets: range, runs: Iterable[PositionRun]) -> "StoredPositions":
        """Return the positions that `runs` described."""
        by_bucket = {
            bucket: progress
            for run in runs
            if (progress := run.progress) is not None
            for bucket in range(run.start, run.stop)
        }
        return cls(epoch_id, buckets, by_bucket)

    @property
    def runs(self) -> list[PositionRun]:
        """A short form of the positions, for what a broker stores."""
        groups = groupby(self.buckets, key=self.by_bucket.get)
        runs = [(progress, list(group)) for progress, group in groups]
        return [
            PositionRun(run[0], run[-1] + 1, progress.epoch_id, progress.position, progress.event_id)
            if progress
            else PositionRun(run[0], run[-1] + 1, None, 0)
            for progress, run in runs
        ]

    @property
    def lowest(self) -> Progress | None:
        """The lowest position of all buckets; None if the broker stores none for one of them."""
        return lowest_progress(self.by_bucket, self.buckets)

    def advanced(self, after: int, upto: int, event_id: str) -> "StoredPositions":
        """Return the positions after a publication; those that are higher already, in the same epoch, stay.

        Args:
            after: as in `Publisher.publish`.
            upto: as in `Publisher.publish`.
            event_id: id of the last message.
        """
        if upto == after and self.lowest is not None:
            return self
        reached = self.reached(after, upto, event_id)
        moved = {
            bucket: stored if (stored := self.by_bucket.get(bucket)) and self._is_beyond(stored, upto) else reached
            for bucket in self.buckets
        }
        return StoredPositions(self._epoch_id, self.buckets, moved)

    def reached(self, after: int, upto: int, event_id: str) -> Progress:
        """Return the position that a call stores. If it does not move, its event is not the last one of the call."""
        # fault: event-of-another-position
        return Progress(self._epoch_id, upto, "" if upto == after else event_id)

    def unpublished(self, batch: Sequence[Message], after: int, upto: int) -> list[int]:
        """Return the indexes of the messages that no former publisher has published.

        A message at or before `after`, and each one of a call that leaves the position as it is, is published on
        purpose, as after a failure that an operator has repaired.
        """
        # fault: merged-buckets-repeat
        return [at for at, each in enumerate(batch) if upto == after or each.position <= after or not self._has(each)]

    def _has(self, message: Message) -> bool:
        stored = self.by_bucket.get(message.bucket)
        return stored is not None and self._is_beyond(stored, message.position)

    def _is_beyond(self, stored: Progress, position: int) -> bool:
        return stored.epoch_id == self._epoch_id and stored.position >= position
