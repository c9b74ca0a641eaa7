"""The positions that a broker stores for the buckets of a publisher, if it has `BrokerFeatures.stores_position`.

Ranges of buckets split and merge, so a publisher can find buckets with different positions. It begins at the lowest
one; what a former publisher has already published from the other buckets is not published again.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from fait._delivery.brokers.port import Message, Progress, lowest_progress

__all__ = ["PositionRun", "StoredPositions"]

PositionRun = tuple[int, int, str | None, int]
"""Buckets with the same position: the first, the end, the epoch id and the position, or None and 0."""


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
            bucket: Progress(epoch, position)
            for start, stop, epoch, position in runs
            if epoch is not None
            for bucket in range(start, stop)
        }
        return cls(epoch_id, buckets, by_bucket)

    @property
    def runs(self) -> list[PositionRun]:
        """A short form of the positions, for what a broker stores."""
        groups = groupby(self.buckets, key=self.by_bucket.get)
        runs = [(progress, list(group)) for progress, group in groups]
        return [
            (run[0], run[-1] + 1, progress and progress.epoch_id, progress.position if progress else 0)
            for progress, run in runs
        ]

    @property
    def lowest(self) -> Progress | None:
        """The lowest position of all buckets; None if the broker stores none for one of them."""
        return lowest_progress(self.by_bucket, self.buckets)

    def advanced(self, after: int, upto: int) -> "StoredPositions":
        """Return the positions after a publication; those that are higher already, in the same epoch, stay."""
        if upto == after and self.lowest is not None:
            return self
        reached = Progress(self._epoch_id, upto)
        moved = {
            bucket: stored if (stored := self.by_bucket.get(bucket)) and self._is_beyond(stored, upto) else reached
            for bucket in self.buckets
        }
        return StoredPositions(self._epoch_id, self.buckets, moved)

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
